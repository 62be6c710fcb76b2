//! Puts a configuration into place, whole or not at all: what was made is removed again where something fails, and what
//! was there before stays as it is.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::{CWD, RenameFlags, linkat, renameat_with};

use super::CONFIG;
use super::answers::Answers;
use super::configuration::{self, FIRST_RULES, HASH, RULES};
use super::found::Found;
use crate::cli::Failure;
use crate::cli::check::rules_folder;
use crate::config::render;
use crate::run::config::{self, preflight};
use crate::source::listener::password;

/// Everybody may read the configuration, which holds no secret.
const FILE_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;
/// Events are for the gateway and its group.
const DATA_MODE: u32 = 0o750;
/// A secret is for its owner, and for the service's group where there is one.
const SECRET_MODE: u32 = 0o600;
const SECRET_MODE_OF_SERVICE: u32 = 0o640;
/// Characters of a password: two that look alike are not both among them.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const PASSWORD_CHARACTERS: usize = 20;

/// What was made so far; removed again unless all of it was.
pub(super) struct Written {
    made: Vec<PathBuf>,
    is_whole: bool,
    kept_rules: bool,
    device: Option<(PathBuf, String)>,
}

/// Refuses where something has the name of the configuration already, whatever it is.
///
/// # Errors
/// What is there.
pub(super) fn refuse_existing(config: &Path) -> Result<(), Failure> {
    match std::fs::symlink_metadata(config) {
        Ok(found) => Err(is_there(config, Some(found.file_type()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => {
            let dir = config.parent().unwrap_or(config);
            Err(failed(dir, "cannot be looked at", &error))
        }
    }
}

fn is_there(config: &Path, kind: Option<std::fs::FileType>) -> Failure {
    let shown = config.display();
    let what = match kind {
        Some(kind) if kind.is_symlink() => "a link is there",
        Some(kind) if kind.is_dir() => "a folder is there",
        _ => "it is there already",
    };
    let sudo = as_root(config);
    Failure::new(format!(
        "{shown} is not written: {what}, and stays as it is; move it away (`{sudo}mv {shown} {shown}.old`), or name another \
         folder with --dir"
    ))
}

/// In front of a command that changes a configuration of the system.
fn as_root(path: &Path) -> &'static str {
    match path.starts_with("/etc") {
        true => "sudo ",
        false => "",
    }
}

impl Written {
    /// Makes the folders.
    ///
    /// # Errors
    /// Which one cannot be made, why, and what to do.
    pub(super) fn begin(answers: &Answers, found: &Found) -> Result<Written, Failure> {
        let mut written = Written {
            made: Vec::new(),
            is_whole: false,
            kept_rules: false,
            device: None,
        };
        written.folder(&found.dir, FOLDER_MODE)?;
        let data_dir = &answers.data_dir;
        // One that is there belongs to somebody, and so does a link.
        if std::fs::symlink_metadata(data_dir).is_err() {
            if let Some(above) = data_dir.parent() {
                written.folder(above, FOLDER_MODE)?;
            }
            written.folder(data_dir, DATA_MODE)?;
            if let Some(user) = &found.user {
                let given = chown(data_dir, Some(user.uid), user.gids.first().copied());
                given.map_err(|error| {
                    failed(data_dir, "cannot be given to the gateway's user", &error)
                })?;
            }
        }
        Ok(written)
    }

    /// Writes everything, checks it as `tidegate check` does, and puts the configuration into place last.
    ///
    /// # Errors
    /// What could not be written or was refused; all that was made is gone then.
    pub(super) fn write(&mut self, answers: &Answers, found: &Found) -> Result<(), Failure> {
        let rules = found.dir.join(RULES);
        self.kept_rules = holds_rules(&rules);
        if !self.kept_rules {
            self.folder(&rules, FOLDER_MODE)?;
            let text = configuration::rules(answers);
            self.file(&rules.join(FIRST_RULES), &text, FILE_MODE)?;
        }
        if answers.needs_login() {
            self.login(found)?;
        }
        let text = configuration::text(answers, found);
        let config = found.dir.join(CONFIG);
        let fresh = found.dir.join(format!(".{CONFIG}.{}", std::process::id()));
        self.file(&fresh, &text, FILE_MODE)?;
        check(&fresh, &config, self.kept_rules)?;
        put(&fresh, &config)?;
        self.made.retain(|path| *path != fresh);
        self.is_whole = true;
        for folder in [&found.dir, &rules] {
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            synced.map_err(|error| failed(folder, "may be lost by a power cut now", &error))?;
        }
        Ok(())
    }

    /// Whether rules were there before, which stay.
    pub(super) fn kept_rules(&self) -> bool {
        self.kept_rules
    }

    /// The file with the hash of the devices' password, and the password.
    pub(super) fn device(&self) -> Option<(&Path, &str)> {
        let (path, password) = self.device.as_ref()?;
        Some((path, password))
    }

    /// A password for devices, of which only the hash is written.
    fn login(&mut self, found: &Found) -> Result<(), Failure> {
        let mut random = [0; PASSWORD_CHARACTERS];
        let drawn = SystemRandom::new().fill(&mut random);
        drawn
            .map_err(|_| Failure::new("the system draws no random numbers; nothing was written"))?;
        let of = |byte: &u8| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]);
        let drawn: String = random.iter().map(of).collect();
        let hash = password::hash(drawn.as_bytes()).map_err(Failure::new)?;
        let path = found.dir.join(HASH);
        let group = found
            .user
            .as_ref()
            .and_then(|user| user.gids.first().copied());
        self.file(&path, &format!("{hash}\n"), SECRET_MODE)?;
        if group.is_some() {
            let given = chown(&path, None, group).and_then(|()| {
                std::fs::set_permissions(&path, Permissions::from_mode(SECRET_MODE_OF_SERVICE))
            });
            given
                .map_err(|error| failed(&path, "cannot be given to the gateway's group", &error))?;
        }
        self.device = Some((path, drawn));
        Ok(())
    }

    /// Makes a folder and those above it that are missing.
    fn folder(&mut self, folder: &Path, mode: u32) -> Result<(), Failure> {
        let missing: Vec<&Path> = folder
            .ancestors()
            .take_while(|folder| std::fs::symlink_metadata(folder).is_err())
            .collect();
        for missing in missing.into_iter().rev() {
            let mode = if missing == folder { mode } else { FOLDER_MODE };
            let made = DirBuilder::new().mode(mode).create(missing);
            made.map_err(|error| failed(missing, "cannot be made", &error))?;
            self.made.push(missing.to_owned());
            // Whatever the umask says.
            let given = std::fs::set_permissions(missing, Permissions::from_mode(mode));
            given.map_err(|error| failed(missing, "cannot be made", &error))?;
        }
        match folder.is_dir() {
            true => Ok(()),
            false => Err(failed(
                folder,
                "is no folder",
                &ErrorKind::NotADirectory.into(),
            )),
        }
    }

    /// Writes a file that is not there yet.
    fn file(&mut self, path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
        let opened = File::options()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path);
        let mut file = opened.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => is_there(path, None),
            _ => failed(path, "cannot be written", &error),
        })?;
        self.made.push(path.to_owned());
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.set_permissions(Permissions::from_mode(mode)))
            .and_then(|()| file.sync_all());
        written.map_err(|error| failed(path, "cannot be written", &error))
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if self.is_whole {
            return;
        }
        for path in self.made.iter().rev() {
            // A folder that somebody else uses meanwhile stays.
            let _ = match path.is_dir() {
                true => std::fs::remove_dir(path),
                false => std::fs::remove_file(path),
            };
        }
    }
}

fn holds_rules(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.path());
    names.any(|path| {
        path.extension()
            .is_some_and(|extension| extension == "rules")
    })
}

/// Everything that `tidegate check` would say of it, in words about where it will be.
fn check(fresh: &Path, config: &Path, kept_rules: bool) -> Result<(), Failure> {
    let there = config.display().to_string();
    let refused = |found: &[tidegate_rules::diagnostic::Diagnostic]| {
        let said = render(found, false).replace(&fresh.display().to_string(), &there);
        format!("{there} would be refused, so nothing was written:\n{said}")
    };
    let read = config::load(fresh).map_err(|found| Failure::new(refused(&found)))?;
    let objections = preflight::objections(&read);
    if !objections.is_empty() {
        return Err(Failure::new(refused(&objections)));
    }
    let Some(folder) = &read.gateway.rules else {
        return Ok(());
    };
    let rules = rules_folder::check(folder, &read);
    if rules.rules.is_some() {
        return Ok(());
    }
    let mut said = refused(&rules.found);
    if kept_rules {
        let (shown, sudo) = (folder.display(), as_root(folder));
        said += &format!(
            "\n{shown} was there before and does not fit; move it away (`{sudo}mv {shown} {shown}.old`), and first rules \
             are written"
        );
    }
    Err(Failure::new(said))
}

/// Gives a file its name, unless something has it by now.
fn put(fresh: &Path, config: &Path) -> Result<(), Failure> {
    let moved = renameat_with(CWD, fresh, CWD, config, RenameFlags::NOREPLACE);
    let moved = moved.or_else(|error| match error {
        // Not every file system can.
        rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP => {
            linkat(CWD, fresh, CWD, config, rustix::fs::AtFlags::empty())?;
            rustix::fs::unlink(fresh)
        }
        error => Err(error),
    });
    moved.map_err(|error| match error {
        rustix::io::Errno::EXIST => {
            let kind = std::fs::symlink_metadata(config).ok();
            is_there(config, kind.map(|found| found.file_type()))
        }
        error => failed(config, "cannot be written", &error.into()),
    })
}

fn failed(path: &Path, what: &str, error: &std::io::Error) -> Failure {
    let shown = path.display();
    let remedy = match error.kind() {
        ErrorKind::PermissionDenied => {
            "run this with sudo, or name a folder of yours with --dir and --data-dir"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "mount it for writing (`mount -o remount,rw`), or name another folder"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room",
        _ => "name another folder with --dir or --data-dir",
    };
    Failure::new(format!("{shown} {what}: {error}; {remedy}"))
}
