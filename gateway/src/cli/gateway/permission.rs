//! What this user may not do at the gateway's files, in words: which file, whose it is, and who may.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::OnceLock;

use nix::unistd::{Gid, Group, Uid, User};
use rustix::fs::Access;
use rustix::io::Errno;

use crate::cli::Failure;

/// Who asked, before this went on as somebody else.
static ASKER: OnceLock<u32> = OnceLock::new();

/// Files of a store that are looked at.
const FILES_MAX: usize = 10_000;
/// Folders within each other below a store.
const DEPTH_MAX: usize = 6;

/// Why a socket at `path` cannot be connected to, and who could.
pub(in crate::cli) fn not_to_look(path: &Path) -> String {
    let what = closed_folder(path).or_else(|| {
        let found = std::fs::metadata(path).ok()?;
        Some(format!("{} {}", path.display(), belongs(&found)))
    });
    let what = what.unwrap_or_else(|| format!("{} is closed", path.display()));
    let owner = owner_of(path);
    format!(
        "{what}, and {} may not look: run this as {owner}, or as a member of the group that `group` in [gateway] names",
        this_user()
    )
}

/// What in the store at `folder` keeps this user from looking at it, if anything does.
pub(in crate::cli) fn not_to_read(folder: &Path) -> Option<String> {
    let closed = closed_folder(&folder.join("format"));
    let what = closed.or_else(|| Walk::to_read().first_closed(folder, DEPTH_MAX))?;
    Some(format!(
        "{what}; {} may not look at this store: run this as {}, or as a member of the group that `group` in [gateway] \
         names: the gateway gives it to them when it starts",
        this_user(),
        owner_of(folder)
    ))
}

/// What in the store at `folder` keeps this user from changing it, if anything does.
pub(in crate::cli) fn not_to_open(folder: &Path) -> Option<String> {
    let closed = closed_folder(&folder.join("format"));
    let what = closed.or_else(|| Walk::to_write().first_closed(folder, DEPTH_MAX))?;
    Some(format!(
        "{what}; {} may not change this store: run this as {}. Members of `group` in [gateway] may look",
        this_user(),
        owner_of(folder)
    ))
}

/// Root goes on as the owner of `folder`: what root wrote into a store, its gateway could not open any more.
///
/// # Errors
/// When that cannot be.
pub(in crate::cli) fn become_owner(folder: &Path) -> Result<(), Failure> {
    let Ok(found) = std::fs::metadata(folder) else {
        return Ok(());
    };
    if !Uid::effective().is_root() || found.uid() == 0 {
        return Ok(());
    }
    ASKER.get_or_init(|| Uid::current().as_raw());
    let (uid, gid) = (Uid::from_raw(found.uid()), Gid::from_raw(found.gid()));
    let become_it = || {
        nix::unistd::setgroups(&[gid])?;
        nix::unistd::setgid(gid)?;
        nix::unistd::setuid(uid)
    };
    become_it().map_err(|error| {
        let user = user(found.uid());
        Failure::new(format!(
            "{} is {user}'s, and what root writes there {user} could not open: going on as {user} failed: {error}",
            folder.display()
        ))
    })
}

/// The number of the user who asked, whoever this goes on as.
pub(in crate::cli) fn asker() -> u32 {
    *ASKER.get_or_init(|| Uid::current().as_raw())
}

/// The first folder on the way to `path` that does not let this user through.
fn closed_folder(path: &Path) -> Option<String> {
    let folders: Vec<&Path> = path.ancestors().skip(1).collect();
    let mut folders = folders.into_iter().rev();
    let closed = folders.find(|folder| {
        let is_named = !folder.as_os_str().is_empty();
        is_named && folder.is_dir() && rustix::fs::access(*folder, Access::EXEC_OK).is_err()
    })?;
    let found = std::fs::metadata(closed).ok()?;
    Some(format!("{} {}", closed.display(), belongs(&found)))
}

/// A look at the files of a store, one after the other.
struct Walk {
    files: usize,
    of_folders: Access,
    of_files: Access,
    /// Beginnings of names that are not looked at.
    but: &'static [&'static str],
}

impl Walk {
    /// Whether all can be read that is looked at: not the documents, the reserve, or what can be done without.
    fn to_read() -> Walk {
        Walk {
            files: FILES_MAX,
            of_folders: Access::READ_OK | Access::EXEC_OK,
            of_files: Access::READ_OK,
            but: &["documents", "ballast", "quarantine", "aside", "snap."],
        }
    }

    /// Whether all can be read and written.
    fn to_write() -> Walk {
        Walk {
            files: FILES_MAX,
            of_folders: Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK,
            of_files: Access::READ_OK | Access::WRITE_OK,
            but: &[],
        }
    }

    /// The first file or folder at or below `path` that this user may not use so.
    fn first_closed(&mut self, path: &Path, depth: usize) -> Option<String> {
        let found = std::fs::metadata(path).ok()?;
        let wanted = match found.is_dir() {
            true => self.of_folders,
            false => self.of_files,
        };
        // On a disk that is mounted to be read nobody may write: that is said by what fails.
        if rustix::fs::access(path, wanted).is_err_and(|error| error != Errno::ROFS) {
            return Some(format!("{} {}", path.display(), belongs(&found)));
        }
        if !found.is_dir() || depth == 0 {
            return None;
        }
        for entry in std::fs::read_dir(path).ok()?.flatten() {
            let name = entry.file_name();
            let name = name.as_encoded_bytes();
            if self.but.iter().any(|but| name.starts_with(but.as_bytes())) {
                continue;
            }
            self.files = self.files.checked_sub(1)?;
            if let Some(closed) = self.first_closed(&entry.path(), depth - 1) {
                return Some(closed);
            }
        }
        None
    }
}

/// `belongs to tidegate:ops (mode 0750)`
fn belongs(found: &Metadata) -> String {
    let group = Group::from_gid(Gid::from_raw(found.gid())).ok().flatten();
    let group = group.map_or_else(|| found.gid().to_string(), |group| group.name);
    let mode = found.permissions().mode() & 0o7777;
    format!("belongs to {}:{group} (mode {mode:04o})", user(found.uid()))
}

/// Who may do everything at `path`: the owner of what can be seen of it.
fn owner_of(path: &Path) -> String {
    let found = path.ancestors().find_map(|at| std::fs::metadata(at).ok());
    match found.map(|found| found.uid()) {
        None | Some(0) => "root".to_owned(),
        Some(uid) => {
            let user = user(uid);
            format!("{user} (`sudo -u {user} tidegate …`) or root")
        }
    }
}

/// The name of a user, or the number of one without.
fn user(uid: u32) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

/// `anna (uid 1001)`
fn this_user() -> String {
    let uid = rustix::process::geteuid().as_raw();
    match user(uid) {
        name if name == uid.to_string() => format!("the user {uid}"),
        name => format!("{name} (uid {uid})"),
    }
}
