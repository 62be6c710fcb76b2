//! A device whose events are not taken: told once, and a trouble of its port for as long as it says hello. One that
//! seems not to hear, likewise.

use std::time::{Duration, Instant};

use super::device::{DeviceHello, device_name};
use crate::observe::source::device::BootReused;
use crate::source::port_budget::PortBudget;

const KIND: &str = "device";
const DEAF_KIND: &str = "deaf";
/// A device says hello every second until it is welcome: after so long it is not there any more.
const GONE: Duration = Duration::from_secs(15);

/// The device at a port that was turned away last.
#[derive(Debug, Default)]
pub(super) struct TurnedAway {
    last: Option<Last>,
    /// It is told that what is there does not hear.
    is_deaf: bool,
}

#[derive(Debug)]
struct Last {
    why: String,
    at: Instant,
}

impl TurnedAway {
    /// The same name is at another source. Tells whether that is news.
    pub(super) fn second(
        &mut self,
        hello: &DeviceHello,
        holder: &str,
        budget: &PortBudget,
        now: Instant,
    ) -> bool {
        let (name, path) = (device_name(&hello.device), budget.path());
        let why = format!(
            "two devices are called {name}, one at source {holder}, one at {path}: the readings of the second are not \
             taken and stay on it; give it a device id of its own"
        );
        self.tell(why, budget, now)
    }

    /// The events of another node are stored under its name and boot. Tells whether that is news.
    pub(super) fn stranger(
        &mut self,
        hello: &DeviceHello,
        source: &str,
        budget: &PortBudget,
        now: Instant,
    ) -> bool {
        let (name, path, boot) = (device_name(&hello.device), budget.path(), hello.boot);
        let why = format!(
            "the device {name} at {path} says boot {boot}, of which other readings are stored: its own are not taken \
             and stay on it; if two devices have this id give it another one, else a boot number that is new at every \
             boot"
        );
        let news = self.tell(why, budget, now);
        if news {
            let reused = BootReused {
                source,
                device: &name,
                boot,
            };
            budget.emit(&reused, 0, now);
        }
        news
    }

    /// Another node with its name was stored after it, here or at another port. Tells whether that is news.
    pub(super) fn returned(
        &mut self,
        hello: &DeviceHello,
        budget: &PortBudget,
        now: Instant,
    ) -> bool {
        let (name, path, boot) = (device_name(&hello.device), budget.path(), hello.boot);
        let why = format!(
            "two devices are called {name} and come in turn: the one at {path} is back with boot {boot} after another \
             boot was stored; its readings are not taken and stay on it; give one of them a device id of its own, or, \
             where the other is gone for good, start this one anew"
        );
        self.tell(why, budget, now)
    }

    /// Whether the words are news.
    fn tell(&mut self, why: String, budget: &PortBudget, now: Instant) -> bool {
        let known = self.last.as_mut().filter(|last| last.why == why);
        if let Some(last) = known {
            last.at = now;
            return false;
        }
        budget.raise(KIND, &why, now);
        self.last = Some(Last { why, at: now });
        true
    }

    /// Whether what is there hears what it is asked and told, as far as half a minute shows.
    pub(super) fn hears(
        &mut self,
        does: bool,
        name: Option<&str>,
        budget: &PortBudget,
        now: Instant,
    ) {
        if self.is_deaf != does {
            return;
        }
        self.is_deaf = !does;
        if does {
            return budget.clear(DEAF_KIND);
        }
        let (name, path) = (name.unwrap_or("that is not known yet"), budget.path());
        let why = format!(
            "the device {name} at {path} seems not to hear the gateway: it says the same again and again, and its readings \
             stay on it; is the wire from here to it connected, and does its firmware answer?"
        );
        budget.raise(DEAF_KIND, &why, now);
    }

    /// Nobody is turned away any more.
    pub(super) fn gone(&mut self, budget: &PortBudget) {
        if self.last.take().is_some() {
            budget.clear(KIND);
        }
    }

    /// The same, if that is so.
    pub(super) fn look(&mut self, budget: &PortBudget, now: Instant) {
        let quiet = |last: &Last| now.saturating_duration_since(last.at) >= GONE;
        if self.last.as_ref().is_some_and(quiet) {
            self.gone(budget);
        }
    }
}
