//! What happens to serial devices.

use tidegate_link::message::Level;

use crate::observe::{Happening, SystemEvent};

/// A device said hello.
pub struct DeviceJoined<'a> {
    /// The source.
    pub source: &'a str,
    /// Its name.
    pub device: &'a str,
    /// Its boot.
    pub boot: u32,
    /// Its firmware version.
    pub firmware: &'a str,
    /// The firmware slot it runs from.
    pub slot: u8,
    /// Records it holds.
    pub held: u32,
    /// Records it dropped unacknowledged since its boot.
    pub lost: u32,
}

impl Happening for DeviceJoined<'_> {
    fn log(&self) {
        tracing::info!(
            source = self.source,
            device = self.device,
            boot = self.boot,
            firmware = %self.firmware.escape_debug(),
            held = self.held,
            lost = self.lost,
            "device joined"
        );
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.device.joined",
            subject: self.device.into(),
            data: serde_json::json!({
                "source": self.source,
                "boot": self.boot,
                "firmware": self.firmware,
                "slot": self.slot,
                "held": self.held,
                "lost": self.lost,
            }),
        })
    }
}

/// A device is not heard any more.
pub struct DeviceLost<'a> {
    /// The source.
    pub source: &'a str,
    /// Its name.
    pub device: &'a str,
    /// How it showed.
    pub why: &'a str,
}

impl Happening for DeviceLost<'_> {
    fn log(&self) {
        tracing::warn!(
            source = self.source,
            device = self.device,
            why = self.why,
            "device lost"
        );
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.device.lost",
            subject: self.device.into(),
            data: serde_json::json!({ "source": self.source, "why": self.why }),
        })
    }
}

/// A device counts anew under the number of an earlier boot; none of its records is taken.
pub struct BootReused<'a> {
    /// The source.
    pub source: &'a str,
    /// Its name.
    pub device: &'a str,
    /// The boot it claims.
    pub boot: u32,
}

impl Happening for BootReused<'_> {
    fn log(&self) {
        tracing::error!(
            source = self.source,
            device = self.device,
            boot = self.boot,
            "the device has used this boot number before and counts from a lower record: its \
             readings cannot be told from stored ones and are not taken; give it a boot number \
             that is new at every boot"
        );
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.device.boot_reused",
            subject: self.device.into(),
            data: serde_json::json!({ "source": self.source, "boot": self.boot }),
        })
    }
}

/// A line of a device's own log.
pub struct DeviceSaid<'a> {
    /// The source.
    pub source: &'a str,
    /// Its name.
    pub device: &'a str,
    /// How much it matters to the device.
    pub level: Level,
    /// The line.
    pub text: &'a str,
}

impl Happening for DeviceSaid<'_> {
    fn log(&self) {
        let (source, device) = (self.source, self.device);
        let text = self.text.escape_debug();
        match self.level {
            Level::Error => tracing::error!(source, device, %text, "device log"),
            Level::Warn => tracing::warn!(source, device, %text, "device log"),
            Level::Info => tracing::info!(source, device, %text, "device log"),
            Level::Debug => tracing::debug!(source, device, %text, "device log"),
        }
    }
}

/// A device had to drop records that were not stored.
pub struct RecordsLost<'a> {
    /// The source.
    pub source: &'a str,
    /// The device.
    pub device: &'a str,
    /// How many.
    pub count: u32,
    /// The number of the last one.
    pub last: u64,
}

impl Happening for RecordsLost<'_> {
    fn log(&self) {
        tracing::warn!(
            source = self.source,
            device = self.device,
            count = self.count,
            last = self.last,
            "the device's memory was full, it dropped records"
        );
    }
}

/// Something a device sent that cannot be used.
pub struct SchemaRefused<'a> {
    /// The source.
    pub source: &'a str,
    /// The schema's key.
    pub key: u32,
    /// What is wrong with it.
    pub why: &'a str,
}

impl Happening for SchemaRefused<'_> {
    fn log(&self) {
        tracing::warn!(
            source = self.source,
            key = self.key,
            why = self.why,
            "schema refused; its readings are stored as the bytes they are"
        );
    }
}
