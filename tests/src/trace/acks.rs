//! A gateway under a tracer, publishers that wait for its acknowledgements, and the trace.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::gateway::Gateway;
use crate::mqtt::publisher::{Ledger, Publisher};
use crate::trace::{self, Report};
use crate::wait;

const PUBLISHERS: u32 = 4;

/// A plan of acknowledgements to trace.
pub struct Acks {
    /// Events of all publishers together.
    pub events: u64,
    /// Another build of the gateway, with an environment variable.
    pub breach: Option<(PathBuf, &'static str)>,
}

impl Acks {
    /// What the trace shows; `None` where there is no tracer.
    ///
    /// # Panics
    /// When events are left unacknowledged, or the trace does not end.
    pub fn trace(&self, test: &str) -> Option<Report> {
        let upstream = "[upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n";
        let mut gateway = Gateway::new(upstream);
        let file = gateway.path("trace");
        gateway.under(trace::tracer(&file, test)?);
        if let Some((program, breach)) = &self.breach {
            gateway.program(program.clone());
            gateway.variable("TIDEGATE_NULL_CONTROL", breach);
        }
        gateway.start();
        self.publish(&gateway);
        let process = gateway.pid();
        let ended = gateway.terminate();
        assert!(ended.success(), "{ended:?}\n{}", gateway.log());
        let text = whole(&file, process);
        Some(trace::check(&trace::parse(&text)))
    }

    fn publish(&self, gateway: &Gateway) {
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|number| {
                let publisher = Publisher {
                    gateway: gateway.address,
                    number,
                    count: self.events / u64::from(PUBLISHERS),
                    per_second: 500.0,
                    // From one at a time to bursts: groups of every size.
                    window: 1 << (2 * number),
                    payload: trace::payload,
                    ledger: Arc::clone(&ledger),
                };
                std::thread::spawn(move || publisher.run())
            })
            .collect();
        for publisher in publishers {
            let left = publisher.join().expect("a publisher");
            assert_eq!(left, 0, "events left unacknowledged\n{}", gateway.log());
        }
    }
}

/// The trace of `process`, when its last line is written.
fn whole(file: &Path, process: u32) -> String {
    wait::find("the trace ends", || {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let last = text.lines().next_back().unwrap_or_default();
        match last.starts_with(&format!("{process} ")) && last.contains("+++ ") {
            true => Ok(text),
            false => Err(last.to_owned()),
        }
    })
}
