//! Users with hashed passwords, checked slowly once and quickly after that.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;

use tokio::sync::Semaphore;

use crate::config::User;
use crate::config::secret::Secret;
use crate::config::token;
use crate::source::listener::password;
use crate::time::task;

/// Passwords verified at once: the hash is slow on purpose.
const VERIFICATIONS_MAX: usize = 2;

/// Characters of a user name that a log line holds.
const TOLD_CHARS_MAX: usize = 64;

/// The users of one source.
pub struct Logins {
    users: Vec<User>,
    slots: Semaphore,
    /// Fingerprints of passwords that were right, so that a reconnect storm costs nothing.
    known: Mutex<HashMap<String, u64>>,
    key: RandomState,
}

impl Logins {
    /// For these users.
    pub fn new(users: Vec<User>) -> Logins {
        Logins {
            users,
            slots: Semaphore::new(VERIFICATIONS_MAX),
            known: Mutex::new(HashMap::new()),
            key: RandomState::new(),
        }
    }

    /// Whether there is nobody who could log in.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The user of this name.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    /// Whether some user has a bearer token.
    pub fn take_tokens(&self) -> bool {
        self.users.iter().any(|user| user.bearer_hash.is_some())
    }

    /// The user whose bearer token this is.
    pub fn of_token(&self, token: &str) -> Option<&User> {
        let hash = Secret::new(token::hash(token));
        let is_its = |user: &&User| user.bearer_hash.as_ref() == Some(&hash);
        self.users.iter().find(is_its)
    }

    /// Why `name` was not let in with this password, for the log. A name that nobody has is told too, so that its sender
    /// is found; but not one that may be a secret in the wrong place: a token without a password, the password
    /// itself, or a password where the user's name stands in its place.
    pub fn objection(&self, name: &str, given: Option<&[u8]>) -> String {
        if let Some(user) = self.user(name) {
            return match given {
                Some(_) => format!("the password of the user {} is wrong", user.name),
                None => format!("the user {} gave no password", user.name),
            };
        }
        // Who logs in with a token alone may give an empty password beside it.
        let Some(given) = given.filter(|given| !given.is_empty()) else {
            return "a user name that is none of `users`, and no password".to_owned();
        };
        let swapped = std::str::from_utf8(given).ok().and_then(|it| self.user(it));
        if let Some(user) = swapped {
            return format!(
                "its password is the name of the user {}: user name and password are swapped",
                user.name
            );
        }
        if given == name.as_bytes() {
            return "a user name that is none of `users`, and the same as its password".to_owned();
        }
        let told: String = name.chars().take(TOLD_CHARS_MAX).collect();
        format!("the user name {told:?} is none of `users`")
    }

    /// The user whose name and password these are. An unknown user costs the same time as a
    /// wrong password.
    pub async fn check(&self, name: &str, given: &[u8]) -> Option<&User> {
        let user = self.user(name);
        let print = self.key.hash_one((name, given));
        let lock = || self.known.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(user) = user
            && lock().get(name) == Some(&print)
        {
            return Some(user);
        }
        let hash = match user.map(|user| user.password_hash.reveal()) {
            None | Some("") => password::decoy(),
            Some(hash) => hash.to_owned(),
        };
        let given = given.to_vec();
        let _slot = self.slots.acquire().await;
        let right = task::blocking("the check of a password", move || {
            password::verify(&hash, &given)
        })
        .await;
        let user = user.filter(|_| right.unwrap_or(false))?;
        lock().insert(name.to_owned(), print);
        Some(user)
    }
}
