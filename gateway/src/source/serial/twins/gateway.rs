//! A gateway in memory: three serial ports, an intake and a store.

use std::sync::Arc;
use std::time::Duration;

use tidegate_store::{Store, Writer};
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::super::config::Serial;
use super::super::host::SerialHost;
use super::super::session::SerialSession;
use super::super::{SerialContext, device};
use super::node::DEVICE;
use crate::config::{PortMatch, PortSettings};
use crate::event::ack::{Refusal, Verdict};
use crate::event::device_mark::device_mark_key;
use crate::event::inlet::{Inlet, Offer};
use crate::intake::dedup::{Dedup, Seen};
use crate::intake::group::CommitGroup;
use crate::observe::Observe;
use crate::observe::source::SourceFamilies;
use crate::source::device_claims::DeviceClaims;
use crate::source::port_budget::PortBudget;
use crate::time::clock;

/// Its sources; the port of each is `/dev/` and its name.
pub(super) const PORTS: [&str; 3] = ["one", "two", "three"];

/// An intake that stores what is new at once.
async fn store_all(
    mut writer: Writer,
    mut dedup: Dedup,
    mut offers: mpsc::Receiver<Offer>,
) -> Writer {
    while let Some(offer) = offers.recv().await {
        for arrival in offer.arrivals {
            let mut group = CommitGroup::default();
            let (seen, commit) = (&mut group.seen, &mut group.commit);
            let verdict = match dedup.seen(&arrival.event, &arrival.identity, seen, commit) {
                Seen::Again => Verdict::Stored,
                Seen::New => {
                    group.push(&arrival.event, &[], 0);
                    writer.commit(&group.commit).expect("a commit");
                    Verdict::Stored
                }
                _ => Verdict::Refused(Refusal::Failed),
            };
            arrival.ack.settle(verdict);
        }
    }
    writer
}

/// A gateway with three ports, as long as it runs.
pub(super) struct TestGateway {
    /// Where each port gets its lines from.
    pub(super) lines: Vec<mpsc::UnboundedSender<DuplexStream>>,
    stop: watch::Sender<bool>,
    intake: JoinHandle<Writer>,
    ports: Vec<JoinHandle<()>>,
    pub(super) observe: Arc<Observe>,
}

impl TestGateway {
    /// Begins with what the store has.
    pub(super) fn start(store: &Store, writer: Writer) -> TestGateway {
        let observe = Arc::new(Observe::default());
        let families = SourceFamilies::register(&observe);
        let (inlet, offers) = Inlet::new(8, 1 << 20);
        let mut dedup = Dedup::new(8, "plant");
        let name = device::device_name(&DEVICE);
        if let Some(mark) = store.mark(&device_mark_key(&name)) {
            dedup.recall_device(&name, &mark);
        }
        let devices = Arc::new(DeviceClaims::default());
        let (stop, stopped) = watch::channel(false);
        let mut gateway = TestGateway {
            lines: Vec::new(),
            stop,
            intake: tokio::spawn(store_all(writer, dedup, offers)),
            ports: Vec::new(),
            observe: Arc::clone(&observe),
        };
        for name in PORTS {
            let metrics = families.of(name);
            let observe = Arc::clone(&observe);
            let budget = PortBudget::new(name, observe, metrics.clone(), clock::monotonic());
            budget.port_is(&format!("/dev/{name}"));
            let context = SerialContext {
                inlet: inlet.clone(),
                store: store.clone(),
                devices: Arc::clone(&devices),
                budget: Arc::new(budget),
                metrics,
            };
            let config = Serial {
                port: PortMatch::Path("none".into()),
                settings: PortSettings::default(),
                topic: "devices/{device}".into(),
                reopen_max: Duration::from_secs(1),
            };
            let host = SerialHost::new(&config, name, "plant", context, clock::monotonic());
            let (line, lines) = mpsc::unbounded_channel();
            gateway.lines.push(line);
            let port = port(host, inlet.clone(), lines, stopped.clone());
            gateway.ports.push(tokio::spawn(port));
        }
        gateway
    }

    /// Ends as a process does.
    pub(super) async fn stop(self) -> Writer {
        let _ = self.stop.send(true);
        for port in self.ports {
            port.await.expect("a port");
        }
        self.intake.await.expect("the intake")
    }
}

/// A port whose lines are given to it.
async fn port(
    mut host: SerialHost,
    inlet: Inlet,
    mut lines: mpsc::UnboundedReceiver<DuplexStream>,
    mut stop: watch::Receiver<bool>,
) {
    let mut nonce = fastrand::u16(..);
    let mut next = None;
    loop {
        let line = match next.take() {
            Some(line) => Some(line),
            None => tokio::select! {
                line = lines.recv() => line,
                _ = stop.changed() => None,
            },
        };
        let Some(line) = line else {
            return;
        };
        nonce = nonce.wrapping_add(0x1001);
        let session = SerialSession::new(&mut host, &inlet, nonce);
        tokio::select! {
            ended = session.run(line) => drop(ended.expect("the intake is there")),
            line = lines.recv() => next = line,
            _ = stop.changed() => return,
        }
        host.port_lost("the line hung up", clock::monotonic());
    }
}
