//! Who is let in: users with hashed passwords, client certificates, or everybody on loopback.

use tokio::sync::watch;

use super::codec::packet::ConnectPacket;
use super::codec::reason;
use super::disconnect::Disconnect;
use crate::config::User;
use crate::source::credentials::Credentials;
use crate::source::listener::access::TopicAccess;
use crate::source::listener::logins::Logins;

/// Decides who is let in.
pub(super) struct Authenticator {
    anonymous: bool,
    credentials: watch::Receiver<Credentials>,
}

impl Authenticator {
    /// Of a listener that lets in everybody where it has no users, if `anonymous`.
    pub(super) fn new(anonymous: bool, credentials: watch::Receiver<Credentials>) -> Authenticator {
        Authenticator {
            anonymous,
            credentials,
        }
    }

    /// The user a client connects as, and what it may do.
    pub(super) async fn authenticate(
        &self,
        connect: &ConnectPacket,
        client: &str,
        certificate_name: Option<&str>,
    ) -> Result<(String, TopicAccess), Disconnect> {
        let logins = self.credentials.borrow().logins.clone();
        let Some(logins) = logins.filter(|logins| !logins.is_empty()) else {
            let name = certificate_name.unwrap_or_default().to_owned();
            return match self.anonymous {
                true => Ok((name, TopicAccess::anonymous())),
                false => Err(Disconnect::new(
                    reason::NOT_AUTHORIZED,
                    "anonymous clients are not let in",
                )),
            };
        };
        // A certificate that names no user is no login: then the password decides.
        let user = match certificate_name.and_then(|name| logins.user(name)) {
            Some(user) => user,
            None => by_password(&logins, connect).await?,
        };
        let access = TopicAccess::of(user, client)
            .map_err(|why| Disconnect::new(reason::NOT_AUTHORIZED, why).of_user(&user.name))?;
        Ok((user.name.clone(), access))
    }

    /// The user that a client names, if it is one of the configuration.
    pub(super) fn known_user(
        &self,
        connect: &ConnectPacket,
        certificate_name: Option<&str>,
    ) -> Option<String> {
        let logins = self.credentials.borrow().logins.clone()?;
        let given = connect.user.as_ref().map(|user| user.as_str());
        let names = certificate_name.into_iter().chain(given);
        let mut users = names.filter_map(|name| logins.user(name));
        users.next().map(|user| user.name.clone())
    }
}

async fn by_password<'l>(
    logins: &'l Logins,
    connect: &ConnectPacket,
) -> Result<&'l User, Disconnect> {
    let name = connect.user.as_ref().map(|user| user.as_str());
    let Some(name) = name else {
        return Err(bad_login("no user name and password were given"));
    };
    let given = connect.password.as_deref();
    let user = match given {
        Some(given) => logins.check(name, given).await,
        None => None,
    };
    user.ok_or_else(|| bad_login(&logins.objection(name, given)))
}

fn bad_login(why: &str) -> Disconnect {
    Disconnect::new(reason::BAD_LOGIN, why)
}
