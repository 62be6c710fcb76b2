//! Followers that keep up, that lag, and that lag too far.

use super::*;
use tidegate_rules::event::Event;
use tidegate_store::{Append, Commit, Options, Writer};

struct Log {
    _folder: tempfile::TempDir,
    writer: Writer,
    log: CommittedLog,
}

fn log(change: impl FnOnce(&mut Options)) -> Log {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = Options::new(folder.path());
    options.ballast_bytes = 0;
    options.free_bytes_min = 0;
    change(&mut options);
    let (writer, store) = tidegate_store::open(options).expect("a store");
    Log {
        _folder: folder,
        writer,
        log: CommittedLog::new(store),
    }
}

impl Log {
    /// Commits events with these payloads.
    fn commit(&mut self, payloads: impl IntoIterator<Item = Vec<u8>>, notes: &[(usize, Note)]) {
        let mut commit = Commit::new();
        for data in payloads {
            let mut bytes = Vec::new();
            record::encode(&event(data), &[], &mut bytes);
            commit.push(Append {
                routes: &[],
                time_ms: 1,
                bytes: &bytes,
            });
        }
        let committed = self.writer.commit(&commit).expect("room");
        let end = self.writer.next_sequence();
        self.log.committed(committed.first, end, notes);
    }
}

fn event(data: Vec<u8>) -> Event {
    let text = |text: &str| Arc::<str>::from(text);
    Event {
        id: text("1"),
        source: text("gateway/mqtt"),
        kind: text("reading"),
        subject: None,
        topic: text("a/b"),
        publisher: text("sensor"),
        time: None,
        received: 0,
        content_type: None,
        schema: None,
        extensions: Vec::new(),
        data: data.into(),
        ..Event::default()
    }
}

fn number(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

#[tokio::test]
async fn a_follower_reads_what_is_committed_after_it_came_in_order_however_late_it_comes() {
    let mut log = log(|_| {});
    log.commit([number(0)], &[]);
    let mut follower = log.log.follow();
    for group in 0..200 {
        log.commit((0..50).map(|at| number(1 + group * 50 + at)), &[]);
    }
    let mut read = Vec::new();
    while read.len() < 10_000 {
        let records = follower.next().await.expect("all is kept");
        assert!(records.len() <= READ.records);
        read.extend(
            records
                .into_iter()
                .map(|found| found.record.event.data.to_vec()),
        );
    }
    let expected: Vec<_> = (1..10_001).map(number).collect();
    assert!(read == expected, "in order and whole");
}

#[tokio::test]
async fn a_waiting_follower_wakes_and_knows_what_was_noted() {
    let mut log = log(|_| {});
    let mut follower = log.log.follow();
    let waiting = tokio::spawn(async move { follower.next().await });
    tokio::task::yield_now().await;
    let notes = [(0, Note::AtMostOnce), (2, Note::Hidden)];
    log.commit((0..3).map(number), &notes);
    let found = waiting.await.expect("no panic").expect("all is kept");
    let notes: Vec<_> = found.iter().map(|found| found.note).collect();
    assert_eq!(notes, [Some(Note::AtMostOnce), None, Some(Note::Hidden)]);
}

#[tokio::test]
async fn one_that_lags_beyond_what_is_kept_is_told_and_goes_on_behind_it() {
    let mut log = log(|options| {
        options.keep_for_ms = 0;
        options.generation_bytes = 256 << 10;
        options.tail_bytes = 64 << 10;
        options.compress = false;
    });
    let mut follower = log.log.follow();
    let large = || std::iter::repeat_n(vec![7; 8 << 10], 8);
    let mut committed = 0;
    while log.log.0.store.first() == 1 {
        assert!(committed < 100_000, "nothing is ever deleted");
        log.commit(large(), &[]);
        committed += 8;
    }
    let Err(FollowError::Missed(missed)) = follower.next().await else {
        panic!("everything was kept");
    };
    let mut read = 0;
    while missed + read < committed {
        read += follower.next().await.expect("the rest is there").len() as u64;
    }
    assert_eq!(missed + read, committed);
    assert!(missed > 0 && read > 0);
}
