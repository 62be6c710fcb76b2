//! Nodes that share a name, at one port in turn or at several at once, and a node that moves: nothing that is
//! acknowledged is another node's, nothing is stored twice, and who is not taken is told.

mod gateway;
mod node;
mod slow_line;

use std::time::Duration;

use tidegate_store::{Options, Store};
use tokio::io::DuplexStream;

use super::device;
use crate::event::device_mark::{BootMark, Boots, device_mark_key};
use crate::event::record;
use crate::intake::group::CommitGroup;
use crate::time::clock;
use gateway::{PORTS, TestGateway};
use node::Begin::{Boot, Flash, InSession};
use node::{Begin, DEVICE, NodeTask};

const PATIENCE: Duration = Duration::from_secs(240);

/// What happens in a case, one after the other. Nodes and ports by number.
#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    /// The node's line is plugged in: what was in the port hangs up.
    Plug(usize, usize),
    /// The node is at the line that was another's; the port notices nothing.
    Swap(usize, usize),
    /// The node's line is pulled out: the port hangs up.
    Pull(usize),
    /// The node's wires come off: the port notices nothing.
    Unwire(usize),
    /// The node begins this boot, and so many records that it had let go of are in its flash again.
    Reboot(usize, u32, u32),
    /// It makes so many records.
    Make(usize, u32),
    /// All that it made is acknowledged.
    Drained(usize),
    /// It holds so many.
    Holds(usize, u32),
    /// A trouble says so.
    Told(&'a str),
    /// There is no trouble.
    Calm,
    /// The gateway starts again.
    Restart,
    /// So many ms pass.
    Pause(u64),
}
use Step::{Calm, Drained, Holds, Make, Pause, Plug, Pull, Reboot, Restart, Swap, Told, Unwire};

/// Reads `plug 0 one`.
fn step(text: &str) -> Step<'_> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let node = || words[1].parse().expect("a node");
    let number = |at: usize| words[at].parse().expect("a number");
    let count = || number(2);
    let port = || {
        let port = PORTS.iter().position(|port| *port == words[2]);
        port.expect("a port")
    };
    match words[0] {
        "plug" => Plug(node(), port()),
        "swap" => Swap(node(), port()),
        "pull" => Pull(node()),
        "unwire" => Unwire(node()),
        "reboot" => Reboot(node(), count(), number(3)),
        "make" => Make(node(), count()),
        "drained" => Drained(node()),
        "holds" => Holds(node(), count()),
        "told" => Told(text["told ".len()..].trim()),
        "calm" => Calm,
        "restart" => Restart,
        "pause" => Pause(words[1].parse().expect("a number")),
        other => panic!("no step is called {other}"),
    }
}

struct Case<'a> {
    name: &'a str,
    nodes: &'a [Begin],
    /// Boot, sequence and session of the mark that the store has; without session it is of an earlier version.
    mark: Option<(u64, u64, u16)>,
    steps: &'a str,
}

/// One case under way.
struct Course {
    store: Store,
    gateway: Option<TestGateway>,
    /// How long a line takes, each way.
    takes: Duration,
    nodes: Vec<NodeTask>,
    /// The node at each port, by number.
    plugged: [Option<usize>; 3],
    /// Lines that nobody is at.
    loose: Vec<DuplexStream>,
}

impl Course {
    fn gateway(&self) -> &TestGateway {
        self.gateway.as_ref().expect("it runs")
    }

    async fn plug(&mut self, node: usize, port: usize) {
        let (near, far) = slow_line::line(self.takes);
        self.gateway().lines[port].send(near).expect("a port");
        self.nodes[node].wire(Some(far)).await;
        self.plugged[port] = Some(node);
    }

    async fn take(&mut self, step: Step<'_>) {
        match step {
            Plug(node, port) => self.plug(node, port).await,
            Swap(node, port) => {
                let before = self.plugged[port].replace(node).expect("a node is there");
                let line = self.nodes[before].wire(None).await;
                self.nodes[node].wire(line).await;
            }
            Pull(node) => {
                drop(self.nodes[node].wire(None).await);
                self.forget(node);
            }
            Unwire(node) => {
                let line = self.nodes[node].wire(None).await;
                self.loose.extend(line);
                self.forget(node);
            }
            Reboot(node, boot, back) => self.nodes[node].reboot(boot, back).await,
            Make(node, count) => {
                self.nodes[node].make(count).await;
            }
            Drained(node) => {
                self.wait(|c| (c.nodes[node].ring.held() == 0).then_some(()), step)
                    .await
            }
            Holds(node, count) => assert_eq!(self.nodes[node].ring.held(), count),
            Told(text) => {
                let told = |c: &Course| {
                    let lines = c.gateway().observe.troubles.lines();
                    lines.iter().any(|line| line.contains(text)).then_some(())
                };
                self.wait(told, step).await;
            }
            Calm => {
                let calm = |c: &Course| {
                    c.gateway()
                        .observe
                        .troubles
                        .lines()
                        .is_empty()
                        .then_some(())
                };
                self.wait(calm, step).await;
            }
            Pause(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Restart => {
                let writer = self.gateway.take().expect("it runs").stop().await;
                self.gateway = Some(TestGateway::start(&self.store, writer));
                for port in 0..PORTS.len() {
                    if let Some(node) = self.plugged[port] {
                        self.plug(node, port).await;
                    }
                }
            }
        }
    }

    fn forget(&mut self, node: usize) {
        let port = self.plugged.iter_mut().find(|at| **at == Some(node));
        *port.expect("it is plugged in") = None;
    }

    async fn wait(&self, is_so: impl Fn(&Course) -> Option<()>, step: Step<'_>) {
        let began = clock::monotonic();
        while is_so(self).is_none() {
            assert!(
                began.elapsed() < PATIENCE,
                "{step:?}: in vain; {:?}",
                self.gateway().observe.troubles.lines()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Of every node, what it let go is stored, in order and once, and nothing else is.
    fn check(&self) {
        let limit = tidegate_store::ReadLimit {
            records: 10_000,
            bytes: 1 << 24,
        };
        let batch = self.store.scan(self.store.first(), self.store.end(), limit);
        let stored: Vec<i64> = batch
            .expect("the log")
            .records
            .iter()
            .map(|stored| {
                let event = record::decode(&stored.bytes).expect("a record").event;
                let data: serde_json::Value = serde_json::from_slice(&event.data).expect("JSON");
                data["n"].as_i64().expect("a number")
            })
            .collect();
        for (number, node) in self.nodes.iter().enumerate() {
            let of_node = stored.iter().filter(|n| **n / 1_000_000 == number as i64);
            let of_node: Vec<i64> = of_node.map(|n| n % 1_000_000).collect();
            let expected = i64::from(node.let_go)..;
            let expected: Vec<i64> = expected.take(of_node.len()).collect();
            assert_eq!(of_node, expected, "node {number}");
            let released = node.made - node.let_go - node.ring.held();
            assert!(
                of_node.len() as u32 >= released,
                "node {number}: {released} released"
            );
        }
    }
}

fn run(case: &Case<'_>, takes: Duration) {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut writer, store) = tidegate_store::open(Options::new(folder.path())).expect("a store");
    if let Some((boot, sequence, session)) = case.mark {
        let mut boots = Boots::default();
        boots.advance(BootMark {
            boot,
            sequence,
            session,
            digest: 0,
        });
        let mut bytes = boots.to_bytes();
        bytes.truncate(if session == 0 { 16 } else { 18 });
        let mut group = CommitGroup::default();
        let key = device_mark_key(&device::device_name(&DEVICE));
        group.commit.mark(&key, &bytes);
        writer.commit(&group.commit).expect("a commit");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let nodes = case.nodes.iter().enumerate();
        let mut course = Course {
            gateway: Some(TestGateway::start(&store, writer)),
            store,
            takes,
            nodes: nodes
                .map(|(number, begin)| NodeTask::start(number, *begin))
                .collect(),
            plugged: [None; PORTS.len()],
            loose: Vec::new(),
        };
        for text in case.steps.split(';') {
            course.take(step(text.trim())).await;
        }
        course.check();
    });
}

const CASES: &[Case<'_>] = &[
    Case {
        name: "same boot, both at once",
        nodes: &[Boot(9), Boot(9)],
        mark: None,
        steps: "make 0 20; make 1 30; plug 0 one; drained 0; plug 1 two; told source two: two devices;  \
                make 0 20; drained 0; holds 1 30; pull 0; told boot 9; holds 1 30; plug 0 three;  \
                make 0 10; drained 0; holds 1 30",
    },
    Case {
        name: "the second counts further than the first",
        nodes: &[Boot(9), Boot(9)],
        mark: None,
        steps: "make 0 5; make 1 200; plug 0 one; drained 0; pull 0; plug 1 two; told boot 9;  \
                holds 1 200; pull 1; calm",
    },
    Case {
        name: "different boots, both at once; the second goes on when the first is gone",
        nodes: &[Boot(9), Boot(10)],
        mark: None,
        steps: "make 0 20; make 1 30; plug 0 one; drained 0; plug 1 two;  \
                told two devices are called node-001, one at source one, one at /dev/two; holds 1 30;  \
                make 0 20; drained 0; pull 0; drained 1; calm; plug 0 one; make 0 3;  \
                told source one: two devices are called; holds 0 3",
    },
    Case {
        name: "three at once, one of them taken",
        nodes: &[Boot(9), Boot(10), Boot(9)],
        mark: None,
        steps: "make 0 20; make 1 30; make 2 40; plug 0 one; drained 0; plug 1 two; plug 2 three;  \
                told source two: ; told source three: ; make 0 5; drained 0; holds 1 30; holds 2 40",
    },
    Case {
        name: "the first has nothing to say",
        nodes: &[Boot(9), Boot(10)],
        mark: None,
        steps: "plug 0 one; make 0 1; drained 0; make 1 10; plug 1 two; told source two: ; holds 1 10;  \
                make 0 20; drained 0; holds 1 10",
    },
    Case {
        name: "nothing is stored of the first when the gateway starts again",
        nodes: &[InSession(9, 700, 0), Boot(9)],
        mark: None,
        steps: "make 1 10; plug 1 two; drained 1; make 0 20; restart; plug 0 one; told source one: ;  \
                holds 0 20; make 1 10; drained 1; pull 1; told boot 9; holds 0 20",
    },
    Case {
        name: "same boot, the gateway starts again between",
        nodes: &[Boot(9), Boot(9)],
        mark: None,
        steps: "make 0 20; make 1 30; plug 0 one; drained 0; pull 0; restart; plug 1 one; told boot 9;  \
                holds 1 30; plug 0 two; make 0 5; drained 0; holds 1 30",
    },
    Case {
        name: "boards swapped on one line, same boot",
        nodes: &[Boot(9), Boot(9)],
        mark: None,
        steps: "make 0 20; make 1 30; plug 0 one; drained 0; swap 1 one; told boot 9; holds 1 30;  \
                swap 0 one; make 0 10; drained 0; calm; swap 1 one; told boot 9; holds 1 30",
    },
    Case {
        name: "boards swapped on one line, different boots",
        nodes: &[Boot(9), Boot(10)],
        mark: None,
        steps: "make 0 20; make 1 30; plug 0 one; drained 0; swap 1 one; drained 1; calm; swap 0 one;  \
                make 0 10; told node-001 and come in turn; holds 0 10; swap 1 one; make 1 10; drained 1; calm;  \
                restart; swap 0 one; told in turn; holds 0 10",
    },
    Case {
        name: "the same, the older boot after the newer, and nothing to say",
        nodes: &[Boot(10), Boot(9)],
        mark: None,
        steps: "make 0 1; make 1 1; plug 0 one; drained 0; swap 1 one; drained 1; calm; swap 0 one;  \
                told in turn; swap 1 one; make 1 1; drained 1; calm",
    },
    Case {
        name: "plugged in at one port after the other, different boots",
        nodes: &[Boot(9), Boot(10)],
        mark: None,
        steps: "make 0 20; make 1 30; plug 0 one; drained 0; pull 0; plug 1 two; drained 1; pull 1; calm;  \
                plug 0 three; make 0 10; told source three: two devices; holds 0 10; plug 1 one; make 1 5; drained 1;  \
                pull 1; told at /dev/three is back; holds 0 10",
    },
    Case {
        name: "who was refused for its boot begins another one",
        nodes: &[Boot(9), Boot(10)],
        mark: None,
        steps: "make 0 1; make 1 1; plug 0 one; drained 0; swap 1 one; drained 1; swap 0 one; told in turn;  \
                reboot 0 11 0; make 0 5; drained 0; calm; swap 1 one; make 1 5; told in turn; holds 1 5",
    },
    Case {
        name: "one node that starts again and again",
        nodes: &[Boot(9)],
        mark: None,
        steps: "make 0 20; plug 0 one; drained 0; reboot 0 10 0; make 0 3; drained 0; reboot 0 4 0; make 0 3;  \
                drained 0; reboot 0 7 0; restart; make 0 3; drained 0; pull 0; reboot 0 5 0; make 0 3; plug 0 two;  \
                drained 0; reboot 0 12 0; make 0 3; drained 0; calm",
    },
    Case {
        name: "boards swapped amid readings",
        nodes: &[Boot(9), Boot(9)],
        mark: None,
        steps: "make 0 500; make 1 900; plug 0 one; swap 1 one; told source one: ; swap 0 one; drained 0;  \
                calm; holds 1 900",
    },
    Case {
        name: "a node moves to another port",
        nodes: &[Boot(9)],
        mark: None,
        steps: "make 0 100; plug 0 one; pull 0; plug 0 two; make 0 50; drained 0; pull 0; plug 0 one;  \
                make 0 50; drained 0; restart; make 0 5; drained 0; pull 0; plug 0 three; make 0 5;  \
                drained 0; calm",
    },
    Case {
        name: "a node moves and the port that it leaves does not notice",
        nodes: &[Boot(9)],
        mark: None,
        steps: "make 0 100; plug 0 one; drained 0; unwire 0; make 0 50; plug 0 two; drained 0; unwire 0;  \
                restart; plug 0 one; make 0 50; drained 0; calm",
    },
    Case {
        name: "a store of an earlier version, whose node goes on",
        nodes: &[InSession(9, 700, 10), Boot(9)],
        mark: Some((9, 9, 0)),
        steps: "make 1 30; plug 1 two; told boot 9; holds 1 30; make 0 30; plug 0 one; drained 0;  \
                holds 1 30; restart; make 0 5; drained 0; told source two: ; holds 1 30",
    },
    Case {
        name: "a store of an earlier version, one node after another",
        nodes: &[InSession(9, 700, 10), InSession(9, 701, 10)],
        mark: Some((9, 9, 0)),
        steps: "make 0 30; plug 0 one; drained 0; pull 0; make 1 40; plug 1 one; told boot 9; holds 1 40;  \
                restart; told boot 9; holds 1 40",
    },
    Case {
        name: "a store of an earlier version, another node first",
        nodes: &[InSession(9, 700, 10), InSession(9, 701, 0)],
        mark: Some((9, 9, 0)),
        steps: "make 1 40; plug 1 one; told boot 9; holds 1 40; make 0 30; plug 0 two; drained 0; holds 1 40",
    },
    Case {
        name: "a store of an earlier version, another node first that holds few of the numbers that are stored",
        nodes: &[InSession(9, 700, 10), InSession(9, 701, 4)],
        mark: Some((9, 9, 0)),
        steps: "make 1 40; plug 1 one; drained 1; make 0 30; swap 0 one; told boot 9; holds 0 30;  \
                swap 1 one; make 1 5; drained 1; calm",
    },
    Case {
        name: "records of an earlier boot come from the flash",
        nodes: &[Flash(10, 30, 0)],
        mark: None,
        steps: "plug 0 one; drained 0; make 0 20; drained 0; restart; make 0 5; drained 0; calm",
    },
    Case {
        name: "the same, some of them stored by an earlier version",
        nodes: &[Flash(10, 30, 10)],
        mark: Some((9, 9, 0)),
        steps: "plug 0 one; drained 0; restart; make 0 5; drained 0; calm",
    },
    Case {
        name: "the same, which the flash does not know of all",
        nodes: &[Flash(10, 30, 4)],
        mark: Some((9, 9, 77)),
        steps: "plug 0 one; drained 0; restart; make 0 5; drained 0; calm",
    },
    Case {
        name: "records that were let go are in the flash again",
        nodes: &[Boot(9)],
        mark: None,
        steps: "make 0 20; plug 0 one; drained 0; reboot 0 10 7; drained 0; make 0 5; drained 0; unwire 0;  \
                make 0 30; reboot 0 11 3; plug 0 one; restart; drained 0; make 0 5; drained 0; pull 0; make 0 30;  \
                reboot 0 12 0; make 0 10; plug 0 two; drained 0; calm",
    },
    Case {
        name: "one old boot in two flashes, many stored of one",
        nodes: &[Flash(10, 30, 0), Flash(10, 40, 0)],
        mark: None,
        steps: "plug 0 one; drained 0; pull 0; plug 1 one; told boot 9; holds 1 40; restart; told boot 9; holds 1 40",
    },
    Case {
        name: "one old boot in two flashes, few stored of one",
        nodes: &[Flash(10, 5, 0), Flash(10, 40, 0)],
        mark: None,
        steps: "plug 0 one; drained 0; pull 0; plug 1 one; told boot 9; holds 1 40; restart; told boot 9; holds 1 40",
    },
    Case {
        name: "one old boot in two flashes, plugged in at once",
        nodes: &[Flash(10, 5, 0), Flash(10, 40, 0)],
        mark: None,
        steps: "plug 0 one; drained 0; make 0 9; drained 0; plug 1 two; told source two: two devices; holds 1 40;  \
                make 0 9; drained 0; pull 0; told in turn; holds 1 40",
    },
];

#[test]
fn nodes_with_one_name_lose_nothing_and_are_told() {
    let threads: Vec<_> = CASES
        .iter()
        .map(|case| (case.name, std::thread::spawn(|| run(case, Duration::ZERO))))
        .collect();
    let failed: Vec<_> = threads
        .into_iter()
        .filter_map(|(name, thread)| thread.join().is_err().then_some(name))
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}
