//! Files that the configuration points at: folders, certificates and secrets.
//!
//! They are looked at when the configuration is read, so that a missing file or an open secret
//! is found by `tidegate check` and not by the first connection at night.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::pem::{Objection, Wanted};
use super::secret::Secret;
use super::text::{BYTE_ORDER_MARK, utf8};
use crate::config::context::ReadFile;
use crate::config::key::{AnyKey, Key, Text};
use crate::config::section::Section;

/// Bytes a certificate or secret file may hold; more is some other file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Permission bits that let everybody on the machine in.
const OTHERS: u32 = 0o007;

/// The folder of the rules under `key`, which must exist but for a gateway that knows its last good ones.
pub(crate) fn rules_folder(section: &Section<'_>, key: &Key<Option<PathBuf>>) -> Option<PathBuf> {
    let path = section.read(key)?;
    if path.is_dir() {
        return Some(path);
    }
    let what = if path.exists() {
        "is not a folder"
    } else {
        "does not exist"
    };
    let error = section.error(key, format!("{} {what}", path.display()));
    let note = format!(
        "create it with `mkdir -p {}` and write rules, or take `rules` out: every event goes to every upstream then",
        path.display()
    );
    section.context.report_rules_missing(error.with_note(note));
    Some(path)
}

/// The PEM file of certificates under `key`, which must hold at least one.
pub(crate) fn certificates(section: &Section<'_>, key: &Key<Option<PathBuf>>) -> Option<PathBuf> {
    pem(section, key, Wanted::Certificate, Reader::Anybody)
}

/// The PEM private key under `key`, which others must not be able to read.
pub(crate) fn private_key(section: &Section<'_>, key: &Key<Option<PathBuf>>) -> Option<PathBuf> {
    pem(section, key, Wanted::PrivateKey, Reader::Own)
}

fn pem(
    section: &Section<'_>,
    key: &Key<Option<PathBuf>>,
    wanted: Wanted,
    by: Reader,
) -> Option<PathBuf> {
    let path = section.read(key)?;
    let shown = path.display().to_string();
    let text = read(section, key, &path, by, &|bytes| {
        wanted.binary(&shown, bytes)
    })?;
    match wanted.objection(&shown, &text) {
        None => Some(path),
        Some((what, note)) => {
            let error = section.error(key, format!("{shown} {what}"));
            section.context.report_outside(error.with_note(note));
            None
        }
    }
}

/// The secret in the file under `key`, without the line end an editor leaves.
pub(crate) fn secret(section: &Section<'_>, key: &Key<Option<PathBuf>>) -> Option<Secret> {
    let path = section.read(key)?;
    let text = read(section, key, &path, Reader::Own, &|_| None)?;
    let secret = text.trim_end_matches(['\n', '\r']);
    if let Some((why, note)) = no_secret(secret, &path) {
        let error = section.error(key, format!("{} {why}", path.display()));
        section.context.report_outside(error.with_note(note));
        return None;
    }
    Some(Secret::new(secret))
}

/// Why a file of this text holds no secret, and what to do: nobody could tell by its looks.
fn no_secret(text: &str, path: &Path) -> Option<(String, String)> {
    let path = path.display();
    if text.trim().is_empty() {
        return Some(("is empty".to_owned(), "write the secret into it".to_owned()));
    }
    if text.starts_with(BYTE_ORDER_MARK) {
        let why = "begins with a byte order mark, which would be a part of the secret";
        let note = format!("save it without one, or run `sed -i '1s/^\\xEF\\xBB\\xBF//' {path}`");
        return Some((why.to_owned(), note));
    }
    let lines = text.lines().count();
    if lines > 1 {
        let why = format!("has {lines} lines, and a secret is one");
        return Some((why, "keep the line that is meant".to_owned()));
    }
    let control = text.chars().find(|c| c.is_control())?;
    let why = format!("holds the control character U+{:04X}", u32::from(control));
    Some((why, "write the secret into it anew".to_owned()))
}

/// The secret in `key`, which may only name a variable, or in the file under `file_key`.
pub(crate) fn secret_or_file(
    section: &Section<'_>,
    key: &Key<Option<Text>>,
    file_key: &Key<Option<PathBuf>>,
) -> Option<Secret> {
    if section.has(key) && section.has(file_key) {
        let message = format!(
            "`{}` and `{}` say the same thing twice",
            key.name, file_key.name
        );
        section.report(file_key, message);
    }
    if !section.has(key) {
        return secret(section, file_key);
    }
    let written = section.raw_text(key).unwrap_or("${}");
    if !is_variable(written) {
        let error = section.error(key, format!("`{}` is written into the file", key.name));
        let note = format!(
            "write {} = \"a file of mode 0600\", or {} = \"${{VARIABLE}}\"",
            file_key.name, key.name
        );
        section
            .context
            .report(error.with_label("a secret never is").with_note(note));
        return None;
    }
    section.read(key).map(|found| Secret::new(found.value))
}

/// Whether `text` is one `${VARIABLE}` and nothing else.
fn is_variable(text: &str) -> bool {
    text.strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|name| !name.contains(['$', '{', '}']))
}

/// Who may read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    Anybody,
    /// Only its user and group.
    Own,
}

/// The text of a file; `other` says of what is none whether it is something that is known.
fn read(
    section: &Section<'_>,
    key: &AnyKey,
    path: &Path,
    by: Reader,
    other: &dyn Fn(&[u8]) -> Option<Objection>,
) -> Option<Arc<str>> {
    if let Some(held) = section.context.held(path) {
        section.context.has_read(held.clone());
        return Some(Arc::clone(&held.text));
    }
    let bytes = match bytes_of_file(path, FILE_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::FileTooLarge => {
            let message = format!("{} is too large to be meant", path.display());
            section.context.report_outside(section.error(key, message));
            return None;
        }
        Err(error) => {
            let why = plain(&error);
            let message = format!("cannot read {}: {why}", path.display());
            section.context.report_outside(section.error(key, message));
            return None;
        }
    };
    let text: Arc<str> = match utf8(bytes) {
        Ok(text) => text.into(),
        Err(error) => {
            let shown = path.display();
            let told = match other(&error.bytes) {
                Some((what, note)) => section
                    .error(key, format!("{shown} {what}"))
                    .with_note(note),
                None => section.error(key, format!("{shown}: {error}")),
            };
            section.context.report_outside(told);
            return None;
        }
    };
    section.context.has_read(ReadFile {
        path: path.to_owned(),
        digest: digest(text.as_bytes()),
        text: Arc::clone(&text),
    });
    (by == Reader::Anybody || is_closed(section, key, path)).then_some(text)
}

/// The bytes of a file, which is one: reading a pipe or a device may never end.
pub(in crate::config) fn bytes_of_file(path: &Path, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let mut options = File::options();
    // A pipe would be waited for while it is opened, until somebody writes to it.
    options.read(true).custom_flags(O_NONBLOCK);
    let file = options.open(path)?;
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if !found.is_file() {
        return Err(std::io::Error::other(
            "it is no file but a pipe or a device",
        ));
    }
    if found.len() > bytes_max {
        return Err(ErrorKind::FileTooLarge.into());
    }
    let mut bytes = Vec::new();
    let read = file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    match read as u64 > bytes_max {
        true => Err(ErrorKind::FileTooLarge.into()),
        false => Ok(bytes),
    }
}

/// As the system calls it.
const O_NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;

/// What tells one content of a file from another.
pub(in crate::config) fn digest(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// The digest of what a file holds now; none where it cannot be read or is some other file.
pub(crate) fn digest_now(path: &Path) -> Option<String> {
    let metadata = std::fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return None;
    }
    std::fs::read(path).ok().map(|bytes| digest(&bytes))
}

fn is_closed(section: &Section<'_>, key: &AnyKey, path: &Path) -> bool {
    let Ok(metadata) = std::fs::metadata(path) else {
        return false;
    };
    let mode = metadata.permissions().mode();
    if mode & OTHERS == 0 {
        return true;
    }
    let path = path.display();
    let error = section
        .error(
            key,
            format!(
                "{path} is open to everyone on this machine (mode {:04o})",
                mode & 0o7777
            ),
        )
        .with_note(format!("run `chmod o-rwx {path}`"));
    section.context.report_outside(error);
    false
}

/// An I/O error without the number of the system call's.
pub(crate) fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let cut = text.find(" (os error").unwrap_or(text.len());
    text[..cut].to_lowercase()
}
