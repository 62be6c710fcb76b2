//! The running gateway, asked over its control socket.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use super::permission;
use crate::cli::Failure;
use crate::config::SOCKET;

/// Bytes of a response that is read as a whole.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A gateway that answers.
pub(in crate::cli) struct ControlClient {
    runtime: Runtime,
    socket: PathBuf,
}

impl ControlClient {
    /// The gateway that runs on `data_dir`, if one does.
    ///
    /// # Errors
    /// A gateway runs there, and this user may not ask it.
    pub(in crate::cli) fn connect(data_dir: &Path) -> Result<Option<ControlClient>, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let socket = data_dir.join(SOCKET);
        match runtime.block_on(UnixStream::connect(&socket)) {
            Ok(_) => Ok(Some(ControlClient { runtime, socket })),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                Err(Failure::new(permission::not_to_look(&socket)))
            }
            Err(_) => Ok(None),
        }
    }

    /// Where it was found.
    pub(in crate::cli) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks for a JSON document.
    ///
    /// # Errors
    /// What the gateway says, or that it went away.
    pub(in crate::cli) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.send(Method::GET, path)
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// As [`ControlClient::get`].
    pub(in crate::cli) fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<T, Failure> {
        let bytes = self.runtime.block_on(async {
            let response = self.request(method, path).await?;
            let failed = !response.status().is_success();
            let body = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX);
            let bytes = body
                .collect()
                .await
                .map_err(|error| went_away(&*error))?
                .to_bytes();
            match failed {
                true => Err(Failure::new(error_of(&bytes))),
                false => Ok(bytes),
            }
        })?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::new(format!(
                "the gateway's answer cannot be read ({error}); is it another version?"
            ))
        })
    }

    /// Reads an endless response line by line, until it ends or `each` fails.
    ///
    /// # Errors
    /// What the gateway or `each` says.
    pub(in crate::cli) fn follow(
        &self,
        path: &str,
        each: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.follow_request(Method::GET, path, each)
    }

    /// [`ControlClient::follow`] for something that is to be done.
    ///
    /// # Errors
    /// As [`ControlClient::follow`].
    pub(in crate::cli) fn follow_request(
        &self,
        method: Method,
        path: &str,
        mut each: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.runtime.block_on(async {
            let mut response = self.request(method, path).await?;
            if !response.status().is_success() {
                let bytes = response
                    .into_body()
                    .collect()
                    .await
                    .map_err(|error| went_away(&error))?;
                return Err(Failure::new(error_of(&bytes.to_bytes())));
            }
            let mut pending: Vec<u8> = Vec::new();
            while let Some(frame) = response.frame().await {
                let frame = frame.map_err(|error| went_away(&error))?;
                pending.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                while let Some(end) = memchr::memchr(b'\n', &pending) {
                    each(&pending[..end])?;
                    pending.drain(..=end);
                }
            }
            Ok(())
        })
    }

    async fn request(&self, method: Method, path: &str) -> Result<Response<Incoming>, Failure> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| went_away(&error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| went_away(&error))?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .body(Empty::<Bytes>::new())
            .map_err(|error| Failure::new(format!("cannot ask for {path}: {error}")))?;
        sender
            .send_request(request)
            .await
            .map_err(|error| went_away(&error))
    }
}

fn went_away(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(format!("the gateway went away while it was asked: {error}"))
}

/// What the gateway says is wrong: the `error` of its JSON document.
fn error_of(bytes: &[u8]) -> String {
    let document: Option<serde_json::Value> = serde_json::from_slice(bytes).ok();
    let message = document
        .as_ref()
        .and_then(|document| document.get("error")?.as_str());
    message.unwrap_or("the gateway gave no reason").to_owned()
}

/// `text` as part of a path or query.
pub(in crate::cli) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte as char);
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
