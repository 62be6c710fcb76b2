//! A store with one lane and the forwarder that brings it to a webhook.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate::config::{Backfill, ClientTls, LaneSettings};
use tidegate::event::committed_log::CommitTimes;
use tidegate::event::dead_letter::DeadLetter;
use tidegate::event::dead_letter::letters::{Bounds, Letters};
use tidegate::event::record::{self, Routed};
use tidegate::forward::{ForwardError, LaneContext, forward};
use tidegate::observe::Observe;
use tidegate::observe::forward::{LaneFamilies, LaneMetrics};
use tidegate::upstream::format::Format;
use tidegate::upstream::http::HttpOut;
use tidegate::upstream::http::config::HttpUpstream;
use tidegate_rules::decision::{Output, Priority};
use tidegate_rules::event::{Event, Extension};
use tidegate_store::{Append, Commit, LaneId, Options, Route, Store, Writer};
use tidegate_tests::wait::Wait;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// More letters than any test makes.
const BOUNDS: Bounds = Bounds {
    max: 1000,
    max_size_bytes: 1 << 30,
    drops: true,
};

/// The lane; its forwarder runs until this is dropped.
pub(crate) struct Lane {
    pub(crate) metrics: Arc<LaneMetrics>,
    store: Store,
    id: LaneId,
    writer: Writer,
    task: JoinHandle<Result<(), ForwardError>>,
    _stop: watch::Sender<bool>,
    _durable: watch::Sender<u64>,
    _folder: tempfile::TempDir,
}

impl Lane {
    /// Stores `count` events `e-0` … and starts to forward them.
    pub(crate) fn start(upstream: HttpUpstream, count: usize) -> Lane {
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options {
            ballast_bytes: 0,
            ..Options::new(folder.path().join("store"))
        };
        let (mut writer, store) = tidegate_store::open(options).expect("a store");
        let id = store.lane("hook").expect("a lane");
        append(&mut writer, id, count);
        let observe = Arc::new(Observe::default());
        let metrics =
            Arc::new(LaneFamilies::register(&observe).of("hook", 0, std::time::Instant::now()));
        let (durable, news) = watch::channel(store.end());
        let (stop, stopped) = watch::channel(false);
        let context = LaneContext {
            name: "hook".into(),
            id,
            config: settings(),
            letters: Letters::new(store.clone(), BOUNDS),
            store: store.clone(),
            durable: news,
            times: CommitTimes::new(store.end()),
            observe,
            metrics: Arc::clone(&metrics),
            announced: true,
            shutdown_max: Duration::from_secs(1),
            seed: 7,
            mark: None,
        };
        let out = HttpOut::new(upstream).expect("an upstream");
        Lane {
            metrics,
            task: tokio::spawn(forward(out, context, stopped)),
            store,
            id,
            writer,
            _stop: stop,
            _durable: durable,
            _folder: folder,
        }
    }

    /// Waits until every event is delivered or dead, and gives the dead letters.
    pub(crate) async fn empty(&mut self) -> Vec<(u64, DeadLetter)> {
        let wait = Wait::begin("every event is delivered or dead");
        while self.store.backlog(self.id).events > 0 {
            wait.goes_on(self.last_error().unwrap_or_default());
            assert!(!self.task.is_finished(), "the forwarder ended");
            let _ = self.writer.persist_cursors_if_dirty();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let letters = self.store.dead_letters((0, 0), 100).expect("the letters");
        let read = |bytes: &[u8]| DeadLetter::decode(bytes).expect("a letter");
        letters
            .into_iter()
            .map(|letter| (letter.id.0, read(&letter.bytes)))
            .collect()
    }

    pub(crate) fn waiting(&self) -> u64 {
        self.store.backlog(self.id).events
    }

    pub(crate) fn last_error(&self) -> Option<String> {
        self.metrics
            .status("hook", "http", Instant::now())
            .last_error
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn append(writer: &mut Writer, lane: LaneId, count: usize) {
    for number in 0..count {
        let output = Routed {
            lane,
            output: Output::default(),
        };
        let mut bytes = Vec::new();
        record::encode(&event(number), &[output], &mut bytes);
        let routes = [Route {
            lane,
            class: Priority::Normal as u8,
        }];
        let mut commit = Commit::new();
        commit.push(Append {
            routes: &routes,
            time_ms: 1_700_000_000_000,
            bytes: &bytes,
        });
        writer.commit(&commit).expect("durable");
    }
}

fn event(number: usize) -> Event {
    Event {
        id: format!("e-{number}").into(),
        source: "plant-a/floor".into(),
        kind: "reading".into(),
        subject: None,
        topic: "hall/7/temperature".into(),
        publisher: "press 7".into(),
        time: Some(1_700_000_000_000.into()),
        received: 1_700_000_000_000,
        content_type: Some("application/json".into()),
        schema: None,
        extensions: vec![Extension::text("traceparent", "00-1-2-01")],
        data: format!("{{\"n\":{number}}}").into(),
        ..Event::default()
    }
}

/// A lane that does not dawdle.
fn settings() -> LaneSettings {
    LaneSettings {
        backfill: Backfill::InOrder,
        live_weight: 4,
        inflight_max: 256,
        inflight_bytes_max: 1 << 20,
        rate_max: None,
        bandwidth_bytes_max: None,
        retry_min: Duration::from_millis(20),
        retry_max: Duration::from_millis(100),
        refusals_max: 3,
        ack_timeout: Duration::from_secs(30),
    }
}

/// The webhook `url` with all defaults.
pub(crate) fn upstream(url: String) -> HttpUpstream {
    HttpUpstream {
        url,
        headers: Vec::new(),
        bearer: None,
        batch_max: 1,
        timeout: Duration::from_secs(5),
        format: Format::Binary,
        tls: ClientTls::default(),
        requests_max: 1,
    }
}
