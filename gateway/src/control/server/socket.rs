//! The control socket as a file: made so that nobody but those who may can connect at any moment, and given with its
//! folder to the group that may look.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Group;
use tokio::net::UnixListener;

use crate::config::store_dir;
use crate::control::{ControlError, fresh_socket};
use crate::observe::Observe;

/// Bytes that fit into the address of a unix socket, with its closing zero.
pub(in crate::control) const SOCKET_PATH_BYTES_MAX: usize = 107;
/// How often the socket is tried where the disk had no room for it, and looked for where it is.
const SOCKET_AGAIN: Duration = Duration::from_secs(2);

/// Its owner alone; its owner and a group.
const OWNER: u32 = 0o600;
const WITH_GROUP: u32 = 0o660;
/// What a group has at the folder: it looks into it and goes through it, and changes no name in it.
const FOLDER_GROUP: u32 = 0o050;
const GROUP_BITS: u32 = 0o070;

/// Where the socket is, and who may connect.
#[derive(Debug, Clone)]
pub(in crate::control) struct SocketFile {
    pub(in crate::control) path: PathBuf,
    group: Option<u32>,
}

impl SocketFile {
    /// The socket `path`, for its owner and the members of `group`. Where the group cannot be given the folder the owner is
    /// alone, and a trouble says why.
    pub(in crate::control) fn new(
        path: PathBuf,
        group: Option<&str>,
        observe: &Observe,
    ) -> SocketFile {
        let given = group.map(|name| {
            let gid = number_of(name)?;
            let folder = path.parent().unwrap_or(Path::new("."));
            open_folder(folder, name, gid)?;
            open_store(folder, name, gid, observe);
            Ok::<u32, String>(gid)
        });
        let group = match given.transpose() {
            Ok(gid) => gid,
            Err(why) => {
                trouble(observe, &why);
                None
            }
        };
        SocketFile { path, group }
    }

    /// Binds the socket under a name of its own and moves it into place once its mode is right.
    ///
    /// # Errors
    /// [`ControlError`] with the place and what to do.
    pub(in crate::control) fn bind(&self, observe: &Observe) -> Result<UnixListener, ControlError> {
        let path = &self.path;
        let fresh = fresh_socket(path);
        if fresh.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(ControlError::PathTooLong(path.clone()));
        }
        let failed = |error| ControlError::Bind {
            at: path.display().to_string(),
            error,
        };
        let _ = std::fs::remove_file(&fresh);
        let bound = UnixListener::bind(&fresh).or_else(|error| {
            if !is_no_space(&error) {
                return Err(error);
            }
            // The one that was left gives its inode.
            let _ = std::fs::remove_file(path);
            UnixListener::bind(&fresh)
        });
        let socket = bound.map_err(failed)?;
        std::fs::set_permissions(&fresh, Permissions::from_mode(OWNER)).map_err(failed)?;
        if let Some(gid) = self.group {
            let given = give(&fresh, gid).and_then(|()| {
                std::fs::set_permissions(&fresh, Permissions::from_mode(WITH_GROUP))
            });
            if let Err(error) = given {
                let path = path.display();
                trouble(
                    observe,
                    &format!("{path} cannot be given to its group: {error}"),
                );
            }
        }
        std::fs::rename(&fresh, path).map_err(failed)?;
        Ok(socket)
    }

    /// Waits until somebody has removed it: nobody reaches the gateway then, and it is to be made anew.
    pub(in crate::control) async fn removed(&self) {
        let is_gone = || {
            let there = std::fs::symlink_metadata(&self.path);
            there.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        };
        while !is_gone() {
            tokio::time::sleep(SOCKET_AGAIN).await;
        }
        tracing::warn!(
            "the control socket {} was removed; it is made again",
            self.path.display()
        );
    }

    /// The socket, as soon as the disk has room for it.
    pub(in crate::control) async fn once_there_is_room(&self, observe: &Observe) -> UnixListener {
        loop {
            tokio::time::sleep(SOCKET_AGAIN).await;
            if let Ok(socket) = self.bind(observe) {
                return socket;
            }
        }
    }
}

/// Whether the disk, or what this user may take of it, is full.
pub(crate) fn is_no_space(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

fn trouble(observe: &Observe, why: &str) {
    let what = format!("its group may not look: {why}");
    observe.raise("gateway", "group", &what);
}

/// The number of a group, by its name or as it stands there.
pub(in crate::control) fn number_of(name: &str) -> Result<u32, String> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        _ => name.parse().map_err(|_| {
            format!(
                "this machine has no group `{name}`; make it (`groupadd --system {name}`) and restart the gateway, or \
                 change `group` in [gateway]"
            )
        }),
    }
}

/// Lets the group into the folder, and no further than to look.
fn open_folder(folder: &Path, name: &str, gid: u32) -> Result<(), String> {
    let shown = folder.display();
    let refused = |error: std::io::Error| {
        format!(
            "{shown} cannot be given to the group `{name}`: {error}; let the gateway run as a member of it (Group={name} \
             or SupplementaryGroups={name}), or run `chgrp {name} {shown} && chmod g=rx {shown}`"
        )
    };
    give(folder, gid).map_err(refused)?;
    let mode = std::fs::metadata(folder)
        .map_err(refused)?
        .permissions()
        .mode()
        & 0o7777;
    let wanted = mode & !GROUP_BITS | FOLDER_GROUP;
    if mode != wanted {
        std::fs::set_permissions(folder, Permissions::from_mode(wanted)).map_err(refused)?;
    }
    match closed_above(folder, gid) {
        None => Ok(()),
        Some(closed) => Err(format!(
            "{} lets the group `{name}` not through to {shown}: run `chmod o+x {}`, or choose another data_dir",
            closed.display(),
            closed.display()
        )),
    }
}

/// Lets the group look at the store in `folder` while no gateway runs.
fn open_store(folder: &Path, name: &str, gid: u32, observe: &Observe) {
    let store = store_dir(folder);
    match tidegate_store::let_group_look(&store, gid) {
        Ok(()) => observe.clear("gateway", CLOSED_STORE),
        Err(error) => {
            let shown = store.display();
            let what = format!(
                "while no gateway runs the group `{name}` may not look at the store: something in {shown} cannot be given \
                 to it: {error}; run `chown -R --reference={} {shown}` and restart the gateway",
                folder.display()
            );
            observe.raise("gateway", CLOSED_STORE, &what);
        }
    }
}

/// The kind of trouble.
const CLOSED_STORE: &str = "group_store";

/// Changes the group of a file that has another one.
fn give(path: &Path, gid: u32) -> std::io::Result<()> {
    match std::fs::metadata(path)?.gid() == gid {
        true => Ok(()),
        false => chown(path, None, Some(gid)),
    }
}

/// The folder above `folder` that does not let a group through, if one does not.
fn closed_above(folder: &Path, gid: u32) -> Option<PathBuf> {
    let whole = folder.canonicalize().ok()?;
    let mut above = whole.ancestors().skip(1);
    let closed = above.find(|folder| {
        std::fs::metadata(folder).is_ok_and(|found| {
            let bit = if found.gid() == gid { 0o010 } else { 0o001 };
            found.permissions().mode() & bit == 0
        })
    });
    closed.map(Path::to_path_buf)
}
