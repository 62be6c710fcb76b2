//! What is looked at: a machine, a configuration if there is one, and as whom the gateway runs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml_edit::{Document, Item, TableLike};

use super::secrets::{self, Secrets};
use crate::cli::setup::machine::Machine;
use crate::cli::setup::machine::ports::MQTT;
use crate::cli::setup::machine::service::{RunningGateway, Unit};
use crate::cli::setup::machine::users::User;
use crate::cli::setup::{DATA_DIR, LISTEN_CONNECTIONS};
use crate::config::Store;
use crate::run::config::Config;

/// See the module.
pub(super) struct Subject {
    pub(super) machine: Machine,
    /// The configuration, absent where there is none.
    pub(super) config: Option<PathBuf>,
    pub(super) data_dir: PathBuf,
    /// Settings of the store, where the configuration says some.
    pub(super) store: Option<Store>,
    /// `[gateway] dedup_window`
    pub(super) dedup_window: usize,
    /// Where it listens: the section and the address.
    pub(super) listens: Vec<(String, SocketAddr)>,
    /// Serial ports: the section, and the device where it is named.
    pub(super) serial: Vec<(String, Option<PathBuf>)>,
    /// Connections that all sources allow together.
    pub(super) connections_max: usize,
    /// Bytes that all upstreams may have under way.
    pub(super) inflight_bytes: u64,
    pub(super) secrets: Secrets,
    /// The gateway that runs over `data_dir`, where this user may ask it.
    pub(super) running: Option<RunningGateway>,
    /// Its unit, where the configuration is one of the system.
    pub(super) unit: Option<Unit>,
    /// As whom it runs, or will.
    pub(super) user: User,
}

impl Subject {
    /// A machine on which nothing is configured yet, as `tidegate init` would have it.
    pub(super) fn without_configuration(machine: Machine) -> Subject {
        let unit = machine.unit();
        let user = machine.service_user(None, Path::new(DATA_DIR), true);
        Subject {
            config: None,
            data_dir: DATA_DIR.into(),
            store: None,
            dedup_window: 65_536,
            listens: vec![("a listener".to_owned(), MQTT)],
            serial: machine
                .serial_ports()
                .into_iter()
                .map(|port| ("a source".to_owned(), Some(port.name)))
                .collect(),
            connections_max: LISTEN_CONNECTIONS,
            inflight_bytes: 0,
            secrets: Secrets::default(),
            running: None,
            unit,
            user,
            machine,
        }
    }

    /// A configuration whose text is fine.
    pub(super) fn new(
        machine: Machine,
        path: &Path,
        text: &str,
        config: Option<Config>,
    ) -> Subject {
        let empty = Subject::without_configuration(machine);
        let Some(config) = config else {
            return empty;
        };
        let machine = empty.machine;
        let data_dir = config.gateway.data_dir.clone();
        let running = machine.running_gateway(&data_dir);
        let is_of_system = path.starts_with("/etc");
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        let document = Document::parse(text).ok();
        let table = document.as_ref().map(Document::as_table);
        let (mut listens, serial) = match table {
            Some(table) => sources(table, &folder),
            None => Default::default(),
        };
        listens.extend(
            config
                .api
                .listen
                .map(|address| ("[api]".to_owned(), address)),
        );
        let kinds = config.sources.iter().map(|source| &source.kind);
        Subject {
            unit: empty.unit.filter(|_| is_of_system),
            user: machine.service_user(running, &data_dir, is_of_system),
            config: Some(path.to_owned()),
            data_dir,
            listens,
            serial,
            connections_max: kinds.map(|kind| kind.connections_max()).sum(),
            inflight_bytes: config
                .upstreams
                .iter()
                .map(|upstream| upstream.lane.inflight_bytes_max as u64)
                .sum(),
            dedup_window: config.gateway.dedup_window,
            store: Some(config.store),
            secrets: table.map_or_else(Secrets::default, |table| secrets::find(table, &folder)),
            running,
            machine,
        }
    }
}

type Listens = Vec<(String, SocketAddr)>;
type Serial = Vec<(String, Option<PathBuf>)>;

/// Where sources listen and which ports they open; also of those whose secrets cannot be read here.
fn sources(table: &dyn TableLike, folder: &Path) -> (Listens, Serial) {
    let (mut listens, mut serial) = (Vec::new(), Vec::new());
    let all = table.get("sources").and_then(Item::as_table_like);
    for (name, item) in all.into_iter().flat_map(|all| all.iter()) {
        let Some(source) = item.as_table_like() else {
            continue;
        };
        let title = format!("[sources.{name}]");
        let text = |key: &str| source.get(key).and_then(Item::as_str);
        if let Some(address) = text("listen").and_then(|text| text.parse().ok()) {
            listens.push((title.clone(), address));
        }
        if matches!(text("type"), Some("serial" | "lines")) {
            serial.push((title, text("port").map(|port| folder.join(port))));
        }
    }
    (listens, serial)
}
