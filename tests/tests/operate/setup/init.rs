//! `tidegate init` without a terminal.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use tidegate_tests::gateway::user::{OtherUser, may_change};
use tidegate_tests::gateway::{Gateway, binary};
use tidegate_tests::peer::small_disk::{Kind, SmallDisk};
use tidegate_tests::{mqtt, peer, port, wait};

use super::{listing, run, said, text};

/// `init` for `dir`, with what else is said.
fn init(dir: &Path, more: &[&str]) -> (Option<i32>, String) {
    let arguments = [&["init", "--yes", "--dir", text(dir)], more].concat();
    said(&run(&arguments))
}

fn mode(path: &Path) -> u32 {
    let found = fs::metadata(path).expect("it is there");
    found.permissions().mode() & 0o777
}

#[test]
fn what_it_writes_is_accepted_and_takes_an_event() {
    let dir = tempfile::tempdir().expect("a folder");
    let address = port::free();
    let (code, told) = init(
        dir.path(),
        &["--id", "plant-7", "--listen", &address.to_string()],
    );
    assert_eq!(code, Some(0), "{told}");
    let config = dir.path().join("gateway.toml");
    let (code, told) = said(&run(&["check", "--config", text(&config)]));
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = said(&run(&["rules", "check", "--config", text(&config)]));
    assert_eq!(code, Some(0), "{told}");
    let of = |name: &str| mode(&dir.path().join(name));
    let modes = ["gateway.toml", "rules", "rules/first.rules", "data"].map(of);
    assert_eq!(modes, [0o644, 0o755, 0o644, 0o750]);
    let written = fs::read_to_string(&config).expect("a configuration");
    assert!(
        written.contains("plant-7") && written.contains("# "),
        "{written}"
    );
    let mut gateway = Gateway::configured(dir, address);
    gateway.start();
    let mut stream = mqtt::connect(address, "press", true).expect("it listens");
    mqtt::publish_acknowledged(&mut stream, "hall/1", 1, b"{\"celsius\": 21.5}");
    let archive = gateway.path("data/events.jsonl");
    wait::until("the event is in the file", || {
        fs::read_to_string(&archive).is_ok_and(|text| text.contains("hall/1"))
    });
}

#[test]
fn whatever_has_the_name_stays_as_it_is() {
    let kinds: [fn(&Path); 4] = [
        |path| fs::write(path, "mine = 1\n").expect("room"),
        |path| fs::create_dir(path).expect("a folder"),
        |path| symlink("/nowhere/at/all", path).expect("a link"),
        |path| fs::write(path, "").expect("room"),
    ];
    for make in kinds {
        let dir = tempfile::tempdir().expect("a folder");
        let config = dir.path().join("gateway.toml");
        make(&config);
        let before = listing(dir.path());
        let (code, told) = init(dir.path(), &[]);
        assert_eq!(code, Some(1), "{told}");
        assert!(
            told.contains("stays as it is") && told.contains("--dir"),
            "{told}"
        );
        assert_eq!(listing(dir.path()), before);
    }
    // Rules that are there stay, and are checked with it.
    let dir = tempfile::tempdir().expect("a folder");
    fs::create_dir(dir.path().join("rules")).expect("a folder");
    let own = dir.path().join("rules/own.rules");
    fs::write(&own, "rule mine { on \"#\" send to archive }\n").expect("room");
    let (code, told) = init(dir.path(), &[]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("kept") && !dir.path().join("rules/first.rules").exists(),
        "{told}"
    );
    // Of which it needs no mistake: then nothing is written.
    fs::remove_file(dir.path().join("gateway.toml")).expect("it is there");
    fs::write(&own, "rule mine { on \"#\" send to nowhere }\n").expect("room");
    let (code, told) = init(dir.path(), &[]);
    assert_eq!(code, Some(1), "{told}");
    assert!(!dir.path().join("gateway.toml").exists());
}

#[test]
fn a_wrong_flag_is_told_in_a_sentence_and_nothing_is_written() {
    let dir = tempfile::tempdir().expect("a folder");
    let long = "x".repeat(65);
    let wrong: [(&str, &[u8]); 18] = [
        ("--id", b""),
        ("--id", b"a\"b"),
        ("--id", b"a\nb"),
        ("--id", b"a\xff"),
        ("--id", long.as_bytes()),
        ("--data-dir", b""),
        ("--data-dir", b"data"),
        ("--data-dir", b"/tmp/\xff"),
        ("--data-dir", b"/tmp/a\nb"),
        ("--listen", b"127.0.0.1:0"),
        ("--listen", b"127.0.0.1:65536"),
        ("--listen", b"somewhere"),
        ("--listen", b"mqtt://user:geheim@host"),
        ("--serial", b"ttyUSB0"),
        ("--serial", b"/dev/ttyUSB0,morse"),
        ("--serial", b"/dev/ttyUSB0,text,fast"),
        ("--upstream", b"ftp://host"),
        ("--upstream", b"events.jsonl"),
    ];
    for (flag, value) in wrong {
        let dir_text = dir.path().as_os_str();
        let words = ["init", "--yes", "--dir"].map(OsStr::new);
        let more = [dir_text, OsStr::new(flag), OsStr::from_bytes(value)];
        let (code, told) = said(&run(&[&words[..], &more[..]].concat()));
        assert_eq!(code, Some(2), "{flag} {value:?}: {told}");
        assert!(
            told.contains(flag) && told.contains("nothing was written"),
            "{told}"
        );
        assert!(!told.contains("geheim"), "{told}");
        assert_eq!(
            listing(dir.path()),
            Vec::<String>::new(),
            "{flag} {value:?}"
        );
    }
}

#[test]
fn without_a_terminal_it_says_which_flags_it_needs() {
    let dir = tempfile::tempdir().expect("a folder");
    let words = ["init", "--dir", text(dir.path()), "--id", "a"];
    let (code, told) = said(&run(&words));
    assert_eq!(code, Some(2), "{told}");
    for flag in ["--data-dir", "--listen", "--serial", "--upstream", "--yes"] {
        assert!(told.contains(flag), "{told}");
    }
    assert!(!told.contains("--id"), "it is given: {told}");
    assert_eq!(listing(dir.path()), Vec::<String>::new());
    let data = dir.path().join("data");
    let rest = [
        "--data-dir",
        text(&data),
        "--listen",
        "none",
        "--serial",
        "none",
    ];
    let upstream = ["--upstream", "mqtts://broker.example:8883"];
    let (code, told) = said(&run(&[&words[..], &rest, &upstream].concat()));
    assert_eq!(code, Some(0), "nothing is left to ask: {told}");
}

#[test]
fn where_it_fails_nothing_is_left() {
    let name = "where_it_fails_nothing_is_left";
    let dir = tempfile::tempdir().expect("a folder");
    // The folder of another.
    if may_change(name) {
        let closed = dir.path().join("closed");
        fs::create_dir(&closed).expect("a folder");
        for (path, bits) in [(dir.path(), 0o755), (&*closed, 0o755)] {
            fs::set_permissions(path, fs::Permissions::from_mode(bits)).expect("it is ours");
        }
        let words = OtherUser::named("nobody", None).words();
        let (setpriv, rest) = words.split_first().expect("words");
        let output = Command::new(setpriv)
            .args(rest)
            .arg(binary::tidegate())
            .args(["init", "--yes", "--dir", text(&closed)])
            .output();
        let (code, told) = said(&output.expect("setpriv runs"));
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains("sudo"), "{told}");
        assert_eq!(listing(&closed), Vec::<String>::new());
    }
    // A file where a folder should be.
    let file = dir.path().join("file");
    fs::write(&file, "").expect("room");
    let (code, told) = init(&file.join("below"), &[]);
    assert_eq!(code, Some(1), "{told}");
    let fine = dir.path().join("fine");
    let below = file.join("data");
    let (code, told) = init(&fine, &["--data-dir", text(&below)]);
    assert_eq!(code, Some(1), "{told}");
    assert!(!fine.exists(), "{told}");
    // A full disk.
    let small = dir.path().join("small");
    fs::create_dir(&small).expect("a folder");
    let Some(mut disk) = SmallDisk::mount(small.clone(), Kind::Tmpfs, 1, name) else {
        return;
    };
    let hog = disk.fill_but(0);
    let before = listing(&small);
    let data = dir.path().join("data");
    let (code, told) = init(&small, &["--data-dir", text(&data)]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("make room"), "{told}");
    assert_eq!(names(&listing(&small)), names(&before), "{}", hog.display());
    assert!(!data.exists(), "{told}");
}

fn names(listing: &[String]) -> Vec<&str> {
    let words = listing.iter().filter_map(|line| line.split(' ').next());
    words.collect()
}

#[test]
fn devices_of_the_network_log_in_with_a_password_that_is_told_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let free = port::free().port();
    let (code, told) = init(dir.path(), &["--listen", &format!("0.0.0.0:{free}")]);
    assert_eq!(code, Some(0), "{told}");
    let (_, rest) = told.split_once("with the password ").expect("it is told");
    let password = rest.split(',').next().expect("a word").to_owned();
    for entry in listing(dir.path()) {
        let path = entry.split(' ').next().expect("a name");
        let kept = fs::read_to_string(path).unwrap_or_default();
        assert!(!kept.contains(&password), "{path}");
    }
    assert_eq!(mode(&dir.path().join("device.hash")), 0o600);
    let Some(publish) = peer::find("mosquitto_pub", "devices_of_the_network_log_in") else {
        return;
    };
    let address = format!("127.0.0.1:{free}").parse().expect("an address");
    let mut gateway = Gateway::configured(dir, address);
    gateway.start();
    for (word, expected) in [(&*password, true), ("wrong", false)] {
        let done = Command::new(&publish)
            .args([
                "-p",
                &free.to_string(),
                "-q",
                "1",
                "-t",
                "hall/1",
                "-m",
                "{}",
            ])
            .args(["-u", "device", "-P", word])
            .output();
        assert_eq!(done.expect("it runs").status.success(), expected, "{word}");
    }
}

/// A machine as files tell it, with two serial ports and a card.
fn machine() -> TempDir {
    let root = tempfile::tempdir().expect("a folder");
    let path = |name: &str| root.path().join(name);
    fs::create_dir_all(path("dev/serial/by-id")).expect("a folder");
    for (name, device) in [
        ("usb-Arduino_Uno_55-if00", "ttyACM0"),
        ("usb-1a86_USB_Serial", "ttyUSB0"),
    ] {
        fs::write(path("dev").join(device), "").expect("room");
        let link = path("dev/serial/by-id").join(name);
        symlink(format!("../../{device}"), link).expect("a link");
    }
    fs::create_dir_all(path("proc/sys/kernel")).expect("a folder");
    fs::write(path("proc/sys/kernel/hostname"), "plant pi\n").expect("room");
    root
}

#[test]
fn serial_ports_are_written_by_their_names_that_stay() {
    let root = machine();
    let dir = tempfile::tempdir().expect("a folder");
    let (code, told) = init(
        dir.path(),
        &["--root", text(root.path()), "--listen", "none"],
    );
    assert_eq!(code, Some(0), "{told}");
    let config = fs::read_to_string(dir.path().join("gateway.toml")).expect("a configuration");
    for name in ["usb-Arduino_Uno_55-if00", "usb-1a86_USB_Serial"] {
        let port = format!("\"/dev/serial/by-id/{name}\"");
        assert!(
            config.contains(&port) && told.contains(name),
            "{config}\n{told}"
        );
    }
    assert!(config.contains("\"plant-pi\""), "{config}");
    assert!(!config.contains("ttyACM0"), "{config}");
}

#[test]
fn a_broker_on_the_usual_port_is_subscribed_at() {
    let name = "a_broker_on_the_usual_port_is_subscribed_at";
    let (Some(unshare), Some(ip), Some(mosquitto)) = (
        peer::find("unshare", name),
        peer::find("ip", name),
        peer::find("mosquitto", name),
    ) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let script = format!(
        "{} link set lo up || exit 99\n{} -p 1883 >/dev/null 2>&1 & broker=$!\n\
         n=0; until mosquitto_pub -t x -m x 2>/dev/null || [ $n -gt 600 ]; do sleep 0.1; n=$((n + 1)); done\n\
         {tidegate} init --yes --dir {dir}/a && {tidegate} init --yes --dir {dir}/b --listen 127.0.0.1:1883\n\
         {tidegate} doctor --format json --config {dir}/a/gateway.toml > {dir}/a.json\n\
         {tidegate} doctor --format json --config {dir}/b/gateway.toml > {dir}/b.json\n\
         kill $broker",
        ip.display(),
        mosquitto.display(),
        tidegate = binary::tidegate().display(),
        dir = dir.path().display()
    );
    let mut command = Command::new(unshare);
    let output = command
        .args(["--net", "sh", "-c", &script])
        .output()
        .expect("unshare runs");
    let (_, told) = said(&output);
    if !dir.path().join("b.json").exists() {
        return peer::skip(name, &format!("no network of its own can be had: {told}"));
    }
    let config = fs::read_to_string(dir.path().join("a/gateway.toml")).expect("a configuration");
    assert!(
        config.contains("url    = \"mqtt://127.0.0.1:1883\""),
        "{config}\n{told}"
    );
    assert!(told.contains("a broker on 127.0.0.1:1883"), "{told}");
    let [a, b] =
        ["a.json", "b.json"].map(|name| fs::read_to_string(dir.path().join(name)).expect("JSON"));
    assert!(!a.contains("port-taken"), "it subscribes there: {a}");
    assert!(b.contains("port-taken") && b.contains("mosquitto"), "{b}");
}
