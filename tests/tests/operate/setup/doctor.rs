//! `tidegate doctor`: each finding where it is so, and not where it is not.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;
use tidegate_tests::gateway::user::{OtherUser, may_change};
use tidegate_tests::gateway::{Gateway, binary};
use tidegate_tests::peer::small_disk::{Kind, SmallDisk};

use super::disk::LoopDisk;
use super::{listing, run, said, text};

/// What a machine has that will not bite, as files tell it.
pub(super) struct Machine(pub(super) TempDir);

impl Machine {
    /// With a clock chip and nothing else.
    pub(super) fn sound() -> Machine {
        let machine = Machine(tempfile::tempdir().expect("a folder"));
        machine.file("sys/class/rtc/rtc0/name", "rtc-ds1307\n");
        machine.file(
            "etc/passwd",
            &fs::read_to_string("/etc/passwd").unwrap_or_default(),
        );
        machine.file(
            "etc/group",
            &fs::read_to_string("/etc/group").unwrap_or_default(),
        );
        machine
    }

    pub(super) fn file(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("room");
    }

    /// What is found of a configuration on it.
    pub(super) fn ids(&self, config: &Path) -> BTreeSet<String> {
        ids(&run(&[
            "doctor",
            "--format",
            "json",
            "--root",
            text(self.0.path()),
            "--config",
            text(config),
        ]))
    }
}

const ARCHIVE: &str = "[upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n";

/// A folder with a configuration and a data folder in it.
pub(super) fn site(data_dir: &Path, more: &str) -> (TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().expect("a folder");
    let config = dir.path().join("gateway.toml");
    let data = text(data_dir);
    let text = format!("[gateway]\nid = \"a\"\ndata_dir = \"{data}\"\n{more}{ARCHIVE}");
    fs::write(&config, text).expect("room");
    (dir, config)
}

/// The ids of what was found, once the answer is as it should be.
pub(super) fn ids(output: &Output) -> BTreeSet<String> {
    let (code, told) = said(output);
    let report: Value = serde_json::from_slice(&output.stdout).expect(&told);
    let findings = report["findings"].as_array().expect("a list");
    for finding in findings {
        for key in ["id", "severity", "message", "remedy"] {
            let value = finding[key].as_str().unwrap_or_default();
            assert!(!value.is_empty(), "{key}: {told}");
        }
    }
    assert_eq!(code, Some(i32::from(!findings.is_empty())), "{told}");
    let ids = findings.iter().filter_map(|finding| finding["id"].as_str());
    ids.map(str::to_owned).collect()
}

/// The ids of a configuration on this machine, but for those of its clock and its kernel.
fn of_machine(config: &Path) -> BTreeSet<String> {
    let found = run(&["doctor", "--format", "json", "--config", text(config)]);
    without_machine(ids(&found))
}

fn without_machine(mut ids: BTreeSet<String>) -> BTreeSet<String> {
    for id in ["clock-unsynchronised", "endurance-unknown"] {
        ids.remove(id);
    }
    ids
}

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

fn change(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
}

const UPSTREAM: &str = "[upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:9\"\n\
                        user = \"a\"\npassword_file = \"cloud.password\"\n";

#[test]
fn a_sound_set_up_has_nothing_and_nothing_is_changed() {
    let machine = Machine::sound();
    let data = tempfile::tempdir().expect("a folder");
    let (dir, config) = site(data.path(), UPSTREAM);
    let password = dir.path().join("cloud.password");
    fs::write(&password, "geheim").expect("room");
    change(&password, 0o600);
    let before = (listing(dir.path()), listing(data.path()));
    assert_eq!(machine.ids(&config), set(&[]));
    let output = run(&[
        "doctor",
        "--root",
        text(machine.0.path()),
        "--config",
        text(&config),
    ]);
    let (code, told) = said(&output);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("nothing was found"), "{told}");
    assert_eq!((listing(dir.path()), listing(data.path())), before);
}

#[test]
fn only_a_broken_text_ends_with_78() {
    let data = tempfile::tempdir().expect("a folder");
    for broken in [
        "[store\n",
        "[store]\nmax_sice = \"1GiB\"\n",
        "[store]\nmax_size = 5\n",
    ] {
        let (_dir, config) = site(data.path(), broken);
        let (code, told) = said(&run(&["doctor", "--config", text(&config)]));
        assert_eq!(code, Some(78), "{broken}: {told}");
    }
    // What it names is not its text: a secret that is missing, a rules folder that is, a variable of the service.
    for fine in [
        UPSTREAM,
        "rules = \"nowhere\"\n",
        "[upstreams.hook]\ntype = \"http\"\nurl = \"http://127.0.0.1:9\"\nbearer = \"${NOT_SET_HERE}\"\n",
    ] {
        let (_dir, config) = site(data.path(), fine);
        let machine = Machine::sound();
        assert_eq!(machine.ids(&config), set(&[]), "{fine}");
    }
    let (code, told) = said(&run(&["doctor", "--config", "/nowhere/gateway.toml"]));
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("tidegate init"), "{told}");
    let (code, told) = said(&run(&["doctor", "--config", "/"]));
    assert_eq!(code, Some(1), "{told}");
}

#[test]
fn secrets_that_others_may_read_are_told() {
    let data = tempfile::tempdir().expect("a folder");
    let machine = Machine::sound();
    let (dir, config) = site(data.path(), UPSTREAM);
    let password = dir.path().join("cloud.password");
    fs::write(&password, "geheim").expect("room");
    for (mode, expected) in [
        (0o644, true),
        (0o604, true),
        (0o602, true),
        (0o600, false),
        (0o400, false),
    ] {
        change(&password, mode);
        let found = machine.ids(&config).contains("secret-readable");
        assert_eq!(found, expected, "{mode:o}");
    }
    if may_change("secrets_that_others_may_read_are_told") {
        let given = Command::new("chgrp").arg("games").arg(&password).status();
        assert!(given.expect("chgrp runs").success());
        change(&password, 0o640);
        assert_eq!(
            machine.ids(&config),
            set(&["secret-readable"]),
            "a group of others"
        );
    }
    let inline = "[sources.hooks]\ntype = \"http\"\nlisten = \"127.0.0.1:0\"\nusers.a = { bearer_hash = \
                  \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\", publish = [\"#\"] }\n";
    let (_dir, config) = site(data.path(), inline);
    change(&config, 0o644);
    assert_eq!(machine.ids(&config), set(&["secret-readable"]));
    change(&config, 0o640);
    assert_eq!(machine.ids(&config), set(&[]));
}

#[test]
fn a_port_of_another_is_told_and_that_of_the_gateway_itself_is_not() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = other.local_addr().expect("an address");
    let data = tempfile::tempdir().expect("a folder");
    let source = format!("[sources.floor]\ntype = \"mqtt-listener\"\nlisten = \"{address}\"\n");
    let (_dir, config) = site(data.path(), &source);
    assert_eq!(of_machine(&config), set(&["port-taken"]));
    drop(other);
    assert_eq!(of_machine(&config), set(&[]));
    let mut gateway = Gateway::new("");
    assert_eq!(
        of_machine(&gateway.path("gateway.toml")),
        set(&[]),
        "it does not run yet"
    );
    gateway.start();
    gateway.control("/status");
    assert_eq!(
        of_machine(&gateway.path("gateway.toml")),
        set(&[]),
        "it is its own"
    );
    if may_change("a_port_of_another_is_told") {
        for folder in [gateway.dir.path(), &gateway.path("data")] {
            change(folder, 0o755);
        }
        let config = gateway.path("gateway.toml");
        let words = ["doctor", "--format", "json", "--config", text(&config)];
        let asked = OtherUser::named("nobody", None).run(&gateway, &words);
        assert_eq!(without_machine(ids(&asked)), set(&[]), "{:?}", said(&asked));
    }
}

#[test]
fn a_file_system_without_barriers_is_told() {
    let test = "a_file_system_without_barriers_is_told";
    let dir = tempfile::tempdir().expect("a folder");
    let memory = dir.path().join("memory");
    fs::create_dir(&memory).expect("a folder");
    if let Some(_disk) = SmallDisk::mount(memory.clone(), Kind::Tmpfs, 300, test) {
        let (_dir, config) = site(&memory.join("data"), "[store]\nmax_size = \"64MiB\"\n");
        assert_eq!(of_machine(&config), set(&["no-barriers"]));
    }
    for (options, expected) in [(",nobarrier", set(&["no-barriers"])), ("", set(&[]))] {
        let Some(disk) = LoopDisk::mount(options, test) else {
            return;
        };
        let (_dir, config) = site(&disk.path().join("data"), "[store]\nmax_size = \"64MiB\"\n");
        assert_eq!(of_machine(&config), expected, "{options}");
    }
}

#[test]
fn a_disk_that_the_store_does_not_fit_on_is_told() {
    let test = "a_disk_that_the_store_does_not_fit_on_is_told";
    let Some(disk) = LoopDisk::mount("", test) else {
        return;
    };
    for (size, free, expected) in [
        ("1GiB", "64MiB", true),
        ("200MiB", "64MiB", false),
        ("200MiB", "1GiB", true),
    ] {
        let store = format!("[store]\nmax_size = \"{size}\"\nfree_min = \"{free}\"\n");
        let (_dir, config) = site(&disk.path().join("data"), &store);
        let found = of_machine(&config).contains("disk-too-small");
        assert_eq!(found, expected, "{size} {free}");
    }
}

#[test]
fn a_data_folder_that_the_gateway_cannot_use_is_told() {
    let data = tempfile::tempdir().expect("a folder");
    let (_dir, config) = site(data.path(), "");
    let machine = Machine::sound();
    for (mode, expected) in [
        (0o777, true),
        (0o1777, true),
        (0o750, false),
        (0o700, false),
    ] {
        change(data.path(), mode);
        let found = machine.ids(&config).contains("data-dir-permissions");
        assert_eq!(found, expected, "{mode:o}");
    }
    let (_dir, config) = site(&data.path().join("not/yet"), "");
    assert_eq!(machine.ids(&config), set(&[]), "it is made");
    let test = "a_data_folder_that_the_gateway_cannot_use_is_told";
    if !may_change(test) {
        return;
    }
    // Of another user, and where only another may make it.
    for folder in [data.path().to_owned(), data.path().join("not/yet")] {
        let (dir, config) = site(&folder, "");
        for path in [dir.path(), &config] {
            change(path, 0o755);
        }
        let asked = as_nobody(&config);
        assert_eq!(
            without_machine(ids(&asked)),
            set(&["data-dir-permissions"]),
            "{:?}",
            said(&asked)
        );
    }
    // On a disk that is only read.
    let Some(disk) = LoopDisk::mount("", test) else {
        return;
    };
    fs::create_dir(disk.path().join("data")).expect("a folder");
    let again = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(disk.path())
        .status();
    assert!(again.expect("mount runs").success());
    let (_dir, config) = site(&disk.path().join("data"), "[store]\nmax_size = \"64MiB\"\n");
    assert_eq!(of_machine(&config), set(&["data-dir-permissions"]));
}

fn as_nobody(config: &Path) -> Output {
    let words = OtherUser::named("nobody", None).words();
    let (setpriv, rest) = words.split_first().expect("words");
    let mut command = Command::new(setpriv);
    command.args(rest).arg(binary::tidegate());
    command.args(["doctor", "--format", "json", "--config", text(config)]);
    command.output().expect("setpriv runs")
}

#[test]
fn a_serial_port_that_the_user_may_not_open_is_told() {
    let data = tempfile::tempdir().expect("a folder");
    change(data.path(), 0o777);
    let port = data.path().join("ttyUSB0");
    fs::write(&port, "").expect("room");
    let source = format!(
        "[sources.a]\ntype = \"serial\"\nport = \"{}\"\n",
        text(&port)
    );
    let (dir, config) = site(&data.path().join("data"), &source);
    for path in [dir.path(), &config] {
        change(path, 0o755);
    }
    assert_eq!(of_machine(&config), set(&[]), "root may");
    if !may_change("a_serial_port_that_the_user_may_not_open_is_told") {
        return;
    }
    for (mode, expected) in [(0o660, set(&["serial-group"])), (0o666, set(&[]))] {
        change(&port, mode);
        assert_eq!(
            without_machine(ids(&as_nobody(&config))),
            expected,
            "{mode:o}"
        );
    }
    // It is not plugged in: the group tells.
    fs::remove_file(&port).expect("it is there");
    assert_eq!(
        without_machine(ids(&as_nobody(&config))),
        set(&["serial-group"])
    );
    let (dir, config) = site(&data.path().join("data"), "");
    for path in [dir.path(), &config] {
        change(path, 0o755);
    }
    assert_eq!(
        without_machine(ids(&as_nobody(&config))),
        set(&[]),
        "no serial source"
    );
}

#[test]
fn a_clock_that_nobody_sets_and_a_card_of_unknown_endurance_are_told() {
    let machine = Machine::sound();
    let data = tempfile::tempdir().expect("a folder");
    let (_dir, config) = site(data.path(), "");
    let chip = machine.0.path().join("sys/class/rtc/rtc0");
    fs::remove_dir_all(chip).expect("it is there");
    assert_eq!(machine.ids(&config), set(&["clock-unsynchronised"]));
    machine.file("run/systemd/timesync/synchronized", "");
    assert_eq!(machine.ids(&config), set(&[]));
    machine.file(
        "proc/self/mountinfo",
        "26 1 179:2 / / rw - ext4 /dev/root rw\n",
    );
    machine.file("sys/devices/mmc/block/mmcblk0/device/type", "SD\n");
    let numbers = machine.0.path().join("sys/dev/block");
    fs::create_dir_all(&numbers).expect("a folder");
    let card = machine.0.path().join("sys/devices/mmc/block/mmcblk0");
    std::os::unix::fs::symlink(card, numbers.join("179:2")).expect("a link");
    assert_eq!(machine.ids(&config), set(&["endurance-unknown"]));
    let (_dir, config) = site(data.path(), "[store]\nendurance = \"30TiB\"\n");
    assert_eq!(machine.ids(&config), set(&[]));
}
