//! A node over a port in memory: what it measures reaches the gateway's half, and a deaf gateway costs nothing but room.

use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use tidegate_device::{Node, Pace, Sensor, Simulated};
use tidegate_link::schema::read_value;
use tidegate_link::{
    Body, FRAME_SIZE_MAX, HostLink, Identity, Incoming, Kind, RamRing, Sequence, Value,
};

#[derive(Clone, Default)]
struct Line {
    to_node: Rc<RefCell<VecDeque<u8>>>,
    to_gateway: Rc<RefCell<VecDeque<u8>>>,
}

impl ErrorType for Line {
    type Error = ErrorKind;
}

impl ReadReady for Line {
    fn read_ready(&mut self) -> Result<bool, ErrorKind> {
        Ok(!self.to_node.borrow().is_empty())
    }
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        let mut waiting = self.to_node.borrow_mut();
        let count = buffer.len().min(waiting.len());
        buffer
            .iter_mut()
            .zip(waiting.drain(..count))
            .for_each(|(to, from)| *to = from);
        Ok(count)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.to_gateway.borrow_mut().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

fn node<const N: usize>(line: &Line) -> Node<Simulated, Line, RamRing<N>> {
    let sensor = Simulated::default();
    let identity = Identity {
        device: *b"node-001",
        firmware: "1.0.0",
        slot: 0,
        schema: sensor.schema(),
    };
    Node::new(
        identity,
        sensor,
        line.clone(),
        RamRing::new(3),
        Pace { every_ms: 10 },
    )
}

/// What the gateway got: the sequence numbers with the second reading, and the gaps.
#[derive(Default)]
struct Got {
    events: Vec<(Sequence, i64)>,
    gaps: Vec<u32>,
}

fn listen(host: &mut HostLink, line: &Line, now_ms: u64, got: &mut Got) {
    let bytes: Vec<u8> = line.to_gateway.borrow_mut().drain(..).collect();
    let mut bytes = &bytes[..];
    loop {
        let stored = match host.receive(&mut bytes, now_ms) {
            None => break,
            Some(Incoming::Hello(_)) => {
                host.resume(None, false, now_ms).unwrap();
                continue;
            }
            Some(Incoming::Event {
                id,
                body: Body::Readings { mut values, .. },
                ..
            }) => {
                read_value(Kind::Integer { exponent: -1 }, &mut values).unwrap();
                let Some(Value::Integer(count)) =
                    read_value(Kind::Integer { exponent: 0 }, &mut values)
                else {
                    panic!("no count")
                };
                got.events.push((id.sequence, count));
                id
            }
            Some(Incoming::Gap { last, count }) => {
                got.gaps.push(count);
                last
            }
            Some(_) => continue,
        };
        host.acknowledge(stored);
    }
    let mut buffer = [0; FRAME_SIZE_MAX];
    while let Some(frame) = host.transmit(now_ms, &mut buffer) {
        line.to_node.borrow_mut().extend(frame);
    }
}

#[test]
fn what_a_node_measures_reaches_the_gateway_in_order() {
    let (line, mut host, mut got) = (Line::default(), HostLink::new(9), Got::default());
    let mut node = node::<4096>(&line);
    for now_ms in 0..1_000 {
        node.poll(now_ms).unwrap();
        listen(&mut host, &line, now_ms, &mut got);
    }
    let expected: Vec<_> = (0..100).map(|n| (Sequence(n), i64::from(n))).collect();
    assert_eq!(got.events, expected);
    assert!(got.gaps.is_empty());
    assert_eq!(node.held(), 0);
}

#[test]
fn what_a_full_ring_dropped_is_reported_to_the_last_record() {
    let (line, mut host, mut got) = (Line::default(), HostLink::new(9), Got::default());
    let mut node = node::<256>(&line);
    for now_ms in 0..1_000 {
        node.poll(now_ms).unwrap();
    }
    line.to_gateway.borrow_mut().clear();
    let lost = node.counters().lost;
    for now_ms in 1_000..3_000 {
        node.poll(now_ms).unwrap();
        listen(&mut host, &line, now_ms, &mut got);
    }
    assert!(lost > 0);
    assert_eq!(got.gaps.iter().sum::<u32>(), node.counters().lost);
    let stored = u32::try_from(got.events.len()).unwrap();
    assert_eq!(stored + node.counters().lost + node.held(), 300);
}
