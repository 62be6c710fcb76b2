//! `[gateway]`: who this gateway is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::key::{Count, Text, count, duration, keys, path, text};
use super::section::Section;
use super::value::files;

/// Characters of a gateway's id.
const ID_CHARACTERS_MAX: usize = 64;

keys! {
    /// Keys of `[gateway]`.
    pub(super) GATEWAY: GatewayKeys {
        id: Option<Text> = text().required("prefix of every event's CloudEvents `source`; letters, digits, `.`, `_`, `-`"),
        data_dir: Option<PathBuf> = path().required("folder of the event store and the control socket"),
        group: Option<Text> = text().optional("its owner and root alone", "whose members may look: the control socket, its folder and the store are given to this group"),
        rules: Option<PathBuf> = path().optional("every event goes to every upstream", "folder of `*.rules` files"),
        shutdown_max: Duration = duration("0s", "10m").default("10s", "how long forwarders may finish what is in flight"),
        dedup_window: Count<usize> = count(0, 16_777_216).default("65536", "events remembered whose senders give ids of their own"),
    }
}

/// `[gateway]`
#[derive(Debug, Clone, PartialEq)]
pub struct Gateway {
    /// `id`: prefix of every CloudEvents source.
    pub id: String,
    /// `data_dir`
    pub data_dir: PathBuf,
    /// `group`: whose members may look.
    pub group: Option<String>,
    /// Where that stands in the file.
    pub data_dir_span: std::ops::Range<usize>,
    /// `rules`: folder of `*.rules` files; `None` sends every event to every upstream.
    pub rules: Option<PathBuf>,
    /// `shutdown_max` (10s): how long forwarders may finish what is in flight.
    pub shutdown_max: Duration,
    /// `dedup_window` (65536): ids remembered for senders that give their own.
    pub dedup_window: usize,
}

/// The control socket's name in `data_dir`.
pub(crate) const SOCKET: &str = "tidegate.sock";

/// The folder of the event store in `data_dir`.
pub(crate) fn store_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("store")
}

impl Gateway {
    /// The keys but `rules` in which the other says something else.
    pub(super) fn differs_in(&self, other: &Gateway) -> Vec<&'static str> {
        let Gateway {
            id,
            data_dir,
            shutdown_max,
            dedup_window,
            group,
            rules: _,
            data_dir_span: _,
        } = self;
        super::differing(&[
            ("id", *id == other.id),
            ("data_dir", *data_dir == other.data_dir),
            ("group", *group == other.group),
            ("shutdown_max", *shutdown_max == other.shutdown_max),
            ("dedup_window", *dedup_window == other.dedup_window),
        ])
    }

    /// The folder of the event store.
    pub fn store_dir(&self) -> PathBuf {
        store_dir(&self.data_dir)
    }

    pub(super) fn read(section: &Section<'_>) -> Option<Gateway> {
        let id = section.read(&GATEWAY.id);
        if let Some(id) = &id {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            let sensible = (1..=ID_CHARACTERS_MAX).contains(&id.value.len());
            if !sensible || !id.value.chars().all(fits) {
                let message = format!("`{}` is no id of a gateway", id.value);
                let error = section.error(&GATEWAY.id, message);
                let note = "an id has 1 to 64 letters, digits, `.`, `_` or `-`";
                section.context.report(error.with_note(note));
            }
        }
        let data_dir = section.read(&GATEWAY.data_dir);
        let rules = section
            .has(&GATEWAY.rules)
            .then(|| files::rules_folder(section, &GATEWAY.rules));
        let group = section.read(&GATEWAY.group).map(|group| group.value);
        if let Some(why) = group.as_deref().and_then(no_group) {
            let error = section.error(&GATEWAY.group, format!("`group` {why}"));
            let note = "write the name of a group, or its number, as `getent group` shows them";
            section.context.report(error.with_note(note));
        }
        let shutdown_max = section.read(&GATEWAY.shutdown_max);
        let dedup_window = section.read(&GATEWAY.dedup_window);
        Some(Gateway {
            id: id?.value,
            data_dir: data_dir?,
            group,
            data_dir_span: section.span(&GATEWAY.data_dir),
            rules: rules.flatten(),
            shutdown_max,
            dedup_window,
        })
    }
}

/// Why no machine has a group of this name or number.
fn no_group(group: &str) -> Option<&'static str> {
    match group {
        "" => Some("is empty; leave it out, and its owner and root alone may look"),
        // The number that the system takes for "as it is".
        group if group.parse() == Ok(u32::MAX) => Some("is no number of a group"),
        group if group.contains([':', '/', '\0', '\n', ' ']) => Some("is no name of a group"),
        _ => None,
    }
}
