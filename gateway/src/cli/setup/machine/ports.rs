//! Who listens at a TCP port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Machine;

/// `TCP_LISTEN` of the kernel.
const LISTENS: &str = "0A";

/// A socket that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::setup) struct Listener {
    /// At which address.
    pub(in crate::cli::setup) address: SocketAddr,
    /// Whose it is.
    pub(in crate::cli::setup) uid: u32,
    /// The number of the socket.
    inode: u64,
}

/// A program that has a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::setup) struct Holder {
    /// Its process.
    pub(in crate::cli::setup) pid: u32,
    /// Its name.
    pub(in crate::cli::setup) name: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

impl Machine {
    /// Who listens so that nobody else can at `address`.
    pub(in crate::cli::setup) fn listener_at(&self, address: SocketAddr) -> Option<Listener> {
        let mut all = self.listeners().into_iter();
        all.find(|listener| {
            let (theirs, ours) = (listener.address.ip(), address.ip());
            let meets = theirs == ours || theirs.is_unspecified() || ours.is_unspecified();
            listener.address.port() == address.port() && meets
        })
    }

    fn listeners(&self) -> Vec<Listener> {
        let files = ["/proc/net/tcp", "/proc/net/tcp6"];
        let texts = files.map(|file| self.text(file));
        let lines = texts.iter().flat_map(|text| text.lines());
        lines.filter_map(listener).collect()
    }

    /// The program that has the socket, where this user may see it.
    pub(in crate::cli::setup) fn holder_of(&self, listener: &Listener) -> Option<Holder> {
        let wanted = format!("socket:[{}]", listener.inode);
        let mut processes = self.processes().into_iter();
        let pid = processes.find(|pid| {
            let folder = self.path(format!("/proc/{pid}/fd"));
            let links = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let mut targets = links.filter_map(|entry| std::fs::read_link(entry.path()).ok());
            targets.any(|target| target.as_os_str() == &*wanted)
        })?;
        Some(Holder {
            pid,
            name: self.process_name(pid),
        })
    }
}

/// A line of `/proc/net/tcp` or `/proc/net/tcp6`, of a socket that listens.
fn listener(line: &str) -> Option<Listener> {
    let mut fields = line.split_whitespace().skip(1);
    let (ip, port) = fields.next()?.split_once(':')?;
    if fields.nth(1)? != LISTENS {
        return None;
    }
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words = ip.len() / 8;
    // Each word of 32 bits stands there as this machine reads it.
    let word = |place: usize| u32::from_str_radix(ip.get(place * 8..place * 8 + 8)?, 16).ok();
    let bytes: Vec<u8> = (0..words)
        .map(word)
        .collect::<Option<Vec<u32>>>()?
        .into_iter()
        .flat_map(u32::to_ne_bytes)
        .collect();
    let ip = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return None,
    };
    let ip = match ip {
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or(ip.into(), IpAddr::V4),
        ip => ip,
    };
    let address = SocketAddr::new(ip, port);
    Some(Listener {
        address,
        uid,
        inode,
    })
}

/// The usual port of MQTT on this machine.
pub(in crate::cli::setup) const MQTT: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1883);

/// The same by its other address.
pub(in crate::cli::setup) const MQTT_V6: SocketAddr =
    SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 1883);

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_listens_is_found_by_its_address() {
        let root = tempfile::tempdir().expect("a folder");
        let net = root.path().join("proc/net");
        std::fs::create_dir_all(&net).expect("a folder");
        let row = |local: &str, state: &str| {
            format!(
                "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000   105        0 4242 1 0 100 0\n"
            )
        };
        let text = format!(
            "  sl  local_address\n{}{}",
            row("0100007F:075B", "0A"),
            row("0100007F:1F90", "01")
        );
        std::fs::write(net.join("tcp"), text).expect("room");
        let any = row("00000000000000000000000000000000:0050", "0A");
        std::fs::write(net.join("tcp6"), any).expect("room");
        let machine = Machine::new(Some(root.path().to_owned()));
        let at = |address: &str| machine.listener_at(address.parse().expect("an address"));
        assert_eq!(at("127.0.0.1:1883").map(|found| found.inode), Some(4242));
        assert!(at("0.0.0.0:1883").is_some(), "all addresses");
        assert_eq!(at("192.0.2.1:1883"), None, "another address");
        assert_eq!(at("127.0.0.1:8080"), None, "a connection");
        assert!(at("127.0.0.1:80").is_some(), "by both versions");
    }

    #[test]
    fn this_process_is_seen_where_it_listens() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("an address");
        let machine = Machine::new(None);
        let found = machine.listener_at(address).expect("it listens");
        let holder = machine.holder_of(&found).expect("it is ours");
        assert_eq!(holder.pid, std::process::id());
    }
}
