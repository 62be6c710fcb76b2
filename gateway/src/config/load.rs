//! Reads `gateway.toml` as a whole: every section, then what must hold between them.

use std::path::Path;
use std::time::Duration;

use tidegate_rules::diagnostic::{Diagnostic, Sources, render_all};
use toml_edit::{Document, Item, TableLike};

use super::key::Key;
use super::reading::{Reading, Variables};
use super::section::{Found, Section};
use super::{
    Api, Config, Gateway, Source, Store, Upstream, WhenFull, address, between, files, keys, mask,
    sources, upstreams,
};

/// Bytes a configuration file may hold.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Characters of a gateway's id.
const ID_CHARACTERS_MAX: usize = 64;

/// Reads and checks the configuration in the file `path`.
///
/// # Errors
/// Everything that is wrong with it, at least one error, in the order of the file.
pub fn load(path: &Path) -> Result<Config, Vec<Diagnostic>> {
    let file = path.display().to_string();
    let refused = |message: String| vec![Diagnostic::error(&file, "", 0..0, message)];
    let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    if size > FILE_BYTES_MAX {
        return Err(refused(format!("{file} is too large to be meant")));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| refused(format!("cannot read {file}: {}", files::plain(&error))))?;
    parse(path, &text, &|name| std::env::var(name).ok())
}

/// Reads and checks `text` as if it stood in the file `path`; `variables` looks up `${NAME}`.
///
/// # Errors
/// As [`load`].
pub fn parse(path: &Path, text: &str, variables: Variables<'_>) -> Result<Config, Vec<Diagnostic>> {
    let file = path.display().to_string();
    let document = Document::parse(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        vec![Diagnostic::error(&file, text, span, message)]
    })?;
    let reading = Reading::new(path, &file, text, variables);
    let config = config(&reading, path, document.as_table());
    let noted = reading.into_noted();
    match config {
        Some(config) if !noted.iter().any(Diagnostic::is_error) => Ok(Config {
            warnings: noted,
            ..config
        }),
        _ => Err(noted),
    }
}

/// Pictures of all diagnostics, quoting the files they are about with secrets hidden.
pub fn render(diagnostics: &[Diagnostic], color: bool) -> String {
    let mut texts: Vec<(String, String)> = Vec::new();
    for diagnostic in diagnostics {
        let known = texts.iter().any(|(file, _)| *file == diagnostic.file);
        if let (false, Ok(text)) = (known, std::fs::read_to_string(&diagnostic.file)) {
            texts.push((diagnostic.file.clone(), mask::mask(&text)));
        }
    }
    let sources = Sources::new(
        texts
            .iter()
            .map(|(file, text)| (file.as_str(), text.as_str())),
    );
    render_all(diagnostics, &sources, color)
}

fn config(reading: &Reading<'_>, path: &Path, table: &dyn TableLike) -> Option<Config> {
    let root = Section::open(reading, "", Some(table), 0..0, &[keys::ROOT]);
    let gateway = root.table("gateway").and_then(|section| gateway(&section));
    let id = gateway
        .as_ref()
        .map_or("gateway", |gateway| gateway.id.as_str());
    let store = store(&section_or_defaults(&root, "store", keys::STORE));
    let api = api(&root);
    let sources = read_sources(&root, id);
    let upstreams = read_upstreams(&root, id);
    between::check(&root, &sources, &upstreams, &api);
    Some(Config {
        path: path.to_owned(),
        gateway: gateway?,
        store,
        api,
        sources: sources.into_iter().map(|(_, source)| source).collect(),
        upstreams: upstreams
            .into_iter()
            .map(|(_, upstream)| upstream)
            .collect(),
        warnings: Vec::new(),
    })
}

fn section_or_defaults<'a>(root: &Section<'a>, name: &str, keys: &'static [Key]) -> Section<'a> {
    root.table(name)
        .unwrap_or_else(|| Section::open(root.reading, format!("[{name}]"), None, 0..0, &[keys]))
}

fn gateway(section: &Section<'_>) -> Option<Gateway> {
    let id = section.text("id");
    if let Some(id) = &id {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let sensible = (1..=ID_CHARACTERS_MAX).contains(&id.value.len());
        if !sensible || !id.value.chars().all(fits) {
            let message = format!("`{}` is no id of a gateway", id.value);
            let note = "an id has 1 to 64 letters, digits, `.`, `_` or `-`";
            section
                .reading
                .note(section.error("id", message).with_note(note));
        }
    }
    let data_dir = files::path(section, "data_dir");
    let rules = section
        .has("rules")
        .then(|| files::folder(section, "rules"));
    let shutdown_max = section.duration("shutdown_max");
    let dedup_window = section.number("dedup_window");
    Some(Gateway {
        id: id?.value,
        data_dir: data_dir?,
        rules: rules.flatten(),
        shutdown_max,
        dedup_window,
    })
}

fn store(section: &Section<'_>) -> Store {
    let when_full = match section.choice("when_full") {
        "shed" => WhenFull::Shed,
        _ => WhenFull::Refuse,
    };
    let expire_after = section
        .has("expire_after")
        .then(|| section.duration("expire_after"));
    let endurance_bytes = section.has("endurance").then(|| section.size("endurance"));
    let commit_delay_max = section.duration("commit_delay_max");
    let store = Store {
        max_size_bytes: section.size("max_size"),
        commit_delay: commit_delay(section, commit_delay_max),
        commit_delay_max,
        when_full,
        expire_after,
        keep_for: section.duration("keep_for"),
        endurance_bytes,
        free_min_bytes: section.size("free_min"),
        generation_bytes: section.size("generation_size"),
    };
    Store {
        generation_bytes: generation_bytes(section, &store),
        ..store
    }
}

/// It lies within its bound.
fn commit_delay(section: &Section<'_>, delay_max: Duration) -> Duration {
    let delay = section.duration("commit_delay");
    if delay > delay_max {
        let message = "`commit_delay` is more than `commit_delay_max`";
        let error = section
            .error("commit_delay", message)
            .with_label("raise commit_delay_max as well")
            .with_note("an acknowledgement never waits for longer than commit_delay_max");
        section.reading.note(error);
    }
    delay
}

/// Eight generations fit under the cap: disk space is given back one at a time. The default gives way by itself, what
/// somebody wrote does not.
fn generation_bytes(section: &Section<'_>, store: &Store) -> u64 {
    let eighth = (store.max_size_bytes / 8).max(1);
    if store.generation_bytes > eighth && section.has("generation_size") {
        let text = super::unit::size_text(eighth);
        let message = "`generation_size` is more than an eighth of `max_size`";
        let error = section
            .error("generation_size", message)
            .with_label(format!("write generation_size = \"{text}\" or less"))
            .with_note("disk space is given back one generation at a time");
        section.reading.note(error);
    }
    store.generation_bytes.min(eighth)
}

fn api(root: &Section<'_>) -> Api {
    if !root.has("api") {
        return Api::default();
    }
    let Some(section) = root.table("api") else {
        return Api::default();
    };
    let anonymous = section.flag("anonymous").unwrap_or_default();
    let hosts = section.texts("hosts");
    let Some(listen) = address::listen(&section) else {
        return Api::default();
    };
    if !listen.value.ip().is_loopback() && !anonymous {
        let message = format!(
            "{} can be reached from other machines and asks for no login",
            listen.value
        );
        let error = section
            .error("listen", message)
            .with_label(format!(
                "write 127.0.0.1:{} to stay on this machine",
                listen.value.port()
            ))
            .with_note(
                "or add anonymous = true if everyone on the network may read metrics and status",
            );
        section.reading.note(error);
    }
    Api {
        listen: Some(listen.value),
        hosts: hosts
            .into_iter()
            .map(|found| found.value.to_lowercase())
            .collect(),
    }
}

/// What the sections `[sources.*]` and `[upstreams.*]` share: a name, a type and keys of the type.
fn entry<'a>(
    root: &Section<'a>,
    list: &str,
    name: &Found<String>,
    item: &'a Item,
    keys_of: impl Fn(&str) -> Option<Vec<&'static [Key]>>,
) -> Option<(Section<'a>, String)> {
    let reading = root.reading;
    let Some(table) = item.as_table_like() else {
        let message = format!("`{}` in [{list}] is no section", name.value);
        let error = reading.error(name.span.clone(), message);
        reading.note(error.with_label(format!("write [{list}.NAME] and its keys below")));
        return None;
    };
    between::check_name(reading, list, name);
    let title = format!("[{list}.{}]", name.value);
    let kind = table.get("type").and_then(Item::as_str).unwrap_or_default();
    if let Some(lists) = keys_of(kind) {
        let section = Section::open(reading, title, Some(table), name.span.clone(), &lists);
        return Some((section, kind.to_owned()));
    }
    note_type(reading, list, title, table, name);
    None
}

/// Notes a type that is missing or unknown. The other keys depend on it and are not looked at.
fn note_type(
    reading: &Reading<'_>,
    list: &str,
    title: String,
    table: &dyn TableLike,
    name: &Found<String>,
) {
    let known = if list == "sources" {
        keys::SOURCE
    } else {
        &keys::LANE[..1]
    };
    let written = table.get("type").and_then(Item::as_str);
    let section = Section::only(reading, title, table, name.span.clone(), known);
    match written.filter(|kind| list == "upstreams" && upstreams::LATER.contains(kind)) {
        Some(kind) => {
            let message = format!("the upstream `{kind}` comes with a later version");
            let error = section.error("type", message);
            reading.note(error.with_note("this version has mqtt, http and file"));
        }
        None => {
            section.choice("type");
        }
    }
}

fn read_sources(root: &Section<'_>, id: &str) -> Vec<(Found<String>, Source)> {
    let mut read = Vec::new();
    for (name, item) in root.entries("sources") {
        let Some((section, kind)) = entry(root, "sources", &name, item, sources::keys_of) else {
            continue;
        };
        if let Some(kind) = sources::source(&section, &kind, id, &name.value) {
            let source = Source {
                name: name.value.clone(),
                kind,
            };
            read.push((name, source));
        }
    }
    read
}

fn read_upstreams(root: &Section<'_>, id: &str) -> Vec<(Found<String>, Upstream)> {
    let mut read = Vec::new();
    for (name, item) in root.entries("upstreams") {
        let Some((section, kind)) = entry(root, "upstreams", &name, item, upstreams::keys_of)
        else {
            continue;
        };
        let lane = upstreams::lane(&section);
        if let Some(kind) = upstreams::upstream(&section, &kind, id, &name.value) {
            let upstream = Upstream {
                name: name.value.clone(),
                lane,
                kind,
            };
            read.push((name, upstream));
        }
    }
    read
}
