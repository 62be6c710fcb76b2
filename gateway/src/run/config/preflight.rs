//! What the configuration alone does not tell, and the machine does: whether the gateway could start here, now.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use rustix::fs::{Access, access};
use tidegate_rules::diagnostic::Diagnostic;

use super::Config;
use crate::config::kinds::{Claim, Kinds};
use crate::config::value::address::cannot_listen;
use crate::control;

/// What keeps the gateway from starting: its folder cannot be used. `check` and `run` both say it.
pub(crate) fn objections(config: &Config) -> Vec<Diagnostic> {
    let gateway = &config.gateway;
    let found = folder_objection(&gateway.data_dir)
        .or_else(|| control::socket_objection(&gateway.data_dir));
    let at_key = |(message, note): (String, String)| {
        let text = std::fs::read_to_string(&config.path).unwrap_or_default();
        let file = config.path.display().to_string();
        let span = gateway.data_dir_span.clone();
        Diagnostic::error(&file, &text, span, message).with_note(note)
    };
    found.map(at_key).into_iter().collect()
}

/// What a gateway would start with and tell as a trouble: somebody else has an address. Nobody has where the gateway
/// itself runs.
pub(crate) fn warnings(config: &Config) -> Vec<Diagnostic> {
    let socket = config.gateway.data_dir.join(control::SOCKET);
    if std::os::unix::net::UnixStream::connect(socket).is_ok() {
        return Vec::new();
    }
    let sources = config.sources.iter().filter_map(|source| {
        let Some(Claim::Address(address)) = source.kind.claim() else {
            return None;
        };
        Some((format!("[sources.{}]", source.name), address))
    });
    let api = config
        .api
        .listen
        .map(|address| ("[api]".to_owned(), address));
    let file = config.path.display().to_string();
    let taken = sources.chain(api).filter_map(|(section, address)| {
        let why = address_objection(address)?;
        let warning = Diagnostic::warning(&file, "", 0..0, format!("{section} {why}"));
        Some(warning.with_note("a gateway that starts says so and tries again until it can"))
    });
    taken.collect()
}

fn address_objection(address: SocketAddr) -> Option<String> {
    let error = TcpListener::bind(address).err()?;
    Some(cannot_listen(address, &error))
}

/// Why nothing can be stored in `data_dir`, and what to do. A folder that is missing is made.
fn folder_objection(data_dir: &Path) -> Option<(String, String)> {
    let shown = data_dir.display();
    let there = data_dir.ancestors().find(|folder| folder.exists());
    let here = Path::new(".");
    let there = there.filter(|folder| !folder.as_os_str().is_empty());
    let there = there.unwrap_or(here);
    let is_itself = there == data_dir;
    if !there.is_dir() {
        let message = match is_itself {
            true => format!("data_dir {shown} is a file"),
            false => format!(
                "data_dir {shown} cannot be made: {} is a file",
                there.display()
            ),
        };
        return Some((message, "name a folder".to_owned()));
    }
    let why = access(there, Access::WRITE_OK | Access::EXEC_OK).err()?;
    let why = std::io::Error::from(why);
    let message = match is_itself {
        true => format!("data_dir {shown} cannot be written by this user: {why}"),
        false => format!(
            "data_dir {shown} cannot be made by this user: {} cannot be written: {why}",
            there.display()
        ),
    };
    let note = match is_itself {
        true => format!(
            "run this as the user whose it is, or give it to the gateway's: `chown USER {shown}`"
        ),
        false => format!(
            "make it, and give it to the gateway's user: `mkdir -p {shown}; chown USER {shown}`"
        ),
    };
    Some((message, note))
}
