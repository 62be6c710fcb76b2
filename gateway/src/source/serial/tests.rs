//! A node's half of the link against a session whose intake refuses now and then.

use std::sync::Arc;
use std::time::Duration;

use tidegate_link::{
    DeviceLink, FRAME_SIZE_MAX, Field, Identity, Kind, RamRing, Schema, Sequence, Value,
};
use tidegate_store::{Options, Store, Writer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use super::config::Serial;
use super::host::SerialHost;
use super::session::SerialSession;
use super::{SerialContext, device};
use crate::config::{PortMatch, PortSettings};
use crate::event::ack::{Refusal, Verdict};
use crate::event::arrival::Arrival;
use crate::event::device_mark::{Boots, device_mark_key};
use crate::event::inlet::{Inlet, Offer};
use crate::event::record;
use crate::intake::dedup::{Dedup, Seen};
use crate::intake::group::CommitGroup;
use crate::observe::Observe;
use crate::observe::source::SourceFamilies;
use crate::source::port_budget::PortBudget;
use crate::time::clock;

const DEVICE: [u8; 8] = *b"node-001";
const RECORDS: i64 = 60;
/// Every so many events one is refused.
const REFUSED_EVERY: u32 = 12;
const SCHEMA: Schema = Schema {
    fields: &[Field {
        name: "n",
        unit: "",
        kind: Kind::Integer { exponent: 0 },
    }],
};

/// An intake that makes a group of each event, and cannot store some.
struct MoodyIntake {
    writer: Writer,
    dedup: Dedup,
    offered: u32,
    refused: u32,
    out_of_turn: u32,
}

impl MoodyIntake {
    async fn run(mut self, mut offers: mpsc::Receiver<Offer>) -> MoodyIntake {
        while let Some(offer) = offers.recv().await {
            for arrival in offer.arrivals {
                self.take(arrival);
            }
        }
        self
    }

    fn take(&mut self, arrival: Arrival) {
        let mut group = CommitGroup::default();
        let seen = self.dedup.seen(
            &arrival.event,
            &arrival.identity,
            &mut group.seen,
            &mut group.commit,
        );
        self.offered += 1;
        let verdict = match seen {
            Seen::Again => Verdict::Stored,
            Seen::OtherNode | Seen::TooManyDevices => panic!("there is one node"),
            Seen::OutOfTurn => {
                self.out_of_turn += 1;
                Verdict::Refused(Refusal::Failed)
            }
            Seen::New if self.offered.is_multiple_of(REFUSED_EVERY) => {
                self.refused += 1;
                self.dedup.forget_undurable(&group.seen);
                Verdict::Refused(Refusal::Full)
            }
            Seen::New | Seen::Reused { .. } => {
                group.push(&arrival.event, &[], 0);
                self.writer.commit(&group.commit).expect("a commit");
                Verdict::Stored
            }
        };
        arrival.ack.settle(verdict);
    }
}

/// A node that holds all its records before anybody listens; returns when all are acknowledged.
async fn node(mut line: DuplexStream, first: Sequence) {
    let identity = Identity {
        device: DEVICE,
        firmware: "1.0.0",
        slot: 0,
        schema: SCHEMA,
    };
    let ring = RamRing::<4096>::starting_at(3, first);
    let mut link = DeviceLink::new(identity, ring);
    for n in 0..RECORDS {
        link.record(n as u64, &[Value::Integer(n)]).expect("room");
    }
    let began = clock::monotonic();
    let mut buffer = [0; 256];
    while link.held() > 0 {
        let mut frame = [0; FRAME_SIZE_MAX];
        let now_ms = began.elapsed().as_millis() as u64;
        assert!(
            now_ms < 20_000,
            "{} records are held: {:?}",
            link.held(),
            link.counters()
        );
        while let Some(bytes) = link.transmit(now_ms, &mut frame) {
            line.write_all(bytes).await.expect("a line");
        }
        let read = tokio::time::timeout(Duration::from_millis(1), line.read(&mut buffer)).await;
        if let Ok(count) = read {
            let count = count.expect("a line");
            link.receive(&buffer[..count], began.elapsed().as_millis() as u64);
        }
    }
}

fn host(store: &Store, inlet: &Inlet) -> SerialHost {
    let observe = Arc::new(Observe::default());
    let config = Serial {
        port: PortMatch::Path("none".into()),
        settings: PortSettings::default(),
        topic: "devices/{device}".into(),
        reopen_max: Duration::from_secs(1),
    };
    let metrics = SourceFamilies::register(&observe).of("bench");
    let budget = PortBudget::new("bench", observe, metrics.clone(), clock::monotonic());
    let context = SerialContext {
        inlet: inlet.clone(),
        store: store.clone(),
        devices: Arc::default(),
        budget: Arc::new(budget),
        metrics,
    };
    SerialHost::new(&config, "bench", "plant-a", context, clock::monotonic())
}

/// Lets the node talk until it holds nothing; what the store has then, and the intake.
fn run(first: Sequence) -> (Vec<(String, String)>, MoodyIntake, Option<u64>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (writer, store) = tidegate_store::open(Options::new(folder.path())).expect("a store");
    let (inlet, offers) = Inlet::new(8, 1 << 20);
    let mut host = host(&store, &inlet);
    let (near, far) = tokio::io::duplex(1024);
    let intake = MoodyIntake {
        writer,
        dedup: Dedup::new(8, "plant"),
        offered: 0,
        refused: 0,
        out_of_turn: 0,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let intake = runtime.expect("a runtime").block_on(async move {
        let intake = tokio::spawn(intake.run(offers));
        tokio::select! {
            () = node(far, first) => {}
            ended = SerialSession::new(&mut host, &inlet, 1).run(near) => panic!("{ended:?}"),
        }
        drop((host, inlet));
        intake.await.expect("the intake")
    });
    let limit = tidegate_store::ReadLimit {
        records: 1_000,
        bytes: 1 << 20,
    };
    let batch = store
        .scan(store.first(), store.end(), limit)
        .expect("the log");
    let stored = batch.records.iter().map(|stored| {
        let event = record::decode(&stored.bytes).expect("a record").event;
        (
            event.id.to_string(),
            String::from_utf8_lossy(&event.data).into_owned(),
        )
    });
    let mark = store.mark(&device_mark_key(&device::device_name(&DEVICE)));
    let mark = mark.and_then(|mark| Boots::from_bytes(&mark).sequence(3));
    (stored.collect(), intake, mark)
}

fn check(first: u32) {
    let (stored, intake, mark) = run(Sequence(first));
    let sequence = |n: i64| u64::from(first) + n as u64;
    let expected: Vec<(String, String)> = (0..RECORDS)
        .map(|n| {
            (
                format!("node-001-3-{}", sequence(n)),
                format!("{{\"n\":{n}}}"),
            )
        })
        .collect();
    assert_eq!(stored, expected);
    assert_eq!(mark, Some(sequence(RECORDS - 1)));
    assert!(intake.refused > 0, "nothing was refused");
    assert!(
        intake.out_of_turn > 0,
        "nothing was behind what was refused"
    );
}

#[test]
fn what_was_refused_comes_again_and_is_stored_once_and_in_order() {
    check(0);
}

#[test]
fn refusals_around_the_wrap_of_the_numbers_lose_nothing() {
    check(u32::MAX - 30);
}
