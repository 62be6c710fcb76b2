//! Who made a change, or was not let in.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use nix::unistd::{Uid, User};
use serde::{Deserialize, Serialize};

/// Who made a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Who {
    /// A user of this machine.
    Local {
        /// The user's number.
        uid: u32,
        /// The user's name, where there is one.
        user: Option<String>,
        /// The process that asked.
        pid: Option<i32>,
    },
    /// A client of a source.
    Client {
        /// Where it came from.
        address: IpAddr,
        /// The user it named, where that is one of the configuration: people type passwords into any field.
        user: Option<String>,
    },
    /// The file itself: it was found changed, and files do not tell by whom.
    File {
        /// The file or folder.
        path: String,
    },
    /// Somebody who may send signals to the gateway: signals do not tell who that is.
    Signal {
        /// Which.
        name: String,
    },
}

impl Who {
    /// The user `uid` of this machine. To find the name may take a while.
    pub fn local(uid: u32, pid: Option<i32>) -> Who {
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        Who::Local {
            uid,
            user: user.map(|user| user.name),
            pid,
        }
    }

    /// A client of a source.
    pub fn client(address: IpAddr, user: Option<&str>) -> Who {
        Who::Client {
            address,
            user: user.map(str::to_owned),
        }
    }

    /// The file itself.
    pub fn file(path: impl AsRef<Path>) -> Who {
        Who::File {
            path: path.as_ref().display().to_string(),
        }
    }

    /// A signal.
    pub fn signal(name: &str) -> Who {
        Who::Signal {
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Local { uid, user, pid } => {
                match user {
                    Some(user) => write!(f, "{user} (uid {uid})")?,
                    None => write!(f, "the user {uid}")?,
                }
                pid.map_or(Ok(()), |pid| write!(f, ", process {pid}"))
            }
            Who::Client { address, user } => match user {
                Some(user) => write!(f, "{user} at {address}"),
                None => write!(f, "{address}"),
            },
            Who::File { path } => write!(f, "the file {path} itself"),
            Who::Signal { name } => f.write_str(name),
        }
    }
}
