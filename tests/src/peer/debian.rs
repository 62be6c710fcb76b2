//! A Debian of its own in a folder, where the package is installed; no container engine is needed.
//!
//! | module | noun |
//! |---|---|
//! | `base` | a root as debootstrap leaves it, kept for the next time |
//! | `lifecycle` | what the package goes through in one |
//! | `sandbox` | what it does below its unit |
//! | `deb` | the package |

pub mod base;
pub mod deb;
pub mod lifecycle;
pub mod sandbox;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;

use tempfile::TempDir;

use crate::peer::debian::base::Architecture;
use crate::wait::{self, PATIENCE};

/// Holds a root in namespaces: what is mounted is gone with its process.
const HOLDER: &str = include_str!("debian/holder.sh");
/// Stands in for `systemctl`.
const STAND_IN: &str = include_str!("debian/systemctl.sh");

/// Who starts services in a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// Its own systemd, which is PID 1 there.
    Systemd,
    /// A script that runs the lines of the unit; for foreign programs, which cannot be PID 1 of a machine here.
    StandIn,
    /// Nobody, as while an image is built.
    Nobody,
}

/// A root that is held; its processes end with it, and its folder goes.
pub struct Root {
    /// Where it lies.
    pub path: PathBuf,
    /// Who starts services in it.
    pub manager: Manager,
    groups: Option<String>,
    holder: Child,
    pid: u32,
    _dir: Option<TempDir>,
}

impl Root {
    /// A fresh copy of the base of this architecture, with its services under `manager`.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn copy(architecture: Architecture, manager: Manager) -> Root {
        let base = base::of(architecture);
        let dir =
            tempfile::tempdir_in(base.parent().expect("it lies in a folder")).expect("a folder");
        let path = dir.path().join("root");
        let copied = Command::new("cp")
            .args(["-a", "--reflink=auto"])
            .args([&base, &path])
            .status();
        assert!(copied.expect("cp runs").success(), "the base is copied");
        if manager != Manager::Nobody {
            std::fs::remove_file(path.join("usr/sbin/policy-rc.d")).expect("services may start");
        }
        let root = Root::hold(path, architecture, manager, Some(dir));
        match manager {
            Manager::Systemd => {
                wait::find("the root is up", || {
                    let state = root.said("systemctl is-system-running");
                    match state.trim() {
                        "running" | "degraded" => Ok(()),
                        state => Err(state.to_owned()),
                    }
                });
            }
            Manager::StandIn => {
                // In its place: apt has a PATH of its own, without /usr/local.
                root.done("mv /usr/bin/systemctl /usr/bin/systemctl.real");
                root.write("/usr/bin/systemctl", STAND_IN);
                root.done("chmod 755 /usr/bin/systemctl; mkdir -p /run/systemd/system");
            }
            Manager::Nobody => {}
        }
        root
    }

    /// Holds what lies at `path`.
    fn hold(
        path: PathBuf,
        architecture: Architecture,
        manager: Manager,
        dir: Option<TempDir>,
    ) -> Root {
        let name = format!("tidegate-{}-{}", std::process::id(), fastrand::u32(..));
        let mode = match manager {
            Manager::Systemd => "boot",
            Manager::StandIn | Manager::Nobody => "chroot",
        };
        let holder = Command::new("sh")
            .args(["-c", HOLDER, "holder.sh"])
            .arg(&path)
            .args([&name, mode])
            .args(architecture.emulator())
            .stdin(Stdio::null())
            .spawn()
            .expect("a shell starts");
        let mut root = Root {
            path,
            manager,
            groups: (manager == Manager::Systemd).then_some(name),
            pid: 0,
            holder,
            _dir: dir,
        };
        root.pid = wait::find("the root is held", || root.first_process());
        root
    }

    /// The process that is PID 1 in it, once all is mounted.
    fn first_process(&mut self) -> Result<u32, String> {
        let ended = self.holder.try_wait().expect("it is ours");
        assert!(ended.is_none(), "the root cannot be held: {ended:?}");
        let unshare = self.holder.id();
        let children = std::fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children"));
        let children = children.unwrap_or_default();
        let child = children.trim().parse().map_err(|_| "no process yet")?;
        let held = Path::new(&format!("/proc/{child}/root/run/held")).exists();
        held.then_some(child)
            .ok_or_else(|| "not mounted yet".to_owned())
    }

    /// What runs `script` in it.
    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.pid.to_string()])
            .args(["--all", "--root", "--wd", "env", "-i"])
            .args(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
            .args([
                "LC_ALL=C",
                "HOME=/root",
                "DEBIAN_FRONTEND=noninteractive",
                "container=lxc",
            ])
            .args(["sh", "-c", script])
            .stdin(Stdio::null());
        command
    }

    /// Runs a script of the shell in it. It ends when its output does: what it leaves behind must not hold that.
    ///
    /// # Panics
    /// When it does not end.
    pub fn run(&self, script: &str) -> Output {
        let child = self
            .command(script)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nsenter starts");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || sender.send(child.wait_with_output()));
        let ended = receiver.recv_timeout(PATIENCE * 3);
        ended
            .unwrap_or_else(|_| panic!("does not end, or its output is held open: {script}"))
            .expect("it ends")
    }

    /// What a script wrote, to both outputs, whatever became of it.
    pub fn said(&self, script: &str) -> String {
        let output = self.run(&format!("exec 2>&1\n{script}"));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What a script wrote that must go well.
    ///
    /// # Panics
    /// When it fails.
    pub fn done(&self, script: &str) -> String {
        let output = self.run(&format!("exec 2>&1\n{script}"));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{script}\n{said}\n{}",
            output.status
        );
        said
    }

    /// What a script wrote that must fail.
    ///
    /// # Panics
    /// When it goes well.
    pub fn refused(&self, script: &str) -> String {
        let output = self.run(&format!("exec 2>&1\n{script}"));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success(), "{script}\n{said}");
        said
    }

    /// Whether a test of the shell holds in it.
    pub fn holds(&self, test: &str) -> bool {
        self.run(test).status.success()
    }

    /// Writes a file in it.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    /// Copies a file into it, to `/root`; its place there.
    ///
    /// # Panics
    /// When it cannot be copied.
    pub fn bring(&self, file: &Path) -> String {
        let name = file.file_name().expect("a name").to_string_lossy();
        std::fs::copy(file, self.path.join("root").join(&*name)).expect("it is copied");
        format!("/root/{name}")
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .args(["-9", &self.pid.to_string()])
            .status();
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        let Some(name) = &self.groups else { return };
        let trees = std::fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten();
        let trees = trees.map(|tree| tree.path());
        for tree in trees.chain([PathBuf::from("/sys/fs/cgroup")]) {
            remove_groups(&tree.join(name));
        }
    }
}

/// Removes a control group and all below it.
fn remove_groups(group: &Path) {
    let below = std::fs::read_dir(group).into_iter().flatten().flatten();
    for below in below.filter(|entry| entry.path().is_dir()) {
        remove_groups(&below.path());
    }
    let _ = std::fs::remove_dir(group);
}
