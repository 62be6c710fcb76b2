//! Bearer tokens of the users of an HTTP source: the hash of one, or a file that holds it.

use std::path::PathBuf;

use crate::config::key::{AnyKey, Text, keys, path, text};
use crate::config::kinds::KeyGroup;
use crate::config::section::Section;
use crate::config::value::secret::Secret;
use crate::config::value::{files, token};

keys! {
    /// Keys of `users.NAME` of an HTTP source, beside those of any listener.
    pub(super) KEYS: BearerKeys {
        bearer_hash: Option<Text> = text().optional("`bearer_file` is read", "SHA-256 of a bearer token, as `sha256sum` prints it"),
        bearer_file: Option<PathBuf> = path().optional("no token", "file with the token; must not be readable by everyone"),
    }
}

pub(super) const GROUP: KeyGroup = KeyGroup {
    heading: "users.NAME of an HTTP source",
    keys: BearerKeys::ROWS,
};

/// Whether the user has a token, right or wrong.
pub(super) fn is_given(section: &Section<'_>) -> bool {
    section.has(&KEYS.bearer_hash) || section.has(&KEYS.bearer_file)
}

/// The hash of the user's token.
pub(super) fn hash(section: &Section<'_>) -> Option<Secret> {
    match (
        section.has(&KEYS.bearer_hash),
        section.has(&KEYS.bearer_file),
    ) {
        (false, false) => None,
        (true, true) => {
            let message = "`bearer_hash` and `bearer_file` say the same thing twice";
            section.report(&KEYS.bearer_file, message);
            None
        }
        (true, false) => {
            let hash = section.read(&KEYS.bearer_hash)?.value.to_ascii_lowercase();
            if hash.len() == token::HASH_DIGITS && hash.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Some(Secret::new(hash));
            }
            let message = "`bearer_hash` is no SHA-256 in 64 hexadecimal digits";
            let error = section.error(&KEYS.bearer_hash, message);
            let note = "run `printf %s TOKEN | sha256sum` and write down the digits that it prints";
            section.context.report(error.with_note(note));
            None
        }
        (false, true) => {
            let secret = files::secret(section, &KEYS.bearer_file)?;
            match token::objection(secret.reveal()) {
                None => Some(Secret::new(token::hash(secret.reveal()))),
                Some(why) => {
                    let message = format!("`bearer_file` holds no bearer token: {why}");
                    let error = section.error(&KEYS.bearer_file, message);
                    let note = "one that nobody guesses: `head -c 32 /dev/urandom | base64`";
                    section.context.report_outside(error.with_note(note));
                    None
                }
            }
        }
    }
}

/// A token names its user: two cannot have the same. `tokens` are names of users, each with the hash of its own.
pub(super) fn report_shared(section: &Section<'_>, key: &AnyKey, tokens: &[(&str, &Secret)]) {
    for (place, (name, hash)) in tokens.iter().enumerate() {
        let earlier = tokens.iter().take(place).find(|(_, other)| other == hash);
        if let Some((other, _)) = earlier {
            let message = format!(
                "the users `{other}` and `{name}` have the same bearer token; give each one its own"
            );
            section.report(key, message);
        }
    }
}
