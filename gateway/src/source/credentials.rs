//! What a source shows to others and knows them by: certificates, passwords, tokens. They are looked at
//! for each new connection, so that changed ones are taken while old connections stay.

use std::sync::Arc;

use rustls::ClientConfig;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::listener::logins::Logins;
use crate::config::connection::tls::{client, server};
use crate::config::secret::Secret;
use crate::config::{Broker, ServerTls, User};

/// The certificates and secrets of one source; it has those of a listener or of a client.
#[derive(Clone, Default)]
pub struct Credentials {
    /// A listener's certificate, and those it asks for.
    pub acceptor: Option<TlsAcceptor>,
    /// Who may log in at a listener.
    pub logins: Option<Arc<Logins>>,
    /// A client's certificates.
    pub connector: Option<Arc<ClientConfig>>,
    /// As whom a client logs in.
    pub login: Option<(String, Secret)>,
}

impl Credentials {
    /// Those of a listener.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub fn of_listener(tls: Option<&ServerTls>, users: &[User]) -> Result<Credentials, String> {
        Ok(Credentials {
            acceptor: tls.map(server::acceptor).transpose()?,
            logins: Some(Arc::new(Logins::new(users.to_vec()))),
            ..Credentials::default()
        })
    }

    /// Those of a client of a broker.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub fn of_client(broker: &Broker) -> Result<Credentials, String> {
        let connector = broker.tls.as_ref().map(client::config).transpose()?;
        Ok(Credentials {
            connector: connector.map(Arc::new),
            login: broker.login.clone(),
            ..Credentials::default()
        })
    }

    /// For who never sees others: the end that stays as it is.
    pub fn unchanging(self) -> watch::Receiver<Credentials> {
        watch::channel(self).1
    }
}
