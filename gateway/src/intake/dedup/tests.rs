//! What is told from a repetition: by device, and by id and content, also of events that were recalled unread.

use super::*;
use crate::event::device_mark::BOOTS_PER_DEVICE_MAX;
use crate::intake::group::CommitGroup;

/// What the dedup says of event `sequence` of boot 1, which follows on `after`.
fn offer(dedup: &mut Dedup, after: Option<u64>, sequence: u64, group: &mut CommitGroup) -> Seen {
    let place = Place {
        after,
        ..first_of(1, sequence)
    };
    let (seen, commit) = (&mut group.seen, &mut group.commit);
    dedup.seen_device(&"node".into(), &place, seen, commit)
}

/// The first event of a boot.
fn first_of(boot: u64, sequence: u64) -> Place {
    Place {
        mark: BootMark {
            boot,
            sequence,
            session: 5,
            digest: 0,
        },
        former: 0,
        after: None,
    }
}

#[test]
fn after_a_refused_event_of_a_device_the_ones_behind_it_are_out_of_turn() {
    let (mut dedup, mut group) = (Dedup::new(8, "plant"), CommitGroup::default());
    assert_eq!(offer(&mut dedup, None, 0, &mut group), Seen::New);
    dedup.keep(&group.seen);
    let mut refused = CommitGroup::default();
    assert_eq!(offer(&mut dedup, Some(0), 1, &mut refused), Seen::New);
    dedup.forget_undurable(&refused.seen);
    let mut group = CommitGroup::default();
    assert_eq!(offer(&mut dedup, Some(1), 2, &mut group), Seen::OutOfTurn);
    assert!(group.seen.is_empty(), "nothing of it is remembered");
    assert_eq!(offer(&mut dedup, Some(0), 1, &mut group), Seen::New);
    assert_eq!(offer(&mut dedup, Some(1), 2, &mut group), Seen::New);
    assert_eq!(offer(&mut dedup, Some(0), 1, &mut group), Seen::Again);
}

#[test]
fn the_first_event_of_a_boot_refused_leaves_nothing_to_follow_on() {
    let (mut dedup, mut group) = (Dedup::new(8, "plant"), CommitGroup::default());
    assert_eq!(offer(&mut dedup, None, 0, &mut group), Seen::New);
    dedup.forget_undurable(&group.seen);
    assert_eq!(offer(&mut dedup, Some(0), 1, &mut group), Seen::OutOfTurn);
    assert_eq!(offer(&mut dedup, None, 0, &mut group), Seen::New);
}

fn event(id: &str, data: &str) -> Event {
    Event {
        id: id.into(),
        source: "camera".into(),
        kind: "picture".into(),
        subject: None,
        topic: "yard".into(),
        publisher: "".into(),
        time: None,
        received: 1,
        content_type: None,
        schema: None,
        extensions: Vec::new(),
        data: bytes::Bytes::copy_from_slice(data.as_bytes()),
        ..Event::default()
    }
}

/// A dedup that knows some events of the log unread: sequence n has the n-th id of `log` and its data.
fn recalled(window: usize, log: &'static [(&str, Option<&str>)]) -> Dedup {
    let read = |sequence: Sequence| {
        let (id, data) = log[sequence as usize];
        data.map(|data| Arc::new(event(id, data)))
    };
    let mut dedup = Dedup::new(window, "plant").with_log(read);
    for (sequence, (id, _)) in (0..).zip(log) {
        dedup.recall_unread(&event(id, ""), sequence);
    }
    dedup
}

#[test]
fn what_was_recalled_unread_is_read_when_its_id_comes_again() {
    let same_sender = true;
    let reused = Seen::Reused { same_sender };
    let log = &[
        ("a", Some("one")),
        ("b", Some("two")),
        ("a", Some("three")),
        ("gone", None),
    ];
    let cases = [
        ("a", "one", Seen::Again),
        ("a", "three", Seen::Again),
        ("a", "four", reused),
        ("b", "two", Seen::Again),
        ("b", "one", reused),
        // It cannot be compared any more: stored rather than lost.
        ("gone", "one", reused),
        ("new", "one", Seen::New),
    ];
    for (id, data, expected) in cases {
        let (mut dedup, mut entries) = (recalled(8, log), Vec::new());
        assert_eq!(
            dedup.seen_id(&event(id, data), &mut entries),
            expected,
            "{id} {data}"
        );
        assert_eq!(dedup.seen_id(&event(id, data), &mut entries), Seen::Again);
    }
    // Those that the window has no room for are forgotten, read or not.
    for read_before in [false, true] {
        let (mut dedup, mut entries) = (recalled(4, log), Vec::new());
        if read_before {
            assert_eq!(dedup.seen_id(&event("a", "one"), &mut entries), Seen::Again);
        }
        for number in 0..4 {
            dedup.recall(&event(&format!("later {number}"), ""));
        }
        for (id, data) in [("a", "one"), ("b", "two"), ("gone", "one")] {
            assert_eq!(
                dedup.seen_id(&event(id, data), &mut entries),
                Seen::New,
                "{id}"
            );
        }
        assert!(dedup.unread.is_empty() && dedup.read.is_empty());
    }
}

#[test]
fn a_gap_may_be_followed_on() {
    let (mut dedup, mut group) = (Dedup::new(8, "plant"), CommitGroup::default());
    assert_eq!(offer(&mut dedup, None, 0, &mut group), Seen::New);
    assert_eq!(offer(&mut dedup, Some(0), 20, &mut group), Seen::New);
    assert_eq!(offer(&mut dedup, Some(20), 21, &mut group), Seen::New);
}

#[test]
fn two_failed_groups_leave_the_marks_from_before_the_first() {
    let (mut dedup, device) = (Dedup::new(8, "plant"), Arc::from("node"));
    let mut durable = CommitGroup::default();
    for boot in 0..BOOTS_PER_DEVICE_MAX as u64 {
        let (seen, commit) = (&mut durable.seen, &mut durable.commit);
        dedup.seen_device(&device, &first_of(boot, 7), seen, commit);
    }
    let before = dedup.devices[&device].clone();
    let (mut first, mut second) = (CommitGroup::default(), CommitGroup::default());
    dedup.seen_device(&device, &first_of(8, 0), &mut first.seen, &mut first.commit);
    dedup.seen_device(
        &device,
        &first_of(9, 0),
        &mut second.seen,
        &mut second.commit,
    );
    dedup.forget_undurable(&second.seen);
    dedup.forget_undurable(&first.seen);
    assert_eq!(dedup.devices[&device], before);
}

/// The same in session 6, of a node that goes on from session `former`.
fn offer_in_six(
    dedup: &mut Dedup,
    (former, after): (u16, Option<u64>),
    sequence: u64,
    group: &mut CommitGroup,
) -> Seen {
    let mut place = Place {
        former,
        after,
        ..first_of(1, sequence)
    };
    place.mark.session = 6;
    let (seen, commit) = (&mut group.seen, &mut group.commit);
    dedup.seen_device(&"node".into(), &place, seen, commit)
}

#[test]
fn another_node_under_the_same_name_and_boot_is_no_repetition() {
    let (mut dedup, mut group) = (Dedup::new(8, "plant"), CommitGroup::default());
    assert_eq!(offer(&mut dedup, None, 0, &mut group), Seen::New);
    for (sequence, after) in [(0, None), (1, Some(0)), (1, None)] {
        let found = offer_in_six(&mut dedup, (0, after), sequence, &mut group);
        assert_eq!(found, Seen::OtherNode);
    }
    assert_eq!(offer(&mut dedup, Some(0), 1, &mut group), Seen::New);
}

#[test]
fn a_node_in_a_new_session_is_stored_from_where_it_goes_on() {
    // What is stored, in which session; the session that it goes on from, after what; its event, and what becomes of it.
    let cases = [
        (7, 5, (5, Some(7)), 8, Seen::New),
        (7, 5, (5, Some(7)), 7, Seen::Again),
        (7, 5, (5, Some(8)), 9, Seen::OutOfTurn),
        (7, 5, (4, Some(7)), 8, Seen::OtherNode),
        // A mark of a version that kept no sessions: what the node still holds is not taken for stored.
        (7, 0, (0, Some(7)), 8, Seen::New),
        (7, 0, (0, Some(4)), 5, Seen::New),
        (7, 0, (0, None), 0, Seen::New),
        (7, 0, (0, Some(8)), 9, Seen::OutOfTurn),
    ];
    for (stored, session, from, sequence, expected) in cases {
        let (mut dedup, mut group) = (Dedup::new(8, "plant"), CommitGroup::default());
        let mut mark: Vec<u8> = [1u64, stored]
            .iter()
            .flat_map(|n| n.to_be_bytes())
            .collect();
        mark.extend(u16::to_be_bytes(session));
        dedup.recall_device("node", &mark);
        let found = offer_in_six(&mut dedup, from, sequence, &mut group);
        assert_eq!(found, expected, "{stored} {session} {from:?} {sequence}");
        if found == Seen::New {
            let found = offer_in_six(&mut dedup, from, sequence, &mut group);
            assert_eq!(found, Seen::Again, "the session is its own now");
            let found = offer(&mut dedup, Some(sequence), sequence + 1, &mut group);
            assert_eq!(found, Seen::OtherNode, "and the one before is over");
        }
    }
}

#[test]
fn devices_are_bounded_and_those_that_are_known_go_on() {
    let (mut dedup, mut group) = (Dedup::new(8, "plant"), CommitGroup::default());
    let name = |number: usize| Arc::from(format!("node-{number}"));
    for number in 0..2 * DEVICES_MAX {
        let (seen, commit) = (&mut group.seen, &mut group.commit);
        let found = dedup.seen_device(&name(number), &first_of(1, 0), seen, commit);
        let expected = match number < DEVICES_MAX {
            true => Seen::New,
            false => Seen::TooManyDevices,
        };
        assert_eq!(found, expected);
        group.clear();
    }
    let (seen, commit) = (&mut group.seen, &mut group.commit);
    let found = dedup.seen_device(&name(0), &first_of(1, 1), seen, commit);
    assert_eq!((found, dedup.devices.len()), (Seen::New, DEVICES_MAX));
}
