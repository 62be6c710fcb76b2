//! The body of a request: read as long as it is within its limit, in time, and there is memory for
//! it, and decoded under the same limit.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::encoding::{self, Coding};
use super::rejection::Rejection;
use crate::time::task;

/// How long a body may take.
const BODY_MAX: Duration = Duration::from_secs(30);
/// Bytes of bodies being read at once, over all connections.
const BODIES_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The memory that bodies under way share. What has only been announced takes none of it.
pub(super) struct Bodies {
    memory: Semaphore,
}

impl Bodies {
    pub(super) fn new() -> Bodies {
        Bodies {
            memory: Semaphore::new(BODIES_BYTES_MAX),
        }
    }

    /// The body as its sender had it before it was encoded; at most `bytes_max` of it.
    pub(super) async fn read(
        &self,
        headers: &HeaderMap,
        body: Incoming,
        bytes_max: usize,
    ) -> Result<Bytes, Rejection> {
        let codings = encoding::of_headers(headers)?;
        let arriving_max = match codings.is_empty() {
            true => bytes_max,
            false => encoding::encoded_bytes_max(bytes_max),
        };
        if body.size_hint().lower() > arriving_max as u64 {
            return Err(too_large(bytes_max));
        }
        let mut share = self.share(0)?;
        let whole = self.collect(body, arriving_max, bytes_max, &mut share);
        let Ok(whole) = tokio::time::timeout(BODY_MAX, whole).await else {
            let what = format!("the body took over {} s", BODY_MAX.as_secs());
            return Err(Rejection::new(StatusCode::REQUEST_TIMEOUT, what));
        };
        let mut whole = whole?;
        for coding in codings {
            share.merge(self.share(bytes_max)?);
            whole = decoded(coding, whole, bytes_max).await?;
        }
        Ok(whole)
    }

    async fn collect<'a>(
        &'a self,
        mut body: Incoming,
        arriving_max: usize,
        bytes_max: usize,
        share: &mut SemaphorePermit<'a>,
    ) -> Result<Bytes, Rejection> {
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                let what = format!("the body broke off: {error}");
                Rejection::new(StatusCode::BAD_REQUEST, what)
            })?;
            // Trailers say nothing that an event keeps.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if whole.len() + data.len() > arriving_max {
                return Err(too_large(bytes_max));
            }
            share.merge(self.share(data.len())?);
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    }

    /// A part of the memory, at most all of it.
    fn share(&self, bytes: usize) -> Result<SemaphorePermit<'_>, Rejection> {
        let bytes = u32::try_from(bytes.min(BODIES_BYTES_MAX / 2)).unwrap_or(u32::MAX);
        self.memory.try_acquire_many(bytes).map_err(|_| {
            let what = "too many requests are being read; try again";
            Rejection::new(StatusCode::SERVICE_UNAVAILABLE, what).with(header::RETRY_AFTER, "1")
        })
    }
}

/// Away from the threads that serve connections: it computes for as long as the body is large.
async fn decoded(coding: Coding, body: Bytes, bytes_max: usize) -> Result<Bytes, Rejection> {
    let task = task::blocking("the decoding of a body", move || {
        coding.undo(&body, bytes_max)
    });
    match task.await {
        Ok(Ok(Some(bytes))) => Ok(bytes.into()),
        Ok(Ok(None)) => Err(too_large(bytes_max)),
        Ok(Err(what)) => Err(Rejection::new(StatusCode::BAD_REQUEST, what)),
        Err(_) => {
            let what = "the body was not decoded; try again";
            Err(Rejection::new(StatusCode::SERVICE_UNAVAILABLE, what)
                .with(header::RETRY_AFTER, "1"))
        }
    }
}

fn too_large(bytes_max: usize) -> Rejection {
    let what = format!("the body is over {bytes_max} bytes, see max_payload");
    Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, what)
}
