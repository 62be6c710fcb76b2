//! How long the head of a request may take. A connection may idle, but a head that has begun must be
//! whole soon.
//!
//! hyper has one time for both: it arms a timer when it begins to wait for a head, and drops it when
//! the head is whole. This clock is that timer, and the first byte that is read meanwhile cuts it
//! short. What came of a next head together with the body before it is no such byte: then the head
//! has as long as an idle connection.

use std::future::Future;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::time::clock;

/// The time that one connection has for its heads.
#[derive(Clone)]
pub(super) struct HeadClock {
    head_max: Duration,
    seen: Arc<Mutex<Seen>>,
}

/// What was seen of the connection since it waits for a head.
#[derive(Default)]
struct Seen {
    /// When the first byte of the head came.
    begun: Option<Instant>,
    /// Whether an answer waits for the client to read.
    is_write_blocked: bool,
}

impl HeadClock {
    pub(super) fn new(head_max: Duration) -> HeadClock {
        HeadClock {
            head_max,
            seen: Arc::default(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a head may take.
    pub(super) fn head_max(&self) -> Duration {
        self.head_max
    }

    /// Whether a head is under way; none is on a connection that idles.
    pub(super) fn has_begun(&self) -> bool {
        self.seen().begun.is_some()
    }

    /// Whether nothing of an answer is under way, so that another one may be written.
    pub(super) fn may_answer(&self) -> bool {
        !self.seen().is_write_blocked
    }
}

impl hyper::rt::Timer for HeadClock {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep_until(clock::monotonic() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.seen().begun = None;
        Box::pin(HeadSleep {
            clock: self.clone(),
            until: Box::pin(tokio::time::sleep_until(deadline.into())),
            is_cut: false,
        })
    }

    fn now(&self) -> Instant {
        clock::monotonic()
    }
}

/// The wait for a head.
struct HeadSleep {
    clock: HeadClock,
    until: Pin<Box<tokio::time::Sleep>>,
    is_cut: bool,
}

impl hyper::rt::Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let begun = self.clock.seen().begun;
        if let Some(begun) = begun
            && !self.is_cut
        {
            self.is_cut = true;
            let end = (begun + self.clock.head_max).into();
            if end < self.until.deadline() {
                self.until.as_mut().reset(end);
            }
        }
        self.until.as_mut().poll(context)
    }
}

/// A stream that tells the clock what goes through it.
pub(super) struct TimedStream<S> {
    stream: S,
    clock: HeadClock,
}

impl<S> TimedStream<S> {
    pub(super) fn new(stream: S, clock: HeadClock) -> TimedStream<S> {
        TimedStream { stream, clock }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        // An empty line before a request line is none of its bytes (RFC 9112, 2.2).
        let of_head = |byte: &u8| !matches!(byte, b'\r' | b'\n');
        if buffer.filled()[before..].iter().any(of_head) {
            self.clock.seen().begun.get_or_insert_with(clock::monotonic);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> TimedStream<S> {
    fn written<T>(&self, written: Poll<T>) -> Poll<T> {
        self.clock.seen().is_write_blocked = written.is_pending();
        written
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use hyper::rt::Timer;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What a head waits for: long after every test.
    const NEVER: Duration = Duration::from_secs(600);
    const SHORT: Duration = Duration::from_millis(300);

    /// How long a head is waited for of which `pieces` come, one after the other.
    async fn waited(pieces: &[&[u8]], head_max: Duration, idle_max: Duration) -> Duration {
        let clock = HeadClock::new(head_max);
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = TimedStream::new(server, clock.clone());
        let began = clock::monotonic();
        let mut sleep = clock.sleep_until(began + idle_max);
        let sends = async {
            for piece in pieces {
                client.write_all(piece).await.expect("it reads");
                tokio::time::sleep(SHORT / 10).await;
            }
            std::future::pending::<()>().await;
        };
        let reads = async {
            let mut piece = [0; 64];
            loop {
                tokio::select! {
                    () = &mut sleep => break,
                    read = server.read(&mut piece) => drop(read),
                }
            }
        };
        tokio::select! { () = sends => {}, () = reads => {} }
        clock::monotonic().saturating_duration_since(began)
    }

    #[tokio::test]
    async fn a_head_that_has_begun_has_a_time_of_its_own() {
        let dripped: &[&[u8]] = &[b"P" as &[u8]; 100];
        let late: &[&[u8]] = &[b"\r\n", b"\r\nP"];
        for pieces in [&dripped[..1], dripped, late] {
            let waited = waited(pieces, SHORT, NEVER).await;
            assert!(
                waited >= SHORT && waited < NEVER / 2,
                "{pieces:?}: {waited:?}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_no_head_yet_has_the_time_of_an_idle_connection_and_no_head_has_more() {
        let cases: [(&[&[u8]], Duration); 3] = [
            (&[], SHORT / 10),
            (&[b"\r\n", b"\r\n"], SHORT / 10),
            (&[b"P"], NEVER),
        ];
        for (pieces, head_max) in cases {
            let waited = waited(pieces, head_max, SHORT).await;
            assert!(
                waited >= SHORT && waited < NEVER / 2,
                "{pieces:?}: {waited:?}"
            );
        }
    }
}
