//! A serial port that may vanish: found by path or by USB identity, opened again and again.
//!
//! A port that hangs up reads as end of file for ever; holding it would renumber a USB device
//! that comes back. So the end of a stream closes the port, and the search starts anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_serial::{SerialPortBuilderExt, SerialPortType, SerialStream};

use crate::config::PortMatch;
use crate::observe::Observe;
use crate::observe::source::SourceMetrics;
use crate::observe::source::port::{PortAbsent, PortLost, PortOpened};
use crate::time::shutdown::stopped;

/// The first pause before a port is tried again.
const REOPEN_MIN: Duration = Duration::from_millis(100);

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
    /// Log lines and system events.
    pub observe: Arc<Observe>,
    /// Its state.
    pub metrics: SourceMetrics,
}

impl SerialPort {
    /// Opens the port, waiting for it as long as it takes; `None` on shutdown.
    pub async fn open(&self, shutdown: &mut watch::Receiver<bool>) -> Option<SerialStream> {
        let mut pause = REOPEN_MIN;
        let mut told = false;
        loop {
            match self.try_open() {
                Ok((path, stream)) => {
                    self.metrics.up("open");
                    self.observe.emit(&PortOpened {
                        source: &self.source,
                        path: &path,
                    });
                    return Some(stream);
                }
                Err(why) if !told => {
                    told = true;
                    self.metrics.down("waiting", &why);
                    self.observe.emit(&PortAbsent {
                        source: &self.source,
                        why: &why,
                    });
                }
                Err(_) => {}
            }
            tokio::select! {
                () = stopped(shutdown) => return None,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(self.reopen_max);
        }
    }

    /// Says that the port is gone.
    pub fn lost(&self, why: &str) {
        self.metrics.down("waiting", why);
        self.observe.emit(&PortLost {
            source: &self.source,
            why,
        });
    }

    fn try_open(&self) -> Result<(PathBuf, SerialStream), String> {
        let path = match &self.wanted {
            PortMatch::Path(path) => path.clone(),
            PortMatch::Usb { vid, pid, serial } => find(*vid, *pid, serial.as_deref())?,
        };
        let name = path.to_string_lossy();
        let stream = tokio_serial::new(name.as_ref(), self.baud)
            .open_native_async()
            .map_err(|error| format!("{name} cannot be opened: {error}"))?;
        Ok((path.clone(), stream))
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
