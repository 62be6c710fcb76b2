//! What the configuration alone does not tell, and the machine does: whether the gateway could start here, now.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use rustix::fs::{Access, access};
use tidegate_rules::diagnostic::Diagnostic;

use super::Config;
use crate::config::kinds::{Claim, Kinds};
use crate::config::value::address::cannot_listen;
use crate::config::{SOCKET, store_dir};
use crate::control;

/// What keeps the gateway from starting: its folder cannot be used. `check` and `run` both say it.
pub(crate) fn objections(config: &Config) -> Vec<Diagnostic> {
    let gateway = &config.gateway;
    let data_dir = &gateway.data_dir;
    let found = link_objection(data_dir)
        .or_else(|| folder_objection(data_dir))
        .or_else(|| control::socket_objection(data_dir))
        .or_else(|| inside_objection(data_dir));
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
    let socket = config.gateway.data_dir.join(SOCKET);
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
    let group = config.gateway.group.as_deref();
    let group = group.and_then(control::group_objection).map(|why| {
        let warning = Diagnostic::warning(&file, "", 0..0, why);
        warning.with_note("a gateway that starts says so, and keeps its socket for its owner alone")
    });
    let taken = sources.chain(api).filter_map(|(section, address)| {
        let why = address_objection(address)?;
        let warning = Diagnostic::warning(&file, "", 0..0, format!("{section} {why}"));
        Some(warning.with_note("a gateway that starts says so and tries again until it can"))
    });
    taken.chain(group).collect()
}

/// Why nothing can be made in a folder, and whether that was tried: where the permissions allow it, some file systems take
/// nothing all the same.
fn write_objection(folder: &Path) -> Option<(std::io::Error, bool)> {
    if let Err(why) = access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        return Some((why.into(), false));
    }
    let tried = folder.join(format!(".tidegate-{}", std::process::id()));
    match std::fs::create_dir(&tried) {
        Ok(()) => {
            let _ = std::fs::remove_dir(&tried);
            None
        }
        // On a full disk a gateway starts, and waits for room.
        Err(why) => (!control::is_no_space(&why)).then_some((why, true)),
    }
}

fn address_objection(address: SocketAddr) -> Option<String> {
    let error = TcpListener::bind(address).err()?;
    Some(cannot_listen(address, &error))
}

/// Why `data_dir` leads nowhere, where it is a link.
fn link_objection(data_dir: &Path) -> Option<(String, String)> {
    let target = std::fs::read_link(data_dir).ok()?;
    if data_dir.exists() {
        return None;
    }
    let (shown, target) = (data_dir.display(), target.display());
    let message = format!("data_dir {shown} is a link to {target}, where nothing is");
    let note = format!("make what it leads to, mount the disk, or remove the link: `rm {shown}`");
    Some((message, note))
}

/// What stands in `data_dir` where the gateway's own should be.
fn inside_objection(data_dir: &Path) -> Option<(String, String)> {
    let note = |path: &Path| format!("move it away: `mv {0} {0}.old`", path.display());
    let (store, socket) = (store_dir(data_dir), data_dir.join(SOCKET));
    if std::fs::symlink_metadata(&store).is_ok() && !store.is_dir() {
        let message = format!("{} is no folder, and the store is one", store.display());
        return Some((message, note(&store)));
    }
    let fresh = control::fresh_socket(&socket);
    let folder = [socket, fresh].into_iter().find(|path| path.is_dir())?;
    let message = format!(
        "{} is a folder, and the control socket is made there",
        folder.display()
    );
    Some((message, note(&folder)))
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
    let (why, is_tried) = write_objection(there)?;
    let is_read_only = why.kind() == ErrorKind::ReadOnlyFilesystem;
    let message = match is_itself {
        true => format!("data_dir {shown} cannot be written by this user: {why}"),
        false => format!(
            "data_dir {shown} cannot be made by this user: {} cannot be written: {why}",
            there.display()
        ),
    };
    let note = match is_itself {
        _ if is_read_only => format!(
            "mount {} for writing (`mount -o remount,rw`), or name another data_dir",
            there.display()
        ),
        _ if is_tried => "no folder can be made there; name another data_dir".to_owned(),
        true => format!(
            "run this as the user whose it is, or give it to the gateway's: `chown USER {shown}`"
        ),
        false => format!(
            "make it, and give it to the gateway's user: `mkdir -p {shown}; chown USER {shown}`"
        ),
    };
    Some((message, note))
}
