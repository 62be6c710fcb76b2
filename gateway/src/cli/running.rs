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

use super::Failure;
use crate::control::SOCKET;

/// Bytes of an answer that is read as a whole.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A gateway that answers.
pub(super) struct Running {
    runtime: Runtime,
    socket: PathBuf,
}

impl Running {
    /// The gateway that runs on `data_dir`, if one does.
    ///
    /// # Errors
    /// A gateway runs there, and this user may not ask it.
    pub(super) fn find(data_dir: &Path) -> Result<Option<Running>, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let socket = data_dir.join(SOCKET);
        match runtime.block_on(UnixStream::connect(&socket)) {
            Ok(_) => Ok(Some(Running { runtime, socket })),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                Err(Failure::new(format!(
                    "{} belongs to another user; run this as the gateway's user or as root",
                    socket.display()
                )))
            }
            Err(_) => Ok(None),
        }
    }

    /// Where it was found.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks for a JSON document.
    ///
    /// # Errors
    /// What the gateway says, or that it went away.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.send(Method::GET, path)
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// As [`Running::get`].
    pub(super) fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<T, Failure> {
        let bytes = self.runtime.block_on(async {
            let answer = self.request(method, path).await?;
            let failed = !answer.status().is_success();
            let body = http_body_util::Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
            let bytes = body
                .collect()
                .await
                .map_err(|error| went_away(&*error))?
                .to_bytes();
            match failed {
                true => Err(Failure::new(mistake(&bytes))),
                false => Ok(bytes),
            }
        })?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::new(format!(
                "the gateway's answer cannot be read ({error}); is it another version?"
            ))
        })
    }

    /// Reads an endless answer line by line, until it ends or `each` fails.
    ///
    /// # Errors
    /// What the gateway or `each` says.
    pub(super) fn follow(
        &self,
        path: &str,
        each: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.follow_sent(Method::GET, path, each)
    }

    /// [`Running::follow`] for an answer to something that is to be done.
    ///
    /// # Errors
    /// As [`Running::follow`].
    pub(super) fn follow_sent(
        &self,
        method: Method,
        path: &str,
        mut each: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.runtime.block_on(async {
            let mut answer = self.request(method, path).await?;
            if !answer.status().is_success() {
                let bytes = answer
                    .into_body()
                    .collect()
                    .await
                    .map_err(|error| went_away(&error))?;
                return Err(Failure::new(mistake(&bytes.to_bytes())));
            }
            let mut pending: Vec<u8> = Vec::new();
            while let Some(frame) = answer.frame().await {
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
        let stream = UnixStream::connect(&self.socket).await?;
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

/// The `error` of a mistake's JSON document.
fn mistake(bytes: &[u8]) -> String {
    let document: Option<serde_json::Value> = serde_json::from_slice(bytes).ok();
    let message = document
        .as_ref()
        .and_then(|document| document.get("error")?.as_str());
    message.unwrap_or("the gateway gave no reason").to_owned()
}

/// `text` as part of a path or query.
pub(super) fn encoded(text: &str) -> String {
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
