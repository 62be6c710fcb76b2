//! Reads `gateway.toml` as a whole: every section, then what must hold between them.

mod conflicts;
mod own_files;
pub(crate) mod place;
mod redact;
pub(crate) mod sketch;
mod syntax;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::Path;

use tidegate_rules::diagnostic::{Diagnostic, Sources, render_all};
use toml_edit::{Document, Item, TableLike};

use super::api::{Api, ApiKeys};
use super::context::{Context, ReadFile, Spanned, Variables};
use super::gateway::{Gateway, GatewayKeys};
use super::key::{Entries, Rows, Table, keys, table, tables};
use super::kinds::{Entry, Kinds, Listed};
use super::lane::{LaneKeys, LaneSettings};
use super::section::Section;
use super::store::dead_letters::{DeadLetterKeys, DeadLetters};
use super::store::{Store, StoreKeys};
use super::value::{files, text};
use super::{Config, SourceSection, UpstreamSection};

/// Bytes a configuration file may hold.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

keys! {
    /// The sections themselves.
    ROOT: RootKeys {
        gateway: Option<Table> = table(GatewayKeys::ROWS).required("who this gateway is"),
        store: Option<Table> = table(StoreKeys::ROWS).optional("all defaults", "the event store"),
        dead_letters: Option<Table> = table(DeadLetterKeys::ROWS).optional("all defaults", "what is kept of events that are set aside"),
        api: Option<Table> = table(ApiKeys::ROWS).optional("no API", "metrics and health over HTTP"),
        sources: Option<Entries> = tables().optional("none", "where events come from"),
        upstreams: Option<Entries> = tables().optional("none", "where events go to"),
    }
}

/// Reads and checks the configuration in the file `path`.
///
/// # Errors
/// Everything that is wrong with it, at least one error, in the order of the file.
pub(crate) fn load<S: Kinds, U: Kinds>(path: &Path) -> Result<Config<S, U>, Vec<Diagnostic>> {
    load_to_run(path).and_then(with_rules)
}

/// The same where the rules folder need not be there, for a gateway that may know its last good rules and for
/// whoever asks one that runs.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_to_run<S: Kinds, U: Kinds>(
    path: &Path,
) -> Result<Config<S, U>, Vec<Diagnostic>> {
    load_again(path, None)
}

/// The same for a gateway that runs under `id`, whatever the file says of that now.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_again<S: Kinds, U: Kinds>(
    path: &Path,
    id: Option<&str>,
) -> Result<Config<S, U>, Vec<Diagnostic>> {
    let text = match id {
        None => text_of(path)?,
        Some(_) => text_again(path)?,
    };
    parse_to_run(path, &text, &|name| std::env::var(name).ok(), (id, &[]))
}

/// What `text` says now that it was read from the file `path` before: its certificates and secrets are read again
/// but for those that are `held`.
///
/// # Errors
/// As [`load`].
pub(crate) fn read_files_again<S: Kinds, U: Kinds>(
    path: &Path,
    text: &str,
    id: &str,
    held: &[ReadFile],
) -> Result<Config<S, U>, Vec<Diagnostic>> {
    let variables = |name: &str| std::env::var(name).ok();
    parse_to_run(path, text, &variables, (Some(id), held))
}

/// The text of the file `path` for a gateway that runs, which must not wait for a pipe.
fn text_again(path: &Path) -> Result<String, Vec<Diagnostic>> {
    decoded(path, files::bytes_of_file(path, FILE_BYTES_MAX))
}

/// The text of the file `path`.
fn text_of(path: &Path) -> Result<String, Vec<Diagnostic>> {
    let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let read = match size > FILE_BYTES_MAX {
        true => Err(ErrorKind::FileTooLarge.into()),
        false => std::fs::read(path),
    };
    decoded(path, read)
}

fn decoded(path: &Path, read: io::Result<Vec<u8>>) -> Result<String, Vec<Diagnostic>> {
    let file = path.display().to_string();
    let bytes = read.map_err(|error| {
        let message = match error.kind() {
            ErrorKind::FileTooLarge => format!("{file} is too large to be meant"),
            _ => format!("cannot read {file}: {}", files::plain(&error)),
        };
        vec![Diagnostic::error(&file, "", 0..0, message)]
    })?;
    text::utf8(bytes).map_err(|error| {
        let text = String::from_utf8_lossy(&error.bytes);
        let span = error.at..error.at + 1;
        vec![Diagnostic::error(&file, &text, span, error.to_string())]
    })
}

/// Refuses what has no rules folder.
fn with_rules<S, U>(config: Config<S, U>) -> Result<Config<S, U>, Vec<Diagnostic>> {
    match config.rules_missing {
        None => Ok(config),
        Some(missing) => {
            let mut found = config.warnings;
            found.push(missing);
            found.sort_by_key(|diagnostic| diagnostic.span.start);
            Err(found)
        }
    }
}

/// Reads and checks `text` as if it stood in the file `path`; `variables` looks up `${NAME}`.
///
/// # Errors
/// As [`load`].
pub(crate) fn parse<S: Kinds, U: Kinds>(
    path: &Path,
    text: &str,
    variables: Variables<'_>,
) -> Result<Config<S, U>, Vec<Diagnostic>> {
    parse_to_run(path, text, variables, (None, &[])).and_then(with_rules)
}

/// What a configuration says, as far as its text goes, whatever is wrong with the files and variables that it names.
#[derive(Debug)]
pub(crate) struct Look<S, U> {
    /// As far as it can be read: a section is missing whose secrets or certificates cannot be.
    pub(crate) config: Option<Config<S, U>>,
    /// What is wrong with the text.
    pub(crate) wrong: Vec<Diagnostic>,
    /// What is wrong with files and variables.
    pub(crate) outside: Vec<Diagnostic>,
}

/// Looks at `text` as if it stood in the file `path`.
pub(crate) fn look<S: Kinds, U: Kinds>(path: &Path, text: &str) -> Look<S, U> {
    let file = path.display().to_string();
    let (sound, errors) = syntax::sound(&file, text);
    let Ok(document) = Document::parse(sound.as_str()) else {
        return Look {
            config: None,
            wrong: errors,
            outside: Vec::new(),
        };
    };
    let variables = |name: &str| std::env::var(name).ok();
    let context = Context::new(path, &file, text, &variables, &[]).with_errors(errors);
    let config = config(&context, path, document.as_table(), None);
    let missing = context.rules_missing();
    let mut outside = context.outside();
    let found = context.into_diagnostics().into_iter();
    let wrong = found.filter(|found| found.is_error() && !outside.contains(found));
    let wrong = wrong.collect();
    outside.extend(missing);
    Look {
        config,
        wrong,
        outside,
    }
}

/// Looks at the file `path`.
///
/// # Errors
/// Why there is no text in it.
pub(crate) fn look_at<S: Kinds, U: Kinds>(
    path: &Path,
) -> Result<(String, Look<S, U>), Vec<Diagnostic>> {
    let text = text_again(path)?;
    let look = look(path, &text);
    Ok((text, look))
}

fn parse_to_run<S: Kinds, U: Kinds>(
    path: &Path,
    text: &str,
    variables: Variables<'_>,
    (id, held): (Option<&str>, &[ReadFile]),
) -> Result<Config<S, U>, Vec<Diagnostic>> {
    let file = path.display().to_string();
    let (sound, errors) = syntax::sound(&file, text);
    let Ok(document) = Document::parse(sound.as_str()) else {
        return Err(errors);
    };
    let context = Context::new(path, &file, text, variables, held).with_errors(errors);
    let config = config(&context, path, document.as_table(), id);
    let rules_missing = context.rules_missing();
    let variables = context.variables().into_iter();
    let variables = variables.map(|(name, value)| (name, files::digest(value.as_bytes())));
    let variables = variables.collect();
    let mut found = context.into_diagnostics();
    match config {
        Some(config) if !found.iter().any(Diagnostic::is_error) => Ok(Config {
            text: text.into(),
            variables,
            warnings: found,
            rules_missing,
            ..config
        }),
        _ => {
            found.extend(rules_missing);
            found.sort_by_key(|diagnostic| diagnostic.span.start);
            Err(found)
        }
    }
}

/// Pictures of all diagnostics, quoting the files they are about with secrets redacted.
pub fn render(diagnostics: &[Diagnostic], color: bool) -> String {
    let mut texts: Vec<(String, String)> = Vec::new();
    for diagnostic in diagnostics {
        let known = texts.iter().any(|(file, _)| *file == diagnostic.file);
        if let (false, Ok(text)) = (known, std::fs::read_to_string(&diagnostic.file)) {
            texts.push((diagnostic.file.clone(), redact::redact(&text)));
        }
    }
    let sources = Sources::new(
        texts
            .iter()
            .map(|(file, text)| (file.as_str(), text.as_str())),
    );
    render_all(diagnostics, &sources, color)
}

fn config<S: Kinds, U: Kinds>(
    context: &Context<'_>,
    path: &Path,
    table: &dyn TableLike,
    id: Option<&str>,
) -> Option<Config<S, U>> {
    let root = Section::open(context, "", Some(table), 0..0, &[RootKeys::ROWS]);
    let gateway = root
        .table(&ROOT.gateway)
        .and_then(|section| Gateway::read(&section));
    let written = gateway.as_ref().map(|gateway| gateway.id.as_str());
    let id = id.or(written).unwrap_or("gateway");
    let store = root
        .table(&ROOT.store)
        .unwrap_or_else(|| Section::open(context, "[store]", None, 0..0, &[StoreKeys::ROWS]));
    let store = Store::read(&store);
    let dead_letters = root.table(&ROOT.dead_letters).unwrap_or_else(|| {
        Section::open(
            context,
            "[dead_letters]",
            None,
            0..0,
            &[DeadLetterKeys::ROWS],
        )
    });
    let dead_letters = DeadLetters::read(&dead_letters, store.max_size_bytes);
    let api = root.table(&ROOT.api).map(|section| Api::read(&section));
    let api = api.unwrap_or_default();
    let sources = read_sources::<S>(&root, id);
    let (lanes, upstreams) = read_upstreams::<U>(&root, id);
    conflicts::check(&root, &sources, &upstreams, &api);
    if let Some(gateway) = &gateway {
        own_files::check(context, path, gateway, &upstreams);
    }
    conflicts::check_letters(&root, &sources, &dead_letters, store.max_size_bytes);
    Some(Config {
        path: path.to_owned(),
        gateway: gateway?,
        store,
        dead_letters,
        api,
        sources: sources.into_iter().map(Read::into_source).collect(),
        upstreams: upstreams
            .into_iter()
            .zip(lanes)
            .map(|(upstream, lane)| upstream.into_upstream(lane))
            .collect(),
        text: "".into(),
        variables: BTreeMap::new(),
        warnings: Vec::new(),
        rules_missing: None,
    })
}

/// A source or upstream that was read, with the place of its name.
struct Read<K> {
    name: Spanned<String>,
    files: Vec<ReadFile>,
    kind: K,
}

impl<K> Read<K> {
    fn into_source(self) -> SourceSection<K> {
        SourceSection {
            name: self.name.value,
            files: self.files,
            kind: self.kind,
        }
    }

    fn into_upstream(self, lane: LaneSettings) -> UpstreamSection<K> {
        UpstreamSection {
            name: self.name.value,
            files: self.files,
            lane,
            kind: self.kind,
        }
    }
}

/// Opens what the sections `[sources.*]` and `[upstreams.*]` share: a name, a type, keys that all have, and keys of the type.
fn open<'a, K: Kinds>(
    root: &Section<'a>,
    name: &Spanned<String>,
    item: &'a Item,
    common: Rows,
) -> Option<(Section<'a>, &'static Listed<K>)> {
    let context = root.context;
    let list = K::LIST.key;
    let Some(table) = item.as_table_like() else {
        let message = format!("`{}` in [{list}] is no section", name.value);
        let error = context.error(name.span.clone(), message);
        context.report(error.with_label(format!("write [{list}.NAME] and its keys below")));
        return None;
    };
    conflicts::check_name(context, &K::LIST, name);
    let title = format!("[{list}.{}]", name.value);
    let written = table.get(K::TYPE.name).and_then(Item::as_str);
    let Some(kind) = written.and_then(K::named) else {
        let place = name.span.clone();
        report_type::<K>(
            &Section::only(context, title, table, place, K::TYPE),
            written,
        );
        return None;
    };
    let shared = kind.shared.iter().map(|group| group.keys);
    let lists: Vec<Rows> = [&[K::TYPE], common, kind.keys]
        .into_iter()
        .chain(shared)
        .collect();
    let section = Section::open(context, title, Some(table), name.span.clone(), &lists);
    Some((section, kind))
}

/// Reports a type that is missing or unknown. The other keys depend on it and are not looked at.
fn report_type<K: Kinds>(section: &Section<'_>, written: Option<&str>) {
    match written.filter(|kind| K::LIST.later.contains(kind)) {
        Some(kind) => {
            let one = K::LIST.one;
            let message = format!("the {one} `{kind}` comes with a later version");
            let error = section.error(K::TYPE, message);
            let known = in_a_sentence(&super::kinds::names::<K>());
            section
                .context
                .report(error.with_note(format!("this version has {known}")));
        }
        None => {
            section.word(K::TYPE, &super::kinds::names::<K>());
        }
    }
}

/// `a, b and c`
fn in_a_sentence(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}

fn read_sources<S: Kinds>(root: &Section<'_>, gateway_id: &str) -> Vec<Read<S>> {
    let mut read = Vec::new();
    for (name, item) in root.entries(&ROOT.sources) {
        let Some((section, kind)) = open::<S>(root, &name, item, &[]) else {
            continue;
        };
        let entry = Entry {
            gateway_id,
            name: &name.value,
        };
        root.context.take_read_files();
        if let Some(kind) = kind.read(&section, &entry) {
            let files = root.context.take_read_files();
            read.push(Read { name, files, kind });
        }
    }
    read
}

fn read_upstreams<U: Kinds>(
    root: &Section<'_>,
    gateway_id: &str,
) -> (Vec<LaneSettings>, Vec<Read<U>>) {
    let mut read = (Vec::new(), Vec::new());
    for (name, item) in root.entries(&ROOT.upstreams) {
        let Some((section, kind)) = open::<U>(root, &name, item, LaneKeys::ROWS) else {
            continue;
        };
        let lane = LaneSettings::read(&section);
        let entry = Entry {
            gateway_id,
            name: &name.value,
        };
        root.context.take_read_files();
        if let Some(kind) = kind.read(&section, &entry) {
            let files = root.context.take_read_files();
            read.0.push(lane);
            read.1.push(Read { name, files, kind });
        }
    }
    read
}
