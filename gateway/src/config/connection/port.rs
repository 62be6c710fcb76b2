//! Which serial port a source opens, and how.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::key::{
    Choice, Count, Key, OneOf, Table, Text, count, duration, flag, keys, one_of, path, table, text,
};
use crate::config::kinds::{Claim, Feature, KeyGroup};
use crate::config::section::Section;

keys! {
    /// Keys of every source at a serial port.
    pub(crate) PORT: PortKeys {
        port: Option<PathBuf> = path().optional("`match` finds it", "device file, such as `/dev/ttyACM0`"),
        r#match: Option<Table> = table(UsbMatchKeys::ROWS).optional("`port` names it", "finds a USB port wherever it is plugged in"),
        baud: Count<u32> = count(300, 12_000_000).default("115200", "bits per second"),
        parity: OneOf<Parity> = one_of().default("none", "parity bit of each character"),
        stop_bits: Count<u8> = count(1, 2).default("1", "stop bits of each character"),
        dtr: Option<bool> = flag().optional("as the system opens it", "raise or lower DTR once the port is open; many boards restart when it is raised"),
        rts: Option<bool> = flag().optional("as the system opens it", "raise or lower RTS once the port is open"),
        reopen_max: Duration = duration("10ms", "10m").default("5s", "longest pause between attempts to open the port again"),
    }
}

keys! {
    /// Keys of `match`.
    pub(crate) USB_MATCH: UsbMatchKeys {
        vid: Option<Text> = text().optional("any", "USB vendor id, four hexadecimal digits"),
        pid: Option<Text> = text().optional("any", "USB product id, four hexadecimal digits"),
        serial: Option<Text> = text().optional("any", "USB serial number"),
    }
}

/// For the kinds at serial ports.
pub(crate) const GROUPS: &[KeyGroup] = &[KeyGroup {
    heading: "source serial, lines",
    keys: PortKeys::ROWS,
}];

/// The tables among those keys.
pub(crate) const TABLES: &[KeyGroup] = &[KeyGroup {
    heading: "match of a port",
    keys: UsbMatchKeys::ROWS,
}];

/// What a program without serial ports lacks.
pub(crate) const FEATURE: Feature = Feature {
    name: "serial",
    brings: "serial ports",
    built: cfg!(feature = "serial"),
};

/// `parity`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parity {
    /// No parity bit.
    None,
    /// Even parity.
    Even,
    /// Odd parity.
    Odd,
}

impl Choice for Parity {
    const CHOICES: &'static [(&'static str, Parity)] = &[
        ("none", Parity::None),
        ("even", Parity::Even),
        ("odd", Parity::Odd),
    ];
}

/// Bits of a character beside those of a stop and of a parity, where the framed link is spoken: it sends bytes.
const BYTE_BITS: u8 = 8;

/// How characters come over a serial port, and what its lines say when it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortSettings {
    /// `baud` (115200)
    pub baud: u32,
    /// `data_bits` (8)
    pub data_bits: u8,
    /// `parity` ("none")
    pub parity: Parity,
    /// `stop_bits` (1)
    pub stop_bits: u8,
    /// `dtr`: raised or lowered once the port is open.
    pub dtr: Option<bool>,
    /// `rts`: raised or lowered once the port is open.
    pub rts: Option<bool>,
}

impl Default for PortSettings {
    fn default() -> PortSettings {
        PortSettings {
            baud: 115_200,
            data_bits: BYTE_BITS,
            parity: Parity::None,
            stop_bits: 1,
            dtr: None,
            rts: None,
        }
    }
}

impl PortSettings {
    /// Reads what every kind at a port has; characters of eight bits.
    pub(crate) fn read(section: &Section<'_>) -> PortSettings {
        PortSettings {
            baud: section.read(&PORT.baud),
            data_bits: BYTE_BITS,
            parity: section.read(&PORT.parity),
            stop_bits: section.read(&PORT.stop_bits),
            dtr: section.read(&PORT.dtr),
            rts: section.read(&PORT.rts),
        }
    }
}

/// How a serial port is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortMatch {
    /// `port = "/dev/ttyACM0"`
    Path(PathBuf),
    /// `match = { vid = "2e8a", pid = "000a", serial = "E661…" }`; absent parts match all.
    Usb {
        /// USB vendor id.
        vid: Option<u16>,
        /// USB product id.
        pid: Option<u16>,
        /// USB serial number.
        serial: Option<String>,
    },
}

impl PortMatch {
    /// Reads `port` or `match`.
    pub(crate) fn read(section: &Section<'_>) -> Option<PortMatch> {
        match (section.has(&PORT.port), section.has(&PORT.r#match)) {
            (true, false) => section.read(&PORT.port).map(PortMatch::Path),
            (false, true) => usb_match(section),
            (true, true) => {
                let message = "`port` and `match` both say which port: keep one";
                section.report(&PORT.r#match, message);
                None
            }
            (false, false) => {
                let message = format!("{} lacks the key `port` or `match`", section.name());
                let error = section.context.error(section.heading(), message);
                let note = "write port = \"/dev/ttyACM0\", or match = { vid = \"2e8a\" } to find a USB port wherever it is plugged in";
                section.context.report(error.with_note(note));
                None
            }
        }
    }

    /// The device file, or the first one of these ids.
    pub(crate) fn claim(&self) -> Option<Claim<'_>> {
        match self {
            PortMatch::Path(path) => Some(Claim::File(path)),
            PortMatch::Usb { vid, pid, serial } => Some(Claim::Usb(*vid, *pid, serial.as_deref())),
        }
    }
}

fn usb_match(section: &Section<'_>) -> Option<PortMatch> {
    let usb = section.table(&PORT.r#match)?;
    let vid = usb_id(&usb, &USB_MATCH.vid);
    let pid = usb_id(&usb, &USB_MATCH.pid);
    let serial = usb.read(&USB_MATCH.serial).map(|found| found.value);
    if !UsbMatchKeys::ROWS.iter().any(|key| usb.has(key)) {
        let message = "an empty `match` would take any USB port";
        section.report(&PORT.r#match, message);
    }
    Some(PortMatch::Usb { vid, pid, serial })
}

fn usb_id(usb: &Section<'_>, key: &Key<Option<Text>>) -> Option<u16> {
    let found = usb.read(key)?;
    let digits = found.value.trim_start_matches("0x");
    let id = u16::from_str_radix(digits, 16).ok();
    if id.is_none() {
        let message = format!("`{}` is no USB id of four hexadecimal digits", found.value);
        usb.report(key, message);
    }
    id
}
