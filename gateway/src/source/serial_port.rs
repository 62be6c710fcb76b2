//! A serial port that may vanish: found by path or by USB identity, opened again and again.
//!
//! A port that hangs up reads as end of file for ever; holding it would renumber a USB device
//! that comes back. So the end of a stream closes the port, and the search starts anew.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio_serial::{ErrorKind, SerialPortBuilderExt, SerialPortType, SerialStream};

use super::port_budget::PortBudget;
use crate::config::PortMatch;
use crate::observe::source::SourceMetrics;
use crate::observe::source::port::{PortAbsent, PortLost, PortOpened};
use crate::time::clock;
use crate::time::shutdown::stopped;

/// The first pause before a port is tried again.
const REOPEN_MIN: Duration = Duration::from_millis(100);
/// A port that is lost again sooner than this is opened again after a pause, and each time a longer one.
const SETTLED: Duration = Duration::from_secs(1);

/// A port to be opened whenever it is there.
pub struct SerialPort {
    /// The source it belongs to.
    pub source: Arc<str>,
    /// Which port.
    pub wanted: PortMatch,
    /// Bits per second.
    pub baud: u32,
    /// The longest pause between attempts.
    pub reopen_max: Duration,
    /// What it may cost, and its voice.
    pub budget: Arc<PortBudget>,
    /// Its state.
    pub metrics: SourceMetrics,
    /// When it was opened last, and how long to wait before it is opened next.
    pub last: Openings,
}

/// What is known of the last opening of a port.
#[derive(Debug, Clone, Copy, Default)]
pub struct Openings {
    opened: Option<Instant>,
    pause: Duration,
}

impl SerialPort {
    /// Opens the port, waiting for it as long as it takes; `None` on shutdown.
    pub async fn open(&mut self, shutdown: &mut watch::Receiver<bool>) -> Option<OpenPort> {
        if !self.last.pause.is_zero() {
            self.rest(self.last.pause, shutdown).await?;
        }
        let source = Arc::clone(&self.source);
        let source = &*source;
        let mut pause = REOPEN_MIN;
        loop {
            let now = clock::monotonic();
            match self.try_open() {
                Ok((path, stream)) => {
                    self.last.opened = Some(now);
                    self.budget.port_is(&path.to_string_lossy());
                    self.metrics.port_opened(self.baud);
                    let path = &path;
                    let opened = PortOpened { source, path };
                    self.metrics.up(self.budget.observe(), "open", &opened);
                    let metrics = self.metrics.clone();
                    return Some(OpenPort { stream, metrics });
                }
                Err(why) => {
                    let why = &*why;
                    let absent = PortAbsent { source, why };
                    let observe = self.budget.observe();
                    self.metrics.down(observe, "waiting", why, &absent);
                }
            }
            self.budget.look(now);
            self.rest(pause, shutdown).await?;
            pause = (pause * 2).min(self.reopen_max);
        }
    }

    /// Pauses; `None` on shutdown.
    async fn rest(&self, pause: Duration, shutdown: &mut watch::Receiver<bool>) -> Option<()> {
        tokio::select! {
            () = stopped(shutdown) => None,
            () = tokio::time::sleep(pause) => Some(()),
        }
    }

    /// Says that the port is gone.
    pub fn lost(&mut self, why: &str) {
        let now = clock::monotonic();
        let opened = self.last.opened.take();
        let at_once = opened.is_some_and(|at| now.saturating_duration_since(at) < SETTLED);
        self.last.pause = match at_once {
            true => (self.last.pause * 2).clamp(REOPEN_MIN, self.reopen_max.max(REOPEN_MIN)),
            false => Duration::ZERO,
        };
        let source = &*self.source;
        let lost = PortLost { source, why };
        let observe = self.budget.observe();
        self.metrics.down(observe, "waiting", why, &lost);
    }

    fn try_open(&self) -> Result<(PathBuf, SerialStream), String> {
        let path = match &self.wanted {
            PortMatch::Path(path) => path.clone(),
            PortMatch::Usb { vid, pid, serial } => find(*vid, *pid, serial.as_deref())?,
        };
        let name = path.to_string_lossy();
        let stream = tokio_serial::new(name.as_ref(), self.baud)
            .open_native_async()
            .map_err(|error| not_opened(&name, &error))?;
        Ok((path.clone(), stream))
    }
}

/// Why a port cannot be opened, and what to do.
fn not_opened(name: &str, error: &tokio_serial::Error) -> String {
    match error.kind() {
        ErrorKind::Io(io::ErrorKind::NotFound) => {
            format!("{name}: there is no such port; is the device plugged in?")
        }
        ErrorKind::Io(io::ErrorKind::PermissionDenied) => {
            format!("{name}: no permission; add the gateway's user to the group dialout")
        }
        ErrorKind::NoDevice => format!("{name}: {error}; does another program hold it?"),
        _ => format!("{name}: it cannot be opened: {error}"),
    }
}

/// A port that is open: what it brings is counted.
pub struct OpenPort {
    stream: SerialStream,
    metrics: SourceMetrics,
}

impl AsyncRead for OpenPort {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let count = buffer.filled().len() - before;
        if count > 0 {
            self.metrics.read(count as u64);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for OpenPort {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The first port of a USB device with these properties; absent ones match everything.
fn find(vid: Option<u16>, pid: Option<u16>, serial: Option<&str>) -> Result<PathBuf, String> {
    // The search reads this folder and does not expect it to be missing.
    if !Path::new("/sys/class/tty").exists() {
        return Err(
            "this system has no /sys/class/tty to find USB ports in; name the port by path".into(),
        );
    }
    let ports = tokio_serial::available_ports()
        .map_err(|error| format!("the ports cannot be listed: {error}"))?;
    let found = ports.into_iter().find(|port| match &port.port_type {
        SerialPortType::UsbPort(usb) => {
            vid.is_none_or(|vid| vid == usb.vid)
                && pid.is_none_or(|pid| pid == usb.pid)
                && serial.is_none_or(|serial| usb.serial_number.as_deref() == Some(serial))
        }
        _ => false,
    });
    found
        .map(|port| PathBuf::from(port.port_name))
        .ok_or_else(|| "no USB port matches vid, pid and serial; is the device plugged in?".into())
}
