//! The dead letters that are held, by what they are of: a rule, an upstream, a source. Each has its bound, so that one that
//! goes wrong takes room from nobody else; beyond it the newest are dropped and accounted for, or wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_rules::event::UnixMs;
use tidegate_store::{DeadLetterError, DeadLetterId, Store};

use super::DeadLetter;

/// Letters read at once.
const PIECE: usize = 256;
/// Sources that an account names; the others are counted together.
const SOURCES_MAX: usize = 32;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Letters of each rule, upstream and source.
    pub max: u64,
    /// Their bytes.
    pub max_size_bytes: u64,
    /// What would go beyond is dropped; else it waits.
    pub drops: bool,
}

/// What became of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is durable.
    Held,
    /// It was dropped, which is to be told.
    Dropped,
}

/// A letter on its way, with what its account says if it is dropped.
pub struct Letter<'a> {
    /// Its key.
    pub id: DeadLetterId,
    /// What is kept.
    pub letter: DeadLetter,
    /// The source of its event.
    pub source: &'a str,
    /// No account is given of it: it is one itself.
    pub untold: bool,
}

/// What was dropped of one rule, upstream or source since it was last told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Letters.
    pub letters: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the first of them was dropped.
    pub first_ms: UnixMs,
    /// When the last of them was.
    pub last_ms: UnixMs,
    /// Letters by the source of their event.
    pub sources: BTreeMap<String, u64>,
    /// Letters of further sources.
    pub other_sources: u64,
}

/// What is held of one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Letters.
    pub letters: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Some were turned away since it last was below its bounds.
    pub is_full: bool,
    /// One that waits and never fits.
    pub too_large: Option<TooLarge>,
}

/// A letter that is larger than all letters may be that it counts among.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge {
    /// Its bytes.
    pub bytes: u64,
    /// Those that all may have.
    pub max_bytes: u64,
}

#[derive(Default)]
struct State {
    /// Everything in the store is counted.
    is_known: bool,
    /// The highest key there was then: only up to it one may come twice.
    known_up_to: DeadLetterId,
    held: BTreeMap<String, Held>,
    accounts: BTreeMap<String, Account>,
    /// Something is to be told: whose letters came, went, or were turned away for the first time.
    changed: Vec<String>,
}

/// The dead letters of a store. All clones are one.
#[derive(Clone)]
pub struct Letters {
    store: Store,
    bounds: Bounds,
    state: Arc<Mutex<State>>,
}

impl Letters {
    /// Counts what is there. On a full disk that may have to wait.
    pub fn new(store: Store, bounds: Bounds) -> Letters {
        let letters = Letters {
            store,
            bounds,
            state: Arc::default(),
        };
        let _ = letters.count(&mut letters.state());
        letters
    }

    /// How much is kept.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Keeps letters; gives what became of the first of them, at least of one: each of these is durable or dropped when it
    /// returns. Those behind have not been looked at and are to come again.
    ///
    /// # Errors
    /// The store's; and [`DeadLetterError::Full`] where the first of them waits, for it goes beyond a bound.
    pub fn keep(&self, letters: &[Letter<'_>]) -> Result<Vec<Kept>, DeadLetterError> {
        let mut state = self.state();
        self.count(&mut state)?;
        let mut kept = Vec::with_capacity(letters.len());
        let mut fit: Vec<(DeadLetterId, Vec<u8>)> = Vec::new();
        let mut more = BTreeMap::<String, Held>::new();
        for one in letters {
            let owner = one.letter.owner();
            let bytes = one.letter.encode();
            let size = bytes.len() as u64;
            // Written before a crash, and again now.
            let is_there = one.id <= state.known_up_to && self.store.dead_letter(one.id)?.is_some();
            let held = state.held.get(&owner).copied().unwrap_or_default();
            let coming = more.entry(owner).or_default();
            let fits = held.letters + coming.letters < self.bounds.max
                && held.bytes + coming.bytes + size <= self.bounds.max_size_bytes;
            if is_there || fits {
                coming.letters += u64::from(!is_there);
                coming.bytes += if is_there { 0 } else { size };
                fit.push((one.id, bytes));
                kept.push(Kept::Held);
            } else {
                kept.push(Kept::Dropped);
            }
        }
        let first_too_many = kept.iter().position(|kept| *kept == Kept::Dropped);
        if let (Some(at), false) = (first_too_many, self.bounds.drops) {
            if letters.len() > 1 {
                drop(state);
                // Those before it need not wait.
                return self.one_by_one(letters);
            }
            let waits = &letters[at].letter;
            state.waits(&letters[at], self.bounds.max_size_bytes);
            return Err(DeadLetterError::Full {
                disk_bytes: state.held_of(waits).bytes,
                max_bytes: self.bounds.max_size_bytes,
            });
        }
        let fit: Vec<_> = fit
            .iter()
            .map(|(id, bytes)| (*id, bytes.as_slice()))
            .collect();
        match self.store.put_dead_letters(&fit) {
            Ok(()) => {}
            Err(DeadLetterError::Full { .. }) if letters.len() > 1 => {
                drop(state);
                return self.one_by_one(letters);
            }
            Err(DeadLetterError::Full { .. }) if self.bounds.drops => {
                kept.iter_mut().for_each(|kept| *kept = Kept::Dropped);
                more.clear();
            }
            Err(error) => {
                state.not_put(letters, &error);
                return Err(error);
            }
        }
        for (owner, coming) in more {
            state.came(owner, coming);
        }
        for (one, kept) in letters.iter().zip(&kept) {
            if *kept == Kept::Dropped {
                state.turn_away(one);
            }
        }
        Ok(kept)
    }

    /// Stops before the first one that has to wait.
    fn one_by_one(&self, letters: &[Letter<'_>]) -> Result<Vec<Kept>, DeadLetterError> {
        let mut kept = Vec::with_capacity(letters.len());
        for one in letters {
            match self.keep(std::slice::from_ref(one)) {
                Ok(one) => kept.extend(one),
                Err(_) if !kept.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(kept)
    }

    /// Removes a letter; durable when it returns. `Ok(false)` if there was none.
    ///
    /// # Errors
    /// The store's.
    pub fn remove(&self, id: DeadLetterId) -> Result<bool, DeadLetterError> {
        let mut state = self.state();
        let bytes = self.store.dead_letter(id);
        let removed = self.store.remove_dead_letter(id)?;
        let bytes = bytes.ok().flatten().unwrap_or_default();
        if let (true, Ok(letter)) = (removed, DeadLetter::decode(&bytes)) {
            state.went(&letter.owner(), bytes.len() as u64, self.bounds);
        }
        Ok(removed)
    }

    /// Removes all; gives how many there were. It needs no room.
    ///
    /// # Errors
    /// The store's.
    pub fn remove_all(&self) -> Result<u64, DeadLetterError> {
        let mut state = self.state();
        let removed = self.store.remove_all_dead_letters()?;
        let owners: Vec<String> = std::mem::take(&mut state.held).into_keys().collect();
        state.changed.extend(owners);
        state.is_known = true;
        Ok(removed)
    }

    /// What is to be told of since the last call: whose letters, and what is held of them now.
    pub fn changes(&self) -> Vec<(String, Held)> {
        let mut state = self.state();
        let _ = self.count(&mut state);
        let mut owners = std::mem::take(&mut state.changed);
        owners.sort();
        owners.dedup();
        let with_held = |owner: String| {
            let held = state.held.get(&owner).copied().unwrap_or_default();
            (owner, held)
        };
        owners.into_iter().map(with_held).collect()
    }

    /// What was dropped since the last call.
    pub fn take_accounts(&self) -> BTreeMap<String, Account> {
        std::mem::take(&mut self.state().accounts)
    }

    /// It could not be told: once more with what came meanwhile.
    pub fn put_back(&self, owner: String, account: Account) {
        let mut state = self.state();
        let since = state.accounts.remove(&owner).unwrap_or_default();
        state.accounts.insert(owner, account.with(since));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads all letters once.
    fn count(&self, state: &mut State) -> Result<(), DeadLetterError> {
        if state.is_known {
            return Ok(());
        }
        let mut held = BTreeMap::<String, Held>::new();
        let (mut from, mut last) = ((0, 0), (0, 0));
        loop {
            let piece = self.store.dead_letters(from, PIECE)?;
            let Some(newest) = piece.last() else { break };
            last = newest.id;
            from = after(last);
            for stored in &piece {
                let Ok(letter) = DeadLetter::decode(&stored.bytes) else {
                    continue;
                };
                let of = held.entry(letter.owner()).or_default();
                of.letters += 1;
                of.bytes += stored.bytes.len() as u64;
            }
        }
        state.changed.extend(held.keys().cloned());
        state.held = held;
        state.known_up_to = last;
        state.is_known = true;
        Ok(())
    }
}

impl State {
    fn held_of(&self, letter: &DeadLetter) -> Held {
        self.held.get(&letter.owner()).copied().unwrap_or_default()
    }

    fn came(&mut self, owner: String, coming: Held) {
        if coming.letters == 0 {
            return;
        }
        let held = self.held.entry(owner.clone()).or_default();
        if held.letters == 0 {
            self.changed.push(owner);
        }
        held.letters += coming.letters;
        held.bytes += coming.bytes;
    }

    fn went(&mut self, owner: &str, bytes: u64, bounds: Bounds) {
        if let Some(held) = self.held.get_mut(owner) {
            held.letters = held.letters.saturating_sub(1);
            held.bytes = held.bytes.saturating_sub(bytes);
        }
        // Room that one gives back may have been what another one lacked.
        for (owner, held) in &mut self.held {
            let fits = held.letters < bounds.max && held.bytes < bounds.max_size_bytes;
            if held.letters == 0 || (held.is_full && fits) {
                (held.is_full, held.too_large) = (false, None);
                self.changed.push(owner.clone());
            }
        }
        self.held.retain(|_, held| held.letters > 0);
    }

    fn mark_full(&mut self, owner: &str) {
        let held = self.held.entry(owner.to_owned()).or_default();
        if !std::mem::replace(&mut held.is_full, true) {
            self.changed.push(owner.to_owned());
        }
    }

    /// All together have their share: the first one waits for what others hold.
    fn not_put(&mut self, letters: &[Letter<'_>], error: &DeadLetterError) {
        if let (DeadLetterError::Full { max_bytes, .. }, Some(waits)) = (error, letters.first()) {
            self.waits(waits, *max_bytes);
        }
    }

    /// One waits until it fits; all that it counts among may have so many bytes.
    fn waits(&mut self, one: &Letter<'_>, max_bytes: u64) {
        let owner = one.letter.owner();
        self.mark_full(&owner);
        let bytes = one.letter.encode().len() as u64;
        let too_large = (bytes > max_bytes).then_some(TooLarge { bytes, max_bytes });
        let held = self.held.entry(owner.clone()).or_default();
        if std::mem::replace(&mut held.too_large, too_large) != too_large {
            self.changed.push(owner);
        }
    }

    fn turn_away(&mut self, one: &Letter<'_>) {
        let owner = one.letter.owner();
        self.mark_full(&owner);
        if !one.untold {
            let account = self.accounts.entry(owner).or_default();
            account.add(one);
        }
    }
}

impl Account {
    fn add(&mut self, one: &Letter<'_>) {
        if self.letters == 0 {
            self.first_ms = one.letter.time_ms;
        }
        self.letters += 1;
        self.bytes += one.letter.record.len() as u64;
        self.last_ms = one.letter.time_ms;
        self.add_source(one.source, 1);
    }

    fn add_source(&mut self, source: &str, letters: u64) {
        if let Some(known) = self.sources.get_mut(source) {
            *known += letters;
        } else if self.sources.len() < SOURCES_MAX {
            self.sources.insert(source.to_owned(), letters);
        } else {
            self.other_sources += letters;
        }
    }

    /// This one, and behind it another.
    fn with(mut self, later: Account) -> Account {
        if later.letters > 0 {
            self.letters += later.letters;
            self.bytes += later.bytes;
            self.last_ms = later.last_ms;
            self.other_sources += later.other_sources;
            for (source, letters) in later.sources {
                self.add_source(&source, letters);
            }
        }
        self
    }
}

/// The key that follows.
pub fn after((sequence, output): DeadLetterId) -> DeadLetterId {
    match output.checked_add(1) {
        Some(output) => (sequence, output),
        None => (sequence.saturating_add(1), 0),
    }
}

#[cfg(test)]
#[path = "letters_tests.rs"]
mod tests;
