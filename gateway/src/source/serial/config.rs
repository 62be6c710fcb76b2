//! `type = "serial"` of `[sources.NAME]`.

use std::time::Duration;

use crate::config::PortMatch;
use crate::config::connection::port::{self, PORT, PortSettings};
use crate::config::key::{Rows, Text, keys, text};
use crate::config::kinds::{Claim, Entry, Feature, KeyGroup, Kind};
use crate::config::section::Section;
use crate::config::value::topics;

keys! {
    /// Keys of a source that speaks the framed link.
    KEYS: SerialKeys {
        topic: Text = text().default("devices/{device}", "topic of the device's readings"),
    }
}

/// The framed link over a serial port.
#[derive(Debug, Clone, PartialEq)]
pub struct Serial {
    /// Which port.
    pub port: PortMatch,
    /// How characters come over it.
    pub settings: PortSettings,
    /// `topic` ("devices/{device}"): of the device's readings.
    pub topic: String,
    /// `reopen_max` (5s): the longest pause between attempts to open the port again.
    pub reopen_max: Duration,
}

impl Kind for Serial {
    const NAME: &'static str = "serial";
    const KEYS: Rows = SerialKeys::ROWS;
    const SHARED: &'static [KeyGroup] = port::GROUPS;
    const TABLES: &'static [KeyGroup] = port::TABLES;
    const FEATURE: Option<Feature> = Some(port::FEATURE);

    fn read(section: &Section<'_>, _: &Entry<'_>) -> Option<Serial> {
        let port = PortMatch::read(section);
        let topic = topics::template(section, &KEYS.topic, &["device"]);
        let settings = PortSettings::read(section);
        let reopen_max = section.read(&PORT.reopen_max);
        Some(Serial {
            port: port?,
            settings,
            topic: topic?,
            reopen_max,
        })
    }

    fn claim(&self) -> Option<Claim<'_>> {
        self.port.claim()
    }
}
