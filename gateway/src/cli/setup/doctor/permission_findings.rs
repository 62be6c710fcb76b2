//! Who may read secrets, and who may write where the data lies.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::Access as Wanted;

use super::subject::Subject;
use super::{Finding, Severity};
use crate::cli::setup::machine::mounts::existing;
use crate::cli::setup::machine::serial::Access;

const WRITE_AND_SEARCH: u32 = 3;
const OTHERS: u32 = 0o007;
const OTHERS_READ: u32 = 0o004;
const OTHERS_WRITE: u32 = 0o002;
const GROUP_READ_OR_WRITE: u32 = 0o060;
const STICKY: u32 = 0o1000;

pub(super) fn all(subject: &Subject) -> Vec<Finding> {
    let files = subject.secrets.files.iter();
    let files = files.filter_map(|file| secret(subject, file));
    let found = files.chain(inline(subject)).chain(data_dir(subject));
    found.collect()
}

fn secret(subject: &Subject, file: &Path) -> Option<Finding> {
    let found = std::fs::metadata(file).ok()?;
    let mode = found.mode() & 0o777;
    let shown = file.display();
    if mode & OTHERS != 0 {
        let message = format!(
            "{shown} holds a secret and is open to everyone on this machine (mode {mode:04o}); the gateway refuses to start \
             with it"
        );
        let remedy = format!("`chmod o-rwx {shown}`");
        return Some(Finding::new(
            "secret-readable",
            Severity::Error,
            message,
            remedy,
        ));
    }
    let own = subject.user.gids.first();
    let is_own = found.gid() == 0 || own == Some(&found.gid());
    if mode & GROUP_READ_OR_WRITE == 0 || is_own {
        return None;
    }
    let group = subject.machine.group_name(found.gid());
    let message = format!(
        "{shown} holds a secret, and everybody in the group {group} may read it (mode {mode:04o})"
    );
    let remedy = format!("`chmod g-rwx {shown}`, or give it to the gateway's own group");
    Some(Finding::new(
        "secret-readable",
        Severity::Warning,
        message,
        remedy,
    ))
}

/// The configuration itself, where it holds what a secret can be guessed from.
fn inline(subject: &Subject) -> Option<Finding> {
    let config = subject.config.as_ref()?;
    let first = subject.secrets.inline.first()?;
    let mode = std::fs::metadata(config).ok()?.mode() & 0o777;
    if mode & OTHERS_READ == 0 {
        return None;
    }
    let shown = config.display();
    let others = match subject.secrets.inline.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    let message = format!(
        "{shown} holds {first}{others}, and everyone on this machine may read it (mode {mode:04o})"
    );
    let remedy = format!(
        "move it into a file of mode 0600 (password_hash_file, bearer_file), or `chmod o-r {shown}`"
    );
    Some(Finding::new(
        "secret-readable",
        Severity::Warning,
        message,
        remedy,
    ))
}

fn data_dir(subject: &Subject) -> Vec<Finding> {
    let folder = &subject.data_dir;
    let shown = folder.display();
    let found = |severity, message: String, remedy: String| {
        Finding::new("data-dir-permissions", severity, message, remedy)
    };
    let Ok(metadata) = std::fs::metadata(folder) else {
        return not_there(subject).into_iter().collect();
    };
    if !metadata.is_dir() {
        let message = format!("data_dir {shown} is no folder");
        return vec![found(Severity::Error, message, "name a folder".to_owned())];
    }
    let mut all = Vec::new();
    let user = &subject.user.name;
    if let Some(why) = not_writable(subject, folder) {
        let message =
            format!("data_dir {shown} cannot be written by the gateway's user {user}: {why}");
        let remedy = match &*why {
            READ_ONLY => format!(
                "mount it for writing (`mount -o remount,rw`), or name another data_dir than {shown}"
            ),
            _ => format!("`chown -R {user} {shown}`, or run the gateway as the user whose it is"),
        };
        all.push(found(Severity::Error, message, remedy));
    } else if let Some(owner) = other_owner(subject, folder) {
        let message =
            format!("what lies in {shown} belongs to {owner}, and the gateway runs as {user}");
        let remedy = format!("`chown -R {user} {shown}`");
        all.push(found(Severity::Error, message, remedy));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS_WRITE != 0 {
        let sticky = match mode & STICKY {
            0 => "remove or replace the store",
            _ => "put files there in the gateway's name",
        };
        let message = format!(
            "everyone on this machine may write to data_dir {shown} (mode {mode:04o}) and {sticky}"
        );
        let remedy = format!("`chmod o-rwx {shown}`");
        all.push(found(Severity::Error, message, remedy));
    }
    all
}

const READ_ONLY: &str = "its file system is mounted to be read only";

/// The nearest folder above must take it, unless the service manager makes it.
fn not_there(subject: &Subject) -> Option<Finding> {
    let folder = subject.data_dir.display();
    let there = existing(&subject.data_dir)?;
    let why = match there.is_dir() {
        false => format!("{} is a file", there.display()),
        true => not_writable(subject, &there)?,
    };
    if subject.unit.is_some() && subject.data_dir.starts_with("/var/lib") && why != READ_ONLY {
        return None;
    }
    let user = &subject.user.name;
    let message = format!(
        "data_dir {folder} is not there, and the gateway's user {user} cannot make it in {}: {why}",
        there.display()
    );
    let remedy = format!("`install -d -m 0750 -o {user} {folder}`");
    Some(Finding::new(
        "data-dir-permissions",
        Severity::Error,
        message,
        remedy,
    ))
}

/// Why the gateway's user cannot make files in a folder that is there.
fn not_writable(subject: &Subject, folder: &Path) -> Option<String> {
    let mount = subject.machine.mount_of(folder);
    if mount.is_some_and(|mount| mount.is_read_only()) {
        return Some(READ_ONLY.to_owned());
    }
    let metadata = std::fs::metadata(folder).ok()?;
    let access = Access {
        uid: metadata.uid(),
        gid: metadata.gid(),
        mode: metadata.mode() & 0o777,
    };
    let is_me = subject.user.uid == rustix::process::geteuid().as_raw();
    let may = match is_me {
        // The system knows of lists of permissions, too.
        true => rustix::fs::access(folder, Wanted::WRITE_OK | Wanted::EXEC_OK).is_ok(),
        false => subject.user.may(access, WRITE_AND_SEARCH),
    };
    let machine = &subject.machine;
    (!may).then(|| {
        let (owner, group) = (
            machine.user_numbered(access.uid).name,
            machine.group_name(access.gid),
        );
        format!("it belongs to {owner}:{group} (mode {:04o})", access.mode)
    })
}

/// Who else has the folder or the store in it.
fn other_owner(subject: &Subject, folder: &Path) -> Option<String> {
    let all = [folder.join("store"), folder.join("tidegate.lock")];
    let owners = all
        .iter()
        .filter_map(|path| std::fs::symlink_metadata(path).ok());
    let mut others = owners
        .map(|found| found.uid())
        .filter(|uid| *uid != subject.user.uid);
    let other = others.next().filter(|_| subject.user.uid != 0)?;
    Some(subject.machine.user_numbered(other).name)
}
