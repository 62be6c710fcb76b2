//! The ring against a plain queue: whatever is pushed and released, both hold the same.

use proptest::prelude::*;
use std::collections::VecDeque;
use tidegate_link::ring::RingError;
use tidegate_link::{RamRing, Ring, Sequence};

const SIZE: usize = 48;
const PREFIX_SIZE: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    Push(Vec<u8>),
    Release(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..SIZE + 4).prop_map(Step::Push),
        1 => (0..6u32).prop_map(Step::Release),
    ]
}

/// Does to the queue what a ring of `SIZE` bytes has to do; returns what `push` must return.
fn push_to_queue(queue: &mut VecDeque<Vec<u8>>, record: Vec<u8>) -> Result<u32, RingError> {
    if PREFIX_SIZE + record.len() > SIZE {
        return Err(RingError::TooLarge);
    }
    queue.push_back(record);
    let mut dropped = 0;
    while queue
        .iter()
        .map(|record| PREFIX_SIZE + record.len())
        .sum::<usize>()
        > SIZE
    {
        queue.pop_front();
        dropped += 1;
    }
    Ok(dropped)
}

proptest! {
    #[test]
    fn a_ring_holds_what_a_queue_holds(steps in prop::collection::vec(step(), 0..60), first in any::<u32>()) {
        let mut ring = RamRing::<SIZE>::starting_at(1, Sequence(first));
        let (mut queue, mut oldest) = (VecDeque::new(), Sequence(first));
        for step in steps {
            match step {
                Step::Push(record) => {
                    let pushed = ring.push(&record);
                    prop_assert_eq!(pushed, push_to_queue(&mut queue, record));
                    oldest = oldest.plus(pushed.unwrap_or(0));
                }
                Step::Release(count) => {
                    ring.release(oldest.plus(count));
                    let gone = queue.drain(..queue.len().min(count as usize)).count();
                    oldest = oldest.plus(gone as u32);
                }
            }
            prop_assert_eq!(ring.run().oldest, oldest);
            prop_assert_eq!(ring.run().count() as usize, queue.len());
            for (index, record) in queue.iter().enumerate() {
                let mut out = [0; SIZE];
                let size = ring.read(oldest.plus(index as u32), &mut out);
                prop_assert_eq!(size.map(|size| &out[..size]), Some(&record[..]));
            }
            prop_assert_eq!(ring.read(ring.run().next, &mut [0; SIZE]), None);
        }
    }
}
