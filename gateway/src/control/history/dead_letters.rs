//! Dead letters: events that were set aside, with why.

use serde::{Deserialize, Serialize};
use tidegate_rules::event::UnixMs;
use tidegate_store::{DeadLetterId, Store};

use super::HistoryError;
use super::event::EventView;
pub use crate::event::dead_letter::letters::after;
use crate::event::dead_letter::{Cause, DeadLetter, rule_in};
use crate::event::record;

/// The most dead letters one answer holds.
pub const LIMIT_MAX: usize = 10_000;
/// Dead letters read at once.
const PIECE: usize = 256;
/// Rules and reasons that a letter of many is shown with.
const NAMED_MAX: usize = 10;

/// A dead letter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadLetterView {
    /// Its id: the event's number in the log, and which of its outputs, the first of several.
    pub id: String,
    /// The upstream it was bound for; `dead_letter` where a rule or a source set it aside.
    pub upstream: String,
    /// Why it was set aside.
    pub reason: String,
    /// How it came to this: `refused`, `poison`, `rule`, `unreadable` or `source`.
    pub cause: Cause,
    /// Times it was offered to the upstream.
    pub attempts: u32,
    /// When it was set aside, milliseconds since the Unix epoch.
    pub time_ms: UnixMs,
    /// The rule that sent it, the first of several.
    pub rule: Option<String>,
    /// The first of all rules that did.
    #[serde(default)]
    pub rules: Vec<String>,
    /// How many outputs of the event it holds.
    #[serde(default)]
    pub outputs: usize,
    /// What else was said of some of them.
    #[serde(default)]
    pub other_reasons: Vec<String>,
    /// What it is of, and counts against the bounds of: `rule hot`, `event press_temp`, `source floor`, `upstream cloud`.
    #[serde(default)]
    pub of: String,
    /// The event, where its record can be read.
    pub event: Option<EventView>,
}

impl DeadLetterView {
    fn of(id: DeadLetterId, letter: &DeadLetter) -> DeadLetterView {
        let record = record::decode(&letter.record).ok();
        let outputs = record.as_ref().map_or(&[][..], |record| &record.outputs);
        let said = outputs.iter().map(|routed| &routed.output);
        let rules = said.clone().map(|output| rule_in(output.rule.as_deref()));
        let reasons = said.map(|output| output.reason.as_deref());
        let reasons = reasons.filter(|reason| *reason != Some(&*letter.reason));
        DeadLetterView {
            rules: first_of(rules),
            outputs: outputs.len(),
            other_reasons: first_of(reasons),
            id: id_text(id),
            upstream: letter.upstream.clone(),
            reason: letter.reason.clone(),
            cause: letter.cause,
            attempts: letter.attempts,
            time_ms: letter.time_ms,
            rule: letter.of_rule().map(str::to_owned),
            of: letter.owner(),
            event: record.map(|record| EventView::live(&record.event)),
        }
    }
}

/// The first different ones.
fn first_of<'t>(texts: impl Iterator<Item = Option<&'t str>>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for text in texts.flatten() {
        if found.len() == NAMED_MAX {
            break;
        }
        if !found.iter().any(|known| known == text) {
            found.push(text.to_owned());
        }
    }
    found
}

/// `12.0`: what people call a letter.
pub fn id_text((sequence, output): DeadLetterId) -> String {
    format!("{sequence}.{output}")
}

/// Reads what [`id_text`] wrote.
///
/// # Errors
/// [`HistoryError::InvalidQuery`] for any other text.
pub fn parse_id(text: &str) -> Result<DeadLetterId, HistoryError> {
    let parts = text.split_once('.');
    let id =
        parts.and_then(|(sequence, output)| Some((sequence.parse().ok()?, output.parse().ok()?)));
    id.ok_or_else(|| {
        HistoryError::InvalidQuery(format!("`{text}` is no id of a dead letter, such as 12.0"))
    })
}

/// The oldest `limit` letters from `from` on, of one upstream where that is named. Letters that cannot be
/// decoded are passed over; `store verify` tells about damage.
///
/// # Errors
/// When the store cannot be read.
pub fn list(
    store: &Store,
    upstream: Option<&str>,
    mut from: DeadLetterId,
    limit: usize,
) -> Result<Vec<DeadLetterView>, HistoryError> {
    let limit = limit.min(LIMIT_MAX);
    let mut found = Vec::new();
    while found.len() < limit {
        let piece = store.dead_letters(from, PIECE).map_err(failed)?;
        let Some(last) = piece.last() else { break };
        from = after(last.id);
        for stored in &piece {
            let Ok(letter) = DeadLetter::decode(&stored.bytes) else {
                continue;
            };
            if found.len() < limit && upstream.is_none_or(|wanted| wanted == letter.upstream) {
                found.push(DeadLetterView::of(stored.id, &letter));
            }
        }
    }
    Ok(found)
}

/// One letter as it is stored.
///
/// # Errors
/// [`HistoryError::NotFound`] when it is not held.
pub fn read(store: &Store, id: DeadLetterId) -> Result<DeadLetter, HistoryError> {
    let bytes = store.dead_letter(id).map_err(failed)?;
    let bytes = bytes.ok_or_else(|| absent(id))?;
    DeadLetter::decode(&bytes).map_err(|error| HistoryError::Unusable(error.to_string()))
}

/// One letter for people.
///
/// # Errors
/// As [`read`].
pub fn find(store: &Store, id: DeadLetterId) -> Result<DeadLetterView, HistoryError> {
    Ok(DeadLetterView::of(id, &read(store, id)?))
}

/// Removes a letter for good.
///
/// # Errors
/// [`HistoryError::NotFound`] when it is not held.
pub fn remove(store: &Store, id: DeadLetterId) -> Result<(), HistoryError> {
    removed(store.remove_dead_letter(id), id)
}

/// What the removal of a letter came to.
///
/// # Errors
/// As [`remove`].
pub fn removed(
    removed: Result<bool, tidegate_store::DeadLetterError>,
    id: DeadLetterId,
) -> Result<(), HistoryError> {
    match removed.map_err(failed)? {
        true => Ok(()),
        false => Err(absent(id)),
    }
}

fn absent(id: DeadLetterId) -> HistoryError {
    HistoryError::NotFound(format!("there is no dead letter {}", id_text(id)))
}

/// Why the letters cannot be read or changed.
pub fn failed(error: tidegate_store::DeadLetterError) -> HistoryError {
    HistoryError::Unusable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_anything_else_is_a_mistake() {
        assert_eq!(parse_id(&id_text((12, 3))).ok(), Some((12, 3)));
        for text in ["", "12", "12.", "12.70000", "a.b", "-1.0"] {
            assert!(parse_id(text).is_err(), "{text}");
        }
    }
}
