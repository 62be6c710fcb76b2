//! Who is let in: users with hashed passwords, client certificates, or everybody on loopback.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use super::access::Access;
use super::packet::Connect;
use super::reply::reason;
use super::session::Close;
use crate::config::{MqttListener, User};
use crate::password;

/// Passwords verified at once: the hash is slow on purpose.
const VERIFICATIONS_MAX: usize = 2;

/// Lets clients in.
pub(super) struct Doorman {
    limits: Arc<MqttListener>,
    slots: Semaphore,
    /// Fingerprints of passwords that were right, so that a reconnect storm costs nothing.
    known: Mutex<HashMap<String, u64>>,
    key: RandomState,
}

impl Doorman {
    pub(super) fn new(limits: Arc<MqttListener>) -> Doorman {
        Doorman {
            limits,
            slots: Semaphore::new(VERIFICATIONS_MAX),
            known: Mutex::new(HashMap::new()),
            key: RandomState::new(),
        }
    }

    /// The user a client connects as, and what it may do.
    pub(super) async fn admit(
        &self,
        connect: &Connect,
        client: &str,
        certified: Option<&str>,
    ) -> Result<(String, Access), Close> {
        if self.limits.users.is_empty() && certified.is_none() {
            return match self.limits.anonymous {
                true => Ok((String::new(), Access::anonymous())),
                false => Err(Close::new(
                    reason::NOT_AUTHORIZED,
                    "anonymous clients are not let in",
                )),
            };
        }
        let user = match certified {
            Some(name) => self
                .user(name)
                .ok_or_else(|| refuse("the certificate names no user"))?,
            None => self.with_password(connect).await?,
        };
        let access =
            Access::of(user, client).map_err(|why| Close::new(reason::NOT_AUTHORIZED, why))?;
        Ok((user.name.clone(), access))
    }

    fn user(&self, name: &str) -> Option<&User> {
        self.limits.users.iter().find(|user| user.name == name)
    }

    async fn with_password(&self, connect: &Connect) -> Result<&User, Close> {
        let name = connect.user.as_ref().map(|user| user.as_str().to_owned());
        let (Some(name), Some(given)) = (name, connect.password.as_deref()) else {
            return match self.limits.anonymous {
                true => Err(refuse("a listener with users takes no anonymous clients")),
                false => Err(refuse("no user name and password")),
            };
        };
        let user = self.user(&name);
        let print = self.key.hash_one((&name, given));
        if let Some(user) = user
            && self
                .known
                .lock()
                .unwrap_or_else(|e| e.into_inner())
                .get(&name)
                == Some(&print)
        {
            return Ok(user);
        }
        // An unknown user costs the same time as a wrong password.
        let hash = user.map_or_else(password::decoy, |user| {
            user.password_hash.reveal().to_owned()
        });
        let given = given.to_vec();
        let _slot = self.slots.acquire().await;
        let right = tokio::task::spawn_blocking(move || password::verify(&hash, &given)).await;
        match (user, right) {
            (Some(user), Ok(true)) => {
                self.known
                    .lock()
                    .unwrap_or_else(|e| e.into_inner())
                    .insert(name, print);
                Ok(user)
            }
            _ => Err(refuse("wrong user name or password")),
        }
    }
}

fn refuse(why: &str) -> Close {
    Close::new(reason::BAD_LOGIN, why)
}
