//! What happens to serial devices.

use super::{Happening, SystemEvent};

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
    /// Records it dropped unacknowledged since its boot.
    pub lost: u32,
}

impl Happening for DeviceJoined<'_> {
    fn log(&self) {
        tracing::info!(
            source = self.source,
            device = self.device,
            boot = self.boot,
            firmware = self.firmware,
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
                "lost": self.lost,
            }),
        })
    }
}

/// A device went away with its line.
pub struct DeviceLost<'a> {
    /// The source.
    pub source: &'a str,
    /// Its name.
    pub device: &'a str,
}

impl Happening for DeviceLost<'_> {
    fn log(&self) {
        tracing::warn!(
            source = self.source,
            device = self.device,
            "device lost with its line"
        );
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.device.lost",
            subject: self.device.into(),
            data: serde_json::json!({ "source": self.source }),
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
    /// Whether it is a warning or worse.
    pub is_bad: bool,
    /// The line.
    pub text: &'a str,
}

impl Happening for DeviceSaid<'_> {
    fn log(&self) {
        let (source, device, text) = (self.source, self.device, self.text);
        match self.is_bad {
            true => tracing::warn!(source, device, text, "device log"),
            false => tracing::info!(source, device, text, "device log"),
        }
    }
}
