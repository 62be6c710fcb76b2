//! The two sides of the comparison, each in front of a far end of the same kind.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::acknowledger::Acknowledger;

use tempfile::TempDir;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::peer;
use tidegate_tests::{port, wait};

/// Who stands at the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// mosquitto with a bridge, everything in memory.
    Mosquitto,
    /// Tidegate, every event synced before its acknowledgement.
    Tidegate,
}

/// The edge's bridge to the upstream: as many messages under way as it likes, none dropped.
const BRIDGE: &str = "persistence false
connection up
topic # out 1
cleansession false
notifications false
restart_timeout 1
";

/// The upstream: everything it queues is written to its database.
const UPSTREAM: &str = "persistence true
autosave_interval 60
";

/// What a person would write for a floor of sensors.
const RULES: &str = r#"event reading {
  topic "bench/{client}/t"
  c int required
  n int required
  temperature float required in -40..125
}

rule keep {
  on reading
  send to cloud
}

rule hot {
  on reading
  when temperature > 90
  set severity = if temperature > 110 then "critical" else "warning"
  send to cloud topic "alarms/{client}" priority high
}

rule broken {
  on reading
  when temperature < -30
  send to cloud topic "broken/{client}"
}
"#;

/// An edge with its far end, running.
pub(crate) struct Side {
    edge: Edge,
    pub far_end: FarEnd,
}

/// What an edge forwards to.
pub(crate) enum FarEnd {
    /// mosquitto.
    Broker(Broker),
    /// Acknowledges, and no more.
    Acknowledger(Acknowledger),
}

impl FarEnd {
    /// A mosquitto; `None` where it is not installed.
    pub(crate) fn broker() -> Option<FarEnd> {
        Some(FarEnd::Broker(Broker::start(UPSTREAM, None)?))
    }

    /// One that only acknowledges.
    pub(crate) fn acknowledger() -> Option<FarEnd> {
        Acknowledger::start().ok().map(FarEnd::Acknowledger)
    }

    fn address(&self) -> SocketAddr {
        match self {
            FarEnd::Broker(broker) => broker.address,
            FarEnd::Acknowledger(acknowledger) => acknowledger.address,
        }
    }
}

enum Edge {
    Mosquitto(Broker),
    Tidegate(Box<Gateway>),
}

impl Side {
    /// Starts both; `None` where mosquitto is not installed.
    pub(crate) fn start(kind: Kind, far_end: impl Fn() -> Option<FarEnd>) -> Option<Side> {
        let far_end = far_end()?;
        let to = far_end.address();
        let edge = match kind {
            Kind::Mosquitto => Edge::Mosquitto(Broker::start(BRIDGE, Some(to))?),
            Kind::Tidegate => Edge::Tidegate(Box::new(gateway(to))),
        };
        // Time for the edge to connect to its upstream: neither tells when it has.
        std::thread::sleep(Duration::from_millis(700));
        Some(Side { edge, far_end })
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        match &self.edge {
            Edge::Mosquitto(broker) => broker.address,
            Edge::Tidegate(gateway) => gateway.address,
        }
    }

    /// The process at the edge.
    pub(crate) fn pid(&self) -> u32 {
        match &self.edge {
            Edge::Mosquitto(broker) => broker.process.id(),
            Edge::Tidegate(gateway) => gateway.pid(),
        }
    }
}

fn gateway(upstream: SocketAddr) -> Gateway {
    let mut gateway = Gateway::new(&format!(
        "[store]\nkeep_for = \"0s\"\n\n[upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{upstream}\"\n"
    ));
    gateway.write("rules/bench.rules", RULES);
    gateway.start();
    gateway
}

/// A mosquitto with its folder.
pub(crate) struct Broker {
    pub address: SocketAddr,
    process: Child,
    _dir: TempDir,
}

impl Broker {
    fn start(more: &str, bridge_to: Option<SocketAddr>) -> Option<Broker> {
        let program = peer::find("mosquitto", "bench")?;
        let dir = tempfile::tempdir().expect("a folder");
        let address = port::free();
        let mut text = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n\
             set_tcp_nodelay true\nlog_type none\nuser root\npersistence_location {}/\n{more}",
            address.port(),
            dir.path().display()
        );
        if let Some(to) = bridge_to {
            text = text.replace("connection up\n", &format!("connection up\naddress {to}\n"));
        }
        let config = dir.path().join("mosquitto.conf");
        std::fs::write(&config, text).expect("a configuration");
        let process = run(&program, &config);
        wait::find("mosquitto listens", || TcpStream::connect(address));
        Some(Broker {
            address,
            process,
            _dir: dir,
        })
    }
}

fn run(program: &Path, config: &Path) -> Child {
    Command::new(program)
        .arg("-c")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("mosquitto starts")
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
