//! What is there before anything is asked: ports, a broker, a clock, a disk.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::setup::DATA_DIR;
use crate::cli::setup::machine::Machine;
use crate::cli::setup::machine::disk::Disk;
use crate::cli::setup::machine::mounts::existing;
use crate::cli::setup::machine::ports::{Holder, MQTT, MQTT_V6};
use crate::cli::setup::machine::serial::SerialPort;
use crate::cli::setup::machine::service::RunningGateway;
use crate::cli::setup::machine::users::User;
use crate::cli::terminal::figures;

/// How long a broker may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Characters of an id.
const ID_CHARACTERS_MAX: usize = 64;
/// Ports that are tried after the usual one.
const PORTS: std::ops::Range<u16> = 1884..1984;
/// The user of the service.
const USER: &str = "tidegate";

/// Who has the usual port of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UsualPort {
    /// Nobody, or the gateway whose place this one takes.
    Free,
    /// A broker that lets us in, at that address.
    Broker(SocketAddr),
    /// A broker that wants a login.
    ClosedBroker,
    /// Another program.
    Taken,
}

/// See the module.
pub(super) struct Found {
    /// Where the configuration is to be.
    pub(super) dir: PathBuf,
    /// The host name, as an id.
    pub(super) id: String,
    /// Where events go that nobody says another place for.
    pub(super) data_dir: PathBuf,
    pub(super) usual_port: UsualPort,
    /// Ports, with who has them open already.
    pub(super) serial: Vec<(SerialPort, Option<String>)>,
    /// As whom the service runs, where root sets it up.
    pub(super) user: Option<User>,
    /// The gateway that runs over that folder: what is set up takes its place.
    own: Option<RunningGateway>,
    has_clock: bool,
    machine: Machine,
}

impl Found {
    /// Looks around for a configuration in `dir`.
    pub(super) fn look(machine: &Machine, dir: &Path) -> Found {
        let is_of_system = dir.starts_with("/etc");
        let is_root = rustix::process::geteuid().is_root();
        let data_dir = match is_of_system {
            true => DATA_DIR.into(),
            false => dir.join("data"),
        };
        let own = machine.running_gateway(&data_dir);
        let is_of_another = |holder: &Holder| own.is_none_or(|own| own.pid != holder.pid);
        let serial = machine.serial_ports().into_iter().map(|port| {
            let user = machine.user_of(&port.device).filter(is_of_another);
            (port, user.map(|user| user.to_string()))
        });
        Found {
            dir: dir.to_owned(),
            id: id_of(&machine.text("/proc/sys/kernel/hostname")),
            data_dir,
            usual_port: usual_port(machine, own),
            own,
            serial: serial.collect(),
            user: machine.user_named(USER).filter(|_| is_root && is_of_system),
            has_clock: machine.clock().is_kept(),
            machine: machine.clone(),
        }
    }

    /// The address where devices may connect: the usual one, or the next that is free.
    pub(super) fn free_address(&self) -> SocketAddr {
        if self.usual_port == UsualPort::Free {
            return MQTT;
        }
        let mut others = PORTS.map(|port| SocketAddr::new(MQTT.ip(), port));
        others
            .find(|address| TcpListener::bind(address).is_ok())
            .unwrap_or(MQTT)
    }

    /// The disk that holds `data_dir`.
    pub(super) fn disk(&self, data_dir: &Path) -> Option<Disk> {
        let mount = self.machine.mount_of(data_dir)?;
        Some(self.machine.disk_of(&mount))
    }

    /// Bytes free there.
    pub(super) fn free_bytes(&self, data_dir: &Path) -> Option<u64> {
        let disk = rustix::fs::statvfs(existing(data_dir)?).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// What of it a person should know.
    pub(super) fn lines(&self, data_dir: &Path) -> Vec<String> {
        let mut lines = vec![format!("found    {}", self.disk_words(data_dir))];
        lines.extend(self.own.map(|own| {
            let pid = own.pid;
            format!("found    the gateway that runs here (process {pid}), whose ports and events are those of this one once it is restarted")
        }));
        for (port, user) in &self.serial {
            let used = match user {
                Some(user) => format!(", which {user} has open"),
                None => String::new(),
            };
            lines.push(format!(
                "found    the serial port {}{used}",
                port.name.display()
            ));
        }
        lines.extend(match self.usual_port {
            UsualPort::Free => None,
            UsualPort::Broker(address) => Some(format!("found    a broker on {address}")),
            UsualPort::ClosedBroker => Some(format!(
                "found    a broker on port {} that wants a login",
                MQTT.port()
            )),
            UsualPort::Taken => Some(format!("found    another program on port {}", MQTT.port())),
        });
        if !self.has_clock {
            lines.push(
                "found    no clock chip and no time server: after a power cut events get wrong times".to_owned(),
            );
        }
        lines
    }

    /// The disk of the data folder, in words.
    pub(super) fn disk_words(&self, data_dir: &Path) -> String {
        let disk = self.disk(data_dir);
        let medium = disk
            .as_ref()
            .map_or("disk of an unknown kind", |disk| disk.medium.name());
        let name = disk.and_then(|disk| disk.name).unwrap_or_default();
        let free = self.free_bytes(data_dir).map_or(String::new(), |free| {
            format!(", {} free", figures::size(free))
        });
        format!("{medium} {name}").trim().to_owned() + &free
    }
}

/// The host name with what an id cannot have left out.
fn id_of(host_name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let mapped = host_name
        .trim()
        .chars()
        .map(|c| if fits(c) { c } else { '-' });
    let id: String = mapped.take(ID_CHARACTERS_MAX).collect();
    match id.trim_matches('-') {
        "" => "gateway".to_owned(),
        id => id.to_owned(),
    }
}

fn usual_port(machine: &Machine, own: Option<RunningGateway>) -> UsualPort {
    let addresses = [MQTT, MQTT_V6];
    let Some(listener) = addresses
        .iter()
        .find_map(|address| machine.listener_at(*address))
    else {
        return UsualPort::Free;
    };
    let holder = machine.holder_of(&listener);
    if let (Some(holder), Some(own)) = (&holder, own)
        && holder.pid == own.pid
    {
        return UsualPort::Free;
    }
    let is_gateway = holder.is_some_and(|holder| holder.name == "tidegate");
    let mut answers = addresses
        .into_iter()
        .filter_map(|address| Some((address, answer(address)?)));
    match answers.next() {
        _ if is_gateway => UsualPort::Taken,
        Some((address, true)) => UsualPort::Broker(address),
        Some((_, false)) => UsualPort::ClosedBroker,
        None => UsualPort::Taken,
    }
}

/// Whether a broker there lets us in; none where what is there is no broker.
fn answer(address: SocketAddr) -> Option<bool> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN).ok()?;
    stream.set_read_timeout(Some(ANSWER_WITHIN)).ok()?;
    stream.set_write_timeout(Some(ANSWER_WITHIN)).ok()?;
    // CONNECT of MQTT 3.1.1 with a clean session, no keep-alive, and an id that the broker chooses.
    let connect = [0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 0];
    stream.write_all(&connect).ok()?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).ok()?;
    let _ = stream.write_all(&[0xe0, 0]);
    match answer {
        [0x20, 2, _, code] => Some(code == 0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_becomes_an_id() {
        let long = "x".repeat(100);
        let cases = [
            ("raspberrypi\n", "raspberrypi"),
            ("pi.local", "pi.local"),
            ("büro 7", "b-ro-7"),
            ("(none)", "none"),
            ("", "gateway"),
            (&long, &long[..64]),
        ];
        for (name, expected) in cases {
            assert_eq!(id_of(name), expected, "{name:?}");
        }
    }
}
