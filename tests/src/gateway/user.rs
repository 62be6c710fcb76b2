//! Other users of the machine: the service's own, one of its group, one of none. To become them takes root.

use std::ffi::OsString;
use std::io::Write;
use std::process::{Command, Output};

use super::Gateway;
use crate::peer;

/// A user that every Debian has, with one group beside its own, or none.
#[derive(Debug, Clone, Copy)]
pub struct OtherUser {
    /// Its name, which is that of its group too.
    pub name: &'static str,
    /// A group that it is a member of.
    pub group: Option<&'static str>,
}

impl OtherUser {
    /// The user of this name.
    pub const fn named(name: &'static str, group: Option<&'static str>) -> OtherUser {
        OtherUser { name, group }
    }

    /// The words that make a command run as this user.
    pub fn words(&self) -> Vec<OsString> {
        let mut words = vec!["setpriv", "--reuid", self.name, "--regid"];
        words.push(self.primary());
        match self.group {
            Some(group) => words.extend(["--groups", group]),
            None => words.push("--clear-groups"),
        }
        words.into_iter().map(OsString::from).collect()
    }

    /// The name of its own group.
    fn primary(&self) -> &'static str {
        match self.name {
            "nobody" => "nogroup",
            name => name,
        }
    }

    /// Runs a subcommand as this user, with exactly these arguments.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn run(&self, gateway: &Gateway, arguments: &[&str]) -> Output {
        let words = self.words();
        let (program, rest) = words.split_first().expect("words");
        Command::new(program)
            .args(rest)
            .arg(gateway.built())
            .args(arguments)
            .current_dir(gateway.dir.path())
            .output()
            .expect("setpriv runs")
    }
}

/// Whether tests may become other users; where they may not, `test` says loudly that it is skipped.
pub fn may_change(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    let found = peer::find("setpriv", test);
    if !is_root {
        // Not eprintln!, which the test runner keeps to itself while a test passes.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: {test}: it becomes other users, which takes root"
        );
    }
    is_root && found.is_some()
}
