//! A serial port that may vanish: found by path or by USB identity, opened again and again.
//!
//! A port that hangs up reads as end of file for ever; holding it would renumber a USB device
//! that comes back. So the end of a stream closes the port, and the search starts anew.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio_serial::{
    DataBits, ErrorKind, SerialPort as _, SerialPortBuilderExt, SerialPortType, SerialStream,
    StopBits,
};

use super::port_budget::PortBudget;
use crate::config::{Parity, PortMatch, PortSettings};
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
    /// How characters come over it.
    pub settings: PortSettings,
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
                    self.metrics.port_opened(self.settings.baud);
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
        let settings = &self.settings;
        let mut stream = tokio_serial::new(name.as_ref(), settings.baud)
            .data_bits(data_bits(settings.data_bits))
            .parity(parity(settings.parity))
            .stop_bits(stop_bits(settings.stop_bits))
            .open_native_async()
            .map_err(|error| not_opened(&path, &error))?;
        set_lines(&mut stream, settings).map_err(|why| format!("{name}: {why}"))?;
        Ok((path, stream))
    }
}

fn data_bits(count: u8) -> DataBits {
    match count {
        5 => DataBits::Five,
        6 => DataBits::Six,
        7 => DataBits::Seven,
        _ => DataBits::Eight,
    }
}

fn parity(parity: Parity) -> tokio_serial::Parity {
    match parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Even => tokio_serial::Parity::Even,
        Parity::Odd => tokio_serial::Parity::Odd,
    }
}

fn stop_bits(count: u8) -> StopBits {
    match count {
        2 => StopBits::Two,
        _ => StopBits::One,
    }
}

/// Raises and lowers what the settings name. RTS comes first: opening raises both, and boards that are flashed through
/// both take RTS without DTR for a reset.
fn set_lines(stream: &mut SerialStream, settings: &PortSettings) -> Result<(), String> {
    let told = |key: &str, error: &tokio_serial::Error| {
        format!(
            "{} cannot be set here: {error}; take `{key}` out",
            key.to_uppercase()
        )
    };
    if let Some(rts) = settings.rts {
        let set = stream.write_request_to_send(rts);
        set.map_err(|error| told("rts", &error))?;
    }
    if let Some(dtr) = settings.dtr {
        let set = stream.write_data_terminal_ready(dtr);
        set.map_err(|error| told("dtr", &error))?;
    }
    Ok(())
}

/// Why a port cannot be opened, and what to do.
fn not_opened(path: &Path, error: &tokio_serial::Error) -> String {
    let name = path.display();
    match error.kind() {
        ErrorKind::Io(io::ErrorKind::NotFound) => {
            format!("{name}: there is no such port; is the device plugged in?")
        }
        ErrorKind::Io(io::ErrorKind::PermissionDenied) => {
            let group = group_of(path);
            format!("{name}: no permission; add the user to group {group}")
        }
        // Named by its path, it stands there all the same.
        _ if is_no_port(path) => {
            format!("{name}: it is no serial port; name its device file, such as /dev/ttyUSB0")
        }
        ErrorKind::NoDevice => format!("{name}: {error}; does another program hold it?"),
        _ => format!("{name}: it cannot be opened: {error}"),
    }
}

/// Whether there is something that is no device.
fn is_no_port(path: &Path) -> bool {
    let found = std::fs::metadata(path);
    found.is_ok_and(|found| !found.file_type().is_char_device())
}

/// The group that may use a port: that of its file, where the system names it.
fn group_of(path: &Path) -> String {
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let id = std::fs::metadata(path).map(|file| file.gid());
    id.ok()
        .and_then(|id| group_named(&groups, id))
        .unwrap_or_else(|| "dialout".into())
}

/// The name of the group `id` in the lines of `/etc/group`. That of root is no group to join.
fn group_named(groups: &str, id: u32) -> Option<String> {
    let mut lines = groups.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (id != 0 && number.parse() == Ok(id)).then(|| name.to_owned())
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_to_join_is_that_of_the_file() {
        let groups = "root:x:0:\ndialout:x:20:ann\nuucp:x:10:\nbroken\n:::\n";
        for (id, name) in [
            (0, None),
            (20, Some("dialout")),
            (10, Some("uucp")),
            (7, None),
        ] {
            assert_eq!(group_named(groups, id).as_deref(), name, "{id}");
        }
    }

    #[test]
    fn a_port_that_cannot_be_opened_says_why_and_what_to_do() {
        let error = |kind| tokio_serial::Error::new(kind, "it says no");
        for (kind, expected) in [
            (
                ErrorKind::Io(io::ErrorKind::PermissionDenied),
                "/none/ttyUSB0: no permission; add the user to group dialout",
            ),
            (
                ErrorKind::Io(io::ErrorKind::NotFound),
                "/none/ttyUSB0: there is no such port; is the device plugged in?",
            ),
            (
                ErrorKind::NoDevice,
                "/none/ttyUSB0: it says no; does another program hold it?",
            ),
            (
                ErrorKind::Unknown,
                "/none/ttyUSB0: it cannot be opened: it says no",
            ),
        ] {
            let found = not_opened(Path::new("/none/ttyUSB0"), &error(kind));
            assert_eq!(found, expected);
        }
    }
}
