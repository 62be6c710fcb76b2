//! What followers must know of single records and the log does not say, two bits each.

use std::collections::VecDeque;

use tidegate_store::Sequence;

/// Records that one word is about.
const PER_WORD: u64 = 32;
/// Words kept: 1 MiB, about four million records. Of older ones nothing is known.
const WORDS_MAX: usize = 128 << 10;

/// What a follower must know of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// Its sender asked for no acknowledgement: QoS 0.
    AtMostOnce,
    /// No news: an event that was committed before, such as a dead letter sent again, or one that was set aside.
    Hidden,
}

/// Notes on the newest records, while somebody follows.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The word that `words` begins with.
    first: u64,
    words: VecDeque<u64>,
}

impl Notes {
    /// Notes about records below the newest ones kept are left out.
    pub(super) fn set(&mut self, sequence: Sequence, note: Note) {
        let word = sequence / PER_WORD;
        let far = word.saturating_sub(self.first) >= (self.words.len() + WORDS_MAX) as u64;
        if self.words.is_empty() || far {
            self.words.clear();
            self.first = word;
        }
        let Some(at) = word.checked_sub(self.first) else {
            return;
        };
        while self.words.len() as u64 <= at {
            self.words.push_back(0);
        }
        let bits: u64 = match note {
            Note::AtMostOnce => 1,
            Note::Hidden => 2,
        };
        if let Some(kept) = self.words.get_mut(at as usize) {
            *kept |= bits << shift(sequence);
        }
        while self.words.len() > WORDS_MAX {
            self.words.pop_front();
            self.first += 1;
        }
    }

    /// The note on a record.
    pub(super) fn get(&self, sequence: Sequence) -> Option<Note> {
        let at = (sequence / PER_WORD).checked_sub(self.first)?;
        let word = self.words.get(usize::try_from(at).ok()?)?;
        match word >> shift(sequence) & 3 {
            0 => None,
            1 => Some(Note::AtMostOnce),
            _ => Some(Note::Hidden),
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Notes::default();
    }
}

fn shift(sequence: Sequence) -> u64 {
    sequence % PER_WORD * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_kept_of_the_newest_records_in_bounded_memory() {
        let mut notes = Notes::default();
        let records = (WORDS_MAX as u64 + 1000) * PER_WORD;
        let start = 77;
        for sequence in start..start + records {
            match sequence % 3 {
                0 => notes.set(sequence, Note::AtMostOnce),
                1 => notes.set(sequence, Note::Hidden),
                _ => {}
            }
        }
        assert!(notes.words.len() <= WORDS_MAX);
        assert_eq!(notes.get(start + 1), None, "too old");
        for sequence in (start + records - 1000)..(start + records) {
            let expected = [Some(Note::AtMostOnce), Some(Note::Hidden), None];
            assert_eq!(notes.get(sequence), expected[(sequence % 3) as usize]);
        }
        assert_eq!(notes.get(start + records + 100), None);
        notes.set(Sequence::MAX, Note::Hidden);
        assert_eq!(notes.get(Sequence::MAX), Some(Note::Hidden));
        assert!(notes.words.len() <= WORDS_MAX);
    }
}
