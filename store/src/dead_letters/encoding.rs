//! A dead letter as bytes: its keys, its head and its parts (see `dead_letters.rs`), written and read back.

use crate::api::dead_letter::{DeadLetter, DeadLetterId};
use crate::engine::failure::EngineError;
use crate::engine::sled::{Engine, Writes};
use crate::format::varint::{Reader, put_varint};
use std::ops::ControlFlow;

const VERSION: u8 = 1;
const PART_BYTES: usize = 4000;
/// Dead letters of one answer, bytes.
const LIST_BYTES_MAX: usize = 4 << 20;

fn head_key((sequence, number): DeadLetterId) -> [u8; 10] {
    let mut key = [0; 10];
    key[..8].copy_from_slice(&sequence.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

fn part_key(id: DeadLetterId, part: u32) -> [u8; 14] {
    let mut key = [0; 14];
    key[..10].copy_from_slice(&head_key(id));
    key[10..].copy_from_slice(&part.to_be_bytes());
    key
}

fn parse_head_key(key: &[u8]) -> Option<DeadLetterId> {
    let (sequence, number) = key.split_first_chunk::<8>()?;
    Some((
        u64::from_be_bytes(*sequence),
        u16::from_be_bytes(number.try_into().ok()?),
    ))
}

pub(crate) fn put_dead_letter(writes: &mut Writes, id: DeadLetterId, bytes: &[u8]) {
    let mut head = vec![VERSION];
    put_varint(&mut head, bytes.len() as u64);
    head.extend_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
    writes.put_entry(&head_key(id), &head);
    for (part, chunk) in (0..).zip(bytes.chunks(PART_BYTES)) {
        writes.put_entry(&part_key(id, part), chunk);
    }
}

pub(crate) fn remove_dead_letter(writes: &mut Writes, id: DeadLetterId, bytes: usize) {
    writes.remove_entry(&head_key(id));
    (0..bytes.div_ceil(PART_BYTES) as u32)
        .for_each(|part| writes.remove_entry(&part_key(id, part)));
}

/// Length and checksum of a dead letter.
pub(crate) fn read_head(value: &[u8]) -> Option<(usize, u32)> {
    let mut reader = Reader::new(value);
    let version = reader.u8()?;
    let bytes = usize::try_from(reader.varint()?).ok()?;
    let crc = reader.u32()?;
    (version == VERSION).then_some((bytes, crc))
}

/// Length that a dead letter's parts take, as far as its head tells.
pub(crate) fn stored_bytes(
    engine: &Engine,
    id: DeadLetterId,
) -> Result<Option<usize>, EngineError> {
    let mut found = None;
    engine.entries(&head_key(id), |key, value| {
        if key == head_key(id) {
            found = Some(read_head(value).map_or(0, |(bytes, _)| bytes));
        }
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// One dead letter; `Some(None)` if its bytes are damaged.
pub(crate) fn read_dead_letter(
    engine: &Engine,
    id: DeadLetterId,
) -> Result<Option<Option<Vec<u8>>>, EngineError> {
    let found = read_dead_letters(engine, id, 1)?;
    Ok(found
        .into_iter()
        .find(|(found, _)| *found == id)
        .map(|(_, bytes)| bytes))
}

/// A dead letter's key, and its bytes if they are as they were put.
pub(crate) type ReadDeadLetter = (DeadLetterId, Option<Vec<u8>>);

/// Dead letters from `from` on.
pub(crate) fn read_dead_letters(
    engine: &Engine,
    from: DeadLetterId,
    limit: usize,
) -> Result<Vec<ReadDeadLetter>, EngineError> {
    let mut dead_letters: Vec<DeadLetter> = Vec::new();
    let mut heads: Vec<Option<(usize, u32)>> = Vec::new();
    let mut total = 0;
    engine.entries(&head_key(from), |key, value| {
        if let Some(id) = parse_head_key(key) {
            if dead_letters.len() >= limit || total >= LIST_BYTES_MAX {
                return ControlFlow::Break(());
            }
            dead_letters.push(DeadLetter {
                id,
                bytes: Vec::new(),
            });
            heads.push(read_head(value));
        } else if let Some(dead_letter) = dead_letters.last_mut()
            && key.starts_with(&head_key(dead_letter.id))
        {
            dead_letter.bytes.extend_from_slice(value);
            total += value.len();
        }
        ControlFlow::Continue(())
    })?;
    let checked = |(dead_letter, head): (DeadLetter, Option<(usize, u32)>)| {
        let right = head == Some((dead_letter.bytes.len(), crc32c::crc32c(&dead_letter.bytes)));
        (dead_letter.id, right.then_some(dead_letter.bytes))
    };
    Ok(dead_letters.into_iter().zip(heads).map(checked).collect())
}

/// The key that follows.
pub(crate) fn after((sequence, number): DeadLetterId) -> DeadLetterId {
    match number.checked_add(1) {
        Some(number) => (sequence, number),
        None => (sequence.saturating_add(1), 0),
    }
}
