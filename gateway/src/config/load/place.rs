//! Where a gateway's data lies: all that a command needs which asks the gateway that runs there, or reads its store.
//! Nothing else of the configuration is looked at: its secrets belong to the service, and whoever looks after a gateway
//! must reach it while its configuration is broken.

use std::path::{Path, PathBuf};

use tidegate_rules::diagnostic::Diagnostic;
use toml_edit::{Document, Item};

use super::{FILE_BYTES_MAX, ROOT, syntax, text_of};
use crate::config::context::{Context, Variables};
use crate::config::gateway::GATEWAY;
use crate::config::key::AnyKey;
use crate::config::section::Section;
use crate::config::store::STORE;

/// Where a gateway's data lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The configuration that says so, unless the command line does.
    pub config: Option<PathBuf>,
    /// `data_dir`
    pub data_dir: PathBuf,
    /// `max_size` of the store, where it can be read.
    pub max_size_bytes: Option<u64>,
    /// `id` of the gateway, where it can be read.
    pub id: Option<String>,
    /// Names of the sources, whatever is wrong with them.
    pub sources: Vec<String>,
    /// Names of the upstreams, whatever is wrong with them.
    pub upstreams: Vec<String>,
}

impl Place {
    /// The folder itself, without a configuration.
    pub fn of_folder(data_dir: PathBuf) -> Place {
        Place {
            config: None,
            data_dir,
            max_size_bytes: None,
            id: None,
            sources: Vec::new(),
            upstreams: Vec::new(),
        }
    }

    /// The folder of the event store.
    pub fn store_dir(&self) -> PathBuf {
        crate::config::gateway::store_dir(&self.data_dir)
    }
}

/// Reads where the gateway of the configuration in the file `path` has its data.
///
/// # Errors
/// What keeps it from being known, and nothing else.
pub fn place(path: &Path) -> Result<Place, Vec<Diagnostic>> {
    let text = text_of(path).or_else(|refused| match std::fs::read(path) {
        // Where what is no text stands elsewhere, the one folder can be read all the same.
        Ok(bytes) if bytes.len() as u64 <= FILE_BYTES_MAX => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            match names_no_text(&text) {
                true => Err(refused),
                false => Ok(text),
            }
        }
        _ => Err(refused),
    })?;
    place_in(path, &text, &|name| std::env::var(name).ok())
}

fn place_in(path: &Path, text: &str, variables: Variables<'_>) -> Result<Place, Vec<Diagnostic>> {
    let file = path.display().to_string();
    let (sound, mistakes) = syntax::sound(&file, text);
    let Ok(document) = Document::parse(sound.as_str()) else {
        return Err(mistakes);
    };
    if leaves_out(text, &sound, GATEWAY.data_dir.name) {
        return Err(mistakes);
    }
    let context = Context::new(path, &file, text, variables, &[]).with_errors(mistakes);
    let data_dir = only(&context, &document, &ROOT.gateway)
        .table(&ROOT.gateway)
        .and_then(|section| section.read(&GATEWAY.data_dir));
    let Some(data_dir) = data_dir else {
        return Err(context.into_diagnostics());
    };
    // What is wrong there is said by `check`.
    let context = Context::new(path, &file, text, variables, &[]);
    let store = only(&context, &document, &ROOT.store).table(&ROOT.store);
    let max_size_bytes = store.map(|section| section.read(&STORE.max_size));
    let is_read = context.into_diagnostics().is_empty();
    Ok(Place {
        config: Some(path.to_owned()),
        data_dir,
        max_size_bytes: max_size_bytes
            .filter(|_| is_read && !leaves_out(text, &sound, STORE.max_size.name)),
        id: id_in(&document),
        sources: names(&document, &ROOT.sources),
        upstreams: names(&document, &ROOT.upstreams),
    })
}

/// Whether a line that may say where the data lies is no text.
fn names_no_text(text: &str) -> bool {
    let mut lines = text.lines();
    lines.any(|line| line.contains(GATEWAY.data_dir.name) && line.contains('\u{fffd}'))
}

/// Whether one of the lines that were left out speaks of `key`: then nobody knows what is meant.
fn leaves_out(text: &str, sound: &str, key: &str) -> bool {
    let mut lines = text.lines().zip(sound.lines());
    lines.any(|(line, left)| line != left && line.contains(key))
}

fn id_in(document: &Document<&str>) -> Option<String> {
    let id = document
        .as_table()
        .get(ROOT.gateway.name)?
        .get(GATEWAY.id.name)?;
    id.as_str().map(str::to_owned)
}

/// The names in a list of sections.
fn names(document: &Document<&str>, list: &AnyKey) -> Vec<String> {
    let table = document.as_table().get(list.name);
    let table = table.and_then(Item::as_table_like);
    let named = table.into_iter().flat_map(|table| table.iter());
    named.map(|(name, _)| name.to_owned()).collect()
}

fn only<'a>(
    context: &'a Context<'a>,
    document: &'a Document<&str>,
    key: &'static AnyKey,
) -> Section<'a> {
    Section::only(context, String::new(), document.as_table(), 0..0, key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Result<(PathBuf, Option<u64>), Vec<String>> {
        let variables = |name: &str| (name == "HOLD").then(|| "/var/hold".to_owned());
        let place = place_in(Path::new("/etc/t/gateway.toml"), text, &variables);
        let place = place.map(|place| (place.data_dir, place.max_size_bytes));
        place.map_err(|found| found.into_iter().map(|one| one.message).collect())
    }

    #[test]
    fn only_the_folder_must_be_readable() {
        let fine = [
            ("data_dir = \"/d\"", "/d", None),
            ("data_dir = \"d\"", "/etc/t/d", None),
            ("data_dir = \"${HOLD}/d\"", "/var/hold/d", None),
            ("data_dri = 1\nid = 7\ndata_dir = \"/d\"", "/d", None),
            ("data_dir = \"/d\"\nrules = \"nowhere\"", "/d", None),
            (
                "data_dir = \"/d\"\n[store]\nmax_size = \"4MiB\"",
                "/d",
                Some(4 << 20),
            ),
            (
                "data_dir = \"/d\"\n[store]\nmax_size = \"4 megs\"",
                "/d",
                None,
            ),
            (
                "data_dir = \"/d\"\n[store]\nmax_sice = \"4MiB\"",
                "/d",
                None,
            ),
            (
                "data_dir = \"/d\"\n[upstreams.a]\ntype = \"mqtt\"\npassword_file = \"/no\"",
                "/d",
                None,
            ),
            (
                "data_dir = \"/d\"\n[sources.a]\ntype = \"what\"\n[nonsense]\na = 1",
                "/d",
                None,
            ),
            (
                "data_dir = \"/d\"\n[upstreams.a]\nuser = \"${NOT_SET}\"",
                "/d",
                None,
            ),
            ("data_dir = \"/d\"\n[sources]\na = 1", "/d", None),
            ("id = = 1\ndata_dir = \"/d\"", "/d", None),
            ("id = \"open\ndata_dir = \"/d\"", "/d", None),
            ("id = 1\nid = 2\ndata_dir = \"/d\"", "/d", None),
            ("data_dir = \"/d\"\n[store\nmax_size = \"4MiB\"", "/d", None),
            ("data_dir = \"/d\"\n[store]\nmax_size = 4MiB", "/d", None),
            (
                "data_dir = \"/d\"\n[sources.a\ntype = 1\n[upstreams.b]\n",
                "/d",
                None,
            ),
            ("data_dir = \"/d\"\n\0\u{7}\n", "/d", None),
            (
                "data_dir = \"/d\"\n[sources.a]\nx = \"\"\"\nno end",
                "/d",
                None,
            ),
        ];
        for (text, folder, max) in fine {
            let text = format!("[gateway]\n{text}\n");
            assert_eq!(found(&text), Ok((folder.into(), max)), "{text}");
        }
    }

    #[test]
    fn what_keeps_it_from_being_known_is_said_and_nothing_else() {
        let wrong = [
            ("", "gateway"),
            ("[gateway]\nid = \"a\"", "`data_dir`"),
            ("gateway = 3", "gateway"),
            ("[gateway]\ndata_dir = 3", "data_dir"),
            ("[gateway]\ndata_dir = \"${NOT_SET}\"", "NOT_SET"),
            ("[gateway\ndata_dir = \"/d\"", ""),
            ("[gateway]\ndata_dir = \"/d", ""),
            ("[gateway]\ndata_dir = /d", ""),
            (
                "[gateway]\ndata_dir = \"/d\"\ndata_dir = \"/e\"",
                "duplicate key",
            ),
            (
                "[gateway]\nid = 1\n[gateway]\ndata_dir = \"/d\"",
                "duplicate key",
            ),
        ];
        for (text, word) in wrong {
            let said = found(text).expect_err(text);
            assert!(
                said.len() == 1 && said[0].contains(word),
                "{text}: {said:?}"
            );
        }
        let said = found("[gateway]\ndata_dri = \"/d\"").expect_err("no folder");
        assert!(
            said.iter().any(|line| line.contains("data_dri")),
            "{said:?}"
        );
    }
}
