//! Who is let in: users with hashed passwords, client certificates, or everybody on loopback.

use std::sync::Arc;

use super::packet::Connect;
use super::reply::reason;
use super::session::Close;
use crate::config::{MqttListener, User};
use crate::source::listener::access::Access;
use crate::source::listener::logins::Logins;

/// Lets clients in.
pub(super) struct Doorman {
    limits: Arc<MqttListener>,
    logins: Logins,
}

impl Doorman {
    pub(super) fn new(limits: Arc<MqttListener>) -> Doorman {
        Doorman {
            logins: Logins::new(limits.users.clone()),
            limits,
        }
    }

    /// The user a client connects as, and what it may do.
    pub(super) async fn admit(
        &self,
        connect: &Connect,
        client: &str,
        certified: Option<&str>,
    ) -> Result<(String, Access), Close> {
        if self.logins.is_empty() {
            let name = certified.unwrap_or_default().to_owned();
            return match self.limits.anonymous {
                true => Ok((name, Access::anonymous())),
                false => Err(Close::new(
                    reason::NOT_AUTHORIZED,
                    "anonymous clients are not let in",
                )),
            };
        }
        // A certificate that names no user is no login: then the password decides.
        let user = match certified.and_then(|name| self.logins.user(name)) {
            Some(user) => user,
            None => self.with_password(connect).await?,
        };
        let access =
            Access::of(user, client).map_err(|why| Close::new(reason::NOT_AUTHORIZED, why))?;
        Ok((user.name.clone(), access))
    }

    async fn with_password(&self, connect: &Connect) -> Result<&User, Close> {
        let name = connect.user.as_ref().map(|user| user.as_str());
        let (Some(name), Some(given)) = (name, connect.password.as_deref()) else {
            return Err(refuse("no user name and password"));
        };
        let user = self.logins.check(name, given).await;
        user.ok_or_else(|| refuse("wrong user name or password"))
    }
}

fn refuse(why: &str) -> Close {
    Close::new(reason::BAD_LOGIN, why)
}
