//! The local control API: what the gateway shows and does for `tidegate` on the same machine,
//! and for whoever scrapes metrics.
//!
//! One set of answers, reached two ways. The unix socket `<data_dir>/tidegate.sock` (mode 0600, or 0660 for the group
//! that `[gateway] group` names) serves everything to the gateway's own user and to root, and to that group what changes
//! nothing. `[api] listen` serves only what changes nothing and tells no payload:
//! `/metrics`, `/healthz`, `/readyz` and `/status`. HTTP/1.1 and JSON on both. They answer as soon as the store's lock is
//! held: until the store is open, they say how far that is.

mod blocking;
mod context;
mod dead_letters;
mod event_store;
mod events;
mod health;
pub mod history;
mod reload;
mod request;
mod response;
mod route;
mod server;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use crate::config::value::address::cannot_listen;
use crate::config::{Api, SOCKET};
pub use context::{ApiContext, Named};
pub use request::reload::{ReloadReport, ReloadRequest};
use server::allowed_hosts::AllowedHosts;
pub use server::answers::Answers;
pub(crate) use server::socket::is_no_space;
use server::socket::{SOCKET_PATH_BYTES_MAX, SocketFile};

/// How often the API's address is tried where another program has it.
const API_AGAIN: Duration = Duration::from_secs(2);

/// Why the API could not be opened.
#[derive(Debug)]
pub enum ControlError {
    /// The socket's path does not fit into an address.
    PathTooLong(PathBuf),
    /// The socket or address is taken or not allowed.
    Bind {
        /// Which.
        at: String,
        /// What the system said.
        error: std::io::Error,
    },
}

impl std::fmt::Display for ControlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ControlError::PathTooLong(path) => write!(
                f,
                "the path of the control socket is longer than {SOCKET_PATH_BYTES_MAX} bytes: {}; choose a shorter data_dir",
                path.display()
            ),
            ControlError::Bind { at, error } => {
                write!(
                    f,
                    "cannot listen on {at}: {error}; is something else there?"
                )
            }
        }
    }
}

impl std::error::Error for ControlError {}

/// Why no control socket can be made in `data_dir`, and what to do.
pub fn socket_objection(data_dir: &Path) -> Option<(String, String)> {
    let fresh = fresh_socket(&data_dir.join(SOCKET));
    (fresh.as_os_str().len() > SOCKET_PATH_BYTES_MAX).then(|| {
        let why = ControlError::PathTooLong(fresh);
        (
            why.to_string(),
            "a path of a unix socket is no longer".to_owned(),
        )
    })
}

/// Why nobody can look as a member of `group`: this machine has none of this name.
pub(crate) fn group_objection(group: &str) -> Option<String> {
    server::socket::number_of(group).err()
}

/// Under which name a socket is made before it is moved to its place.
pub(crate) fn fresh_socket(path: &Path) -> PathBuf {
    path.with_extension("sock.new")
}

/// The unix socket and the TCP listener, bound and not yet served.
pub struct Control {
    /// `None` while the disk has no room for it.
    socket: Option<UnixListener>,
    file: SocketFile,
    /// `None` without an API, and while another program has its address.
    api: Option<TcpListener>,
    api_wanted: Option<SocketAddr>,
    hosts: AllowedHosts,
    answers: Answers,
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file.path);
    }
}

impl Control {
    /// Opens the socket in `data_dir`, for the members of `group` too, and the address of `[api]`.
    ///
    /// The caller must hold the lock of the store in `data_dir`: a socket that is left there
    /// belongs to a process that is gone, and is replaced. On a full disk it may come later.
    ///
    /// # Errors
    /// [`ControlError`] with the place and what to do.
    pub async fn bind(
        data_dir: &Path,
        group: Option<&str>,
        api: &Api,
        answers: impl Into<Answers>,
    ) -> Result<Control, ControlError> {
        let answers = answers.into();
        let observe = answers.observe();
        let file = SocketFile::new(data_dir.join(SOCKET), group, observe);
        let socket = match file.bind(observe) {
            Ok(socket) => Some(socket),
            Err(ControlError::Bind { at, error }) if is_no_space(&error) => {
                tracing::warn!(
                    "no room for the control socket {at}: {error}; it is made once there is"
                );
                None
            }
            Err(other) => return Err(other),
        };
        let bound = match api.listen {
            None => None,
            Some(address) => TcpListener::bind(address).await.ok(),
        };
        Ok(Control {
            socket,
            file,
            api: bound,
            api_wanted: api.listen,
            hosts: AllowedHosts::new(&api.hosts),
            answers,
        })
    }

    /// Where the API listens, for configurations that ask for any free port.
    pub fn api_address(&self) -> Option<std::net::SocketAddr> {
        self.api.as_ref()?.local_addr().ok()
    }

    /// Serves both until `shutdown`; the socket is removed when this is dropped.
    ///
    /// # Errors
    /// None: both are served until `shutdown`.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) -> Result<(), ControlError> {
        let made = self.socket.take();
        let over_socket = async {
            let mut made = made;
            loop {
                let socket = match made.take() {
                    Some(socket) => socket,
                    None => self.file.once_there_is_room(self.answers.observe()).await,
                };
                tokio::select! {
                    () = server::serve_socket(&socket, &self.answers) => return,
                    () = self.file.removed() => {}
                }
            }
        };
        let bound = self.api.take();
        let over_tcp = async {
            let api = match (bound, self.api_wanted) {
                (Some(api), _) => Some(api),
                (None, None) => None,
                (None, Some(address)) => Some(api_once_it_can(address, &self.answers).await),
            };
            server::serve_api(api.as_ref(), &self.hosts, &self.answers).await;
        };
        tokio::select! {
            () = over_socket => {}
            () = over_tcp => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
        Ok(())
    }
}

/// The API's listener, tried until its address is free.
async fn api_once_it_can(address: SocketAddr, answers: &Answers) -> TcpListener {
    const SUBJECT: &str = "api";
    const KIND: &str = "listen";
    let observe = answers.observe();
    loop {
        match TcpListener::bind(address).await {
            Ok(api) => {
                observe.clear(SUBJECT, KIND);
                return api;
            }
            Err(error) => observe.raise(SUBJECT, KIND, &cannot_listen(address, &error)),
        }
        tokio::time::sleep(API_AGAIN).await;
    }
}
