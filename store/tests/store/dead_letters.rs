//! Dead letters: kept byte for byte until removed, and their room comes back.

use crate::support::{Case, bytes_of};
use tidegate_store::DeadLetterError;

#[test]
fn a_dead_letter_stays_until_it_is_removed() {
    let mut case = Case::new();
    let letters = [
        ((7, 0), 100),
        ((7, 1), 0),
        ((9, 0), 300_000),
        ((10, u16::MAX), 4000),
    ];
    for (id, size) in letters {
        case.store()
            .put_dead_letter(id, &bytes_of(id.0, size))
            .unwrap();
        case.store()
            .put_dead_letter(id, &bytes_of(id.0, size))
            .unwrap();
    }
    for _ in 0..2 {
        assert_eq!(case.store().dead_letter_count(), 4);
        let listed = case.store().dead_letters((0, 0), 100).unwrap();
        assert_eq!(
            listed.iter().map(|letter| letter.id).collect::<Vec<_>>(),
            letters.map(|(id, _)| id)
        );
        assert!(
            listed
                .iter()
                .zip(letters)
                .all(|(letter, (id, size))| letter.bytes == bytes_of(id.0, size))
        );
        assert_eq!(case.store().dead_letters((7, 1), 2).unwrap()[1].id, (9, 0));
        case.reopen();
    }
    assert_eq!(case.store().remove_dead_letter((9, 0)), Ok(true));
    assert_eq!(case.store().remove_dead_letter((9, 0)), Ok(false));
    case.reopen();
    assert_eq!(case.store().dead_letter((9, 0)), Ok(None));
    assert_eq!(case.store().dead_letter((7, 1)), Ok(Some(bytes_of(7, 0))));
    assert_eq!(case.store().dead_letter_count(), 3);
    assert_eq!(case.store().verify(|_, _| ()).dead_letters, 3);
}

#[test]
fn replacing_a_letter_by_a_shorter_one_leaves_nothing_of_the_longer() {
    let mut case = Case::new();
    case.store()
        .put_dead_letter((1, 0), &bytes_of(1, 50_000))
        .unwrap();
    case.store().put_dead_letter((1, 0), b"short").unwrap();
    case.reopen();
    assert_eq!(
        case.store().dead_letter((1, 0)),
        Ok(Some(b"short".to_vec()))
    );
}

#[test]
fn removed_letters_give_their_room_back() {
    let mut case = Case::new();
    for n in 0..60 {
        case.store()
            .put_dead_letter((n, 0), &bytes_of(n, 200_000))
            .unwrap();
    }
    let full = case.disk_bytes();
    for n in 0..58 {
        assert_eq!(case.store().remove_dead_letter((n, 0)), Ok(true));
    }
    assert!(
        case.disk_bytes() < full / 2,
        "{} of {full} bytes are left",
        case.disk_bytes()
    );
    case.reopen();
    assert_eq!(case.store().dead_letter_count(), 2);
    assert_eq!(
        case.store().dead_letter((59, 0)),
        Ok(Some(bytes_of(59, 200_000)))
    );
}

#[test]
fn letters_are_kept_together_and_all_removed_at_once() {
    let mut case = Case::new();
    let bytes: Vec<_> = (0..50).map(|n| bytes_of(n, 3000)).collect();
    let batch: Vec<_> = (0..)
        .zip(&bytes)
        .map(|(n, bytes)| ((n, 0), bytes.as_slice()))
        .collect();
    case.store().put_dead_letters(&batch).unwrap();
    case.store().put_dead_letters(&batch[..7]).unwrap();
    case.reopen();
    assert_eq!(case.store().dead_letter_count(), 50);
    assert_eq!(
        case.store().dead_letter((49, 0)),
        Ok(Some(bytes[49].clone()))
    );
    assert_eq!(case.store().remove_all_dead_letters(), Ok(50));
    assert_eq!(case.store().remove_all_dead_letters(), Ok(0));
    assert_eq!(case.store().dead_letters((0, 0), 100), Ok(Vec::new()));
    let left = std::fs::read_dir(case.dir().join("dead-letters")).unwrap();
    assert_eq!(left.count(), 0);
    case.store().put_dead_letter((60, 0), b"goes on").unwrap();
    case.reopen();
    assert_eq!(case.store().dead_letter_count(), 1);
    assert!(case.store().open_report().quarantined.is_empty());
}

#[test]
fn what_is_dead_in_their_database_does_not_count_against_the_share() {
    let case = Case::with(|options| options.max_size_bytes = 64 << 20);
    for round in 0..6 {
        for n in 0..8 {
            case.store()
                .put_dead_letter((n, round), &bytes_of(n, 200_000))
                .unwrap();
        }
        for n in 1..8 {
            assert_eq!(case.store().remove_dead_letter((n, round)), Ok(true));
        }
    }
}

#[test]
fn dead_letters_have_a_bounded_share_of_the_disk() {
    let case = Case::with(|options| options.max_size_bytes = 64 << 20);
    let refused = (0..200).find_map(|n| {
        case.store()
            .put_dead_letter((n, 0), &bytes_of(n, 200_000))
            .err()
    });
    assert!(
        matches!(
            refused,
            Some(DeadLetterError::Full {
                max_bytes: 8_388_608,
                ..
            })
        ),
        "{refused:?}"
    );
}

#[test]
fn a_damaged_letter_is_never_handed_out_and_hides_no_other() {
    let mut case = Case::new();
    for n in 1..=30 {
        case.store()
            .put_dead_letter((n, 0), &bytes_of(n, 500))
            .unwrap();
    }
    case.close();
    let path = case.dir().join("dead-letters/1/db");
    let mut bytes = std::fs::read(&path).unwrap();
    let sought = bytes_of(7, 500);
    let copies: Vec<_> = (0..bytes.len() - 500)
        .filter(|at| bytes[*at..*at + 500] == sought)
        .collect();
    assert!(!copies.is_empty());
    copies.into_iter().for_each(|at| bytes[at + 250] ^= 1);
    std::fs::write(&path, bytes).unwrap();
    case.reopen();
    let listed = case.store().dead_letters((0, 0), 100).unwrap();
    assert!(
        listed
            .iter()
            .all(|letter| letter.id != (7, 0) && letter.bytes == bytes_of(letter.id.0, 500))
    );
    assert!(!matches!(case.store().dead_letter((7, 0)), Ok(Some(_))));
    case.store().put_dead_letter((40, 0), b"goes on").unwrap();
}
