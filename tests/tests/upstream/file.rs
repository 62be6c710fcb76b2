//! The file of a `file` upstream is in the hands of others too: it is rotated, removed, cut, replaced, written to. What
//! counts as delivered is in the file at the path all the same, or was when others took it away.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidegate_tests::books::{self, Id};
use tidegate_tests::gateway::Gateway;
use tidegate_tests::gateway::told::troubles;
use tidegate_tests::mqtt::load::{Load, Share};
use tidegate_tests::{mqtt, wait};

/// Events before a deed, and after it.
const EVENTS: u64 = 10;
const NAME: &str = "a/b/events.jsonl";

type Deed = fn(&Path);

/// What is done to the file between two deliveries, and the lines of others that stay in it.
const DEEDS: [(&str, Deed, &[&str]); 16] = [
    ("nothing", |_| {}, &[]),
    ("rm", |path| std::fs::remove_file(path).expect("rm"), &[]),
    (
        "rm -r of its folder",
        |path| std::fs::remove_dir_all(folder(path)).expect("rm -r"),
        &[],
    ),
    (
        "rm -r of two folders",
        |path| std::fs::remove_dir_all(folder(folder(path))).expect("rm -r"),
        &[],
    ),
    (
        "mv of its folder",
        |path| std::fs::rename(folder(path), folder(path).with_extension("old")).expect("mv"),
        &[],
    ),
    ("mv", mv, &[]),
    (
        "logrotate: mv and create",
        |path| {
            mv(path);
            std::fs::write(path, "").expect("create");
        },
        &[],
    ),
    (
        "logrotate: mv and gzip",
        |path| {
            mv(path);
            std::fs::write(path.with_extension("gz"), "zipped").expect("gzip");
            std::fs::remove_file(moved(path)).expect("gzip");
        },
        &[],
    ),
    (
        "logrotate: copytruncate",
        |path| {
            std::fs::copy(path, moved(path)).expect("cp");
            std::fs::write(path, "").expect("truncate");
        },
        &[],
    ),
    (
        "cut in the middle of a line",
        |path| {
            let file = File::options().write(true).open(path).expect("a file");
            file.set_len(7).expect("truncate");
        },
        &["{\"specv"],
    ),
    (
        "a second writer",
        |path| append(path, "foreign\n"),
        &["foreign"],
    ),
    (
        "a second writer of many lines",
        |path| append(path, &"foreign\n".repeat(1000)),
        &["foreign"; 1000],
    ),
    (
        "a second writer amid a line",
        |path| append(path, "foreign"),
        &["foreign"],
    ),
    (
        "an editor that replaces it",
        |path| {
            std::fs::write(moved(path), "edited").expect("an editor");
            std::fs::rename(moved(path), path).expect("an editor");
        },
        &["edited"],
    ),
    (
        "a link to elsewhere",
        |path| {
            mv(path);
            std::fs::write(path.with_extension("other"), "elsewhere\n").expect("a file");
            symlink(path.with_extension("other"), path).expect("ln -s");
        },
        &["elsewhere"],
    ),
    (
        "a link to nothing yet",
        |path| {
            mv(path);
            symlink(path.with_extension("none"), path).expect("ln -s");
        },
        &[],
    ),
];

fn folder(path: &Path) -> &Path {
    path.parent().expect("a folder")
}

fn moved(path: &Path) -> PathBuf {
    path.with_extension("old")
}

fn mv(path: &Path) {
    std::fs::rename(path, moved(path)).expect("mv");
}

fn append(path: &Path, text: &str) {
    let file = File::options().append(true).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.expect("it can be written");
}

/// A gateway with a file upstream, not started; its folder is there.
fn gateway(path: &Path) -> Gateway {
    let gateway = Gateway::new(&format!(
        "[upstreams.out]\ntype = \"file\"\npath = \"{}\"\nretry_max = \"500ms\"\n",
        path.display()
    ));
    std::fs::create_dir_all(folder(&gateway.path(NAME))).expect("a folder");
    gateway
}

/// Publishes these and waits until they count as delivered, `before` more than those.
fn deliver(gateway: &Gateway, numbers: std::ops::Range<u64>, before: u64) {
    let all = before + (numbers.end - numbers.start);
    publish(gateway, numbers);
    gateway.wait_until("they are delivered", || delivered(gateway) >= all);
}

fn publish(gateway: &Gateway, numbers: std::ops::Range<u64>) {
    let mut device = mqtt::connect(gateway.address, "device", true).expect("let in");
    for number in numbers {
        mqtt::publish_acknowledged(&mut device, "p/1/t", 1, &books::payload((1, number)));
    }
}

fn delivered(gateway: &Gateway) -> u64 {
    gateway.metric("tidegate_upstream_delivered_total", "\"out\"")
}

/// The numbers of the events in a file, and its other lines. Every line has its end, and each of ours is whole.
fn read(path: &Path) -> (BTreeSet<u64>, Vec<String>) {
    let text = std::fs::read(path).unwrap_or_default();
    assert!(!text.contains(&0), "NULs");
    let text = String::from_utf8(text).expect("text");
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    let (ours, others) = text
        .lines()
        .partition::<Vec<&str>, _>(|line| line.starts_with('{') && line.len() > 20);
    let number = |line: &str| books::read(line.as_bytes()).map(|(_, number)| number);
    let numbers = ours
        .iter()
        .map(|line| number(line).unwrap_or_else(|| panic!("no event of ours: {line}")));
    let others = others.into_iter().map(str::to_owned);
    (numbers.collect(), others.collect())
}

#[test]
fn what_counts_as_delivered_is_in_the_file_at_the_path_whatever_was_done_to_it() {
    for (name, deed, foreign) in DEEDS {
        println!("{name}");
        let mut gateway = gateway(Path::new(NAME));
        let path = gateway.path(NAME);
        gateway.start();
        deliver(&gateway, 0..EVENTS, 0);
        assert_eq!(read(&path).0, (0..EVENTS).collect(), "{name}");
        deed(&path);
        deliver(&gateway, EVENTS..2 * EVENTS, EVENTS);
        let (there, others) = read(&path);
        let expected = EVENTS..2 * EVENTS;
        let missing: Vec<u64> = expected.filter(|id| !there.contains(id)).collect();
        assert!(missing.is_empty(), "{name}: lost {missing:?}");
        assert_eq!(others, foreign, "{name}");
    }
}

#[test]
fn what_others_left_in_the_file_stays_and_only_a_torn_line_of_its_own_is_cut_off() {
    // What others left, and what stays of it. `WHOLE` is a line of ours without its end, `TORN` its half.
    let cases = [
        ("", ""),
        ("name,value", "name,value\n"),
        ("first\nsecond", "first\nsecond\n"),
        ("first\n", "first\n"),
        ("{\"a\": 1", "{\"a\": 1\n"),
        ("{", "{\n"),
        ("WHOLE", "WHOLE\n"),
        ("first\nTORN", "first\n"),
        ("TORN", ""),
        ("WHOLE\nTORN", "WHOLE\n"),
    ];
    let mut first = gateway(Path::new(NAME));
    first.start();
    deliver(&first, 7..8, 0);
    let whole = std::fs::read_to_string(first.path(NAME)).expect("a file");
    let whole = whole.trim_end();
    let with_lines = |text: &str| {
        let text = text.replace("WHOLE", whole);
        text.replace("TORN", &whole[..whole.len() / 2])
    };
    for (left, stays) in cases {
        println!("{left}");
        let mut gateway = gateway(Path::new(NAME));
        let path = gateway.path(NAME);
        std::fs::write(&path, with_lines(left)).expect("written");
        gateway.start();
        deliver(&gateway, 1..2, 0);
        let text = std::fs::read_to_string(&path).expect("a file");
        let ours = text.strip_prefix(&with_lines(stays));
        let ours = ours.unwrap_or_else(|| panic!("{left}: {text}"));
        assert_eq!(books::read(ours.trim_end().as_bytes()), Some((1, 1)));
        assert!(ours.ends_with('\n') && ours.lines().count() == 1, "{text}");
    }
}

/// Rotates without a pause: moves the file away, reads it, as gzip does, and removes it. Gives what it read.
fn rotate(path: &Path, creates: bool, stop: &AtomicBool) -> (usize, BTreeSet<Id>) {
    let (mut rotations, mut read) = (0, BTreeSet::new());
    loop {
        let is_last = stop.load(Ordering::Relaxed);
        if std::fs::rename(path, moved(path)).is_ok() {
            if creates && !is_last {
                let _ = File::options().write(true).create_new(true).open(path);
            }
            rotations += 1;
            let text = std::fs::read(moved(path)).expect("it was moved");
            read.extend(text.split(|byte| *byte == b'\n').filter_map(books::read));
            std::fs::remove_file(moved(path)).expect("it was moved");
        }
        if is_last {
            return (rotations, read);
        }
        std::thread::sleep(Duration::from_millis(fastrand::u64(1..40)));
    }
}

#[test]
fn a_file_that_is_rotated_all_the_time_under_load_loses_nothing() {
    for creates in [false, true] {
        let mut gateway = gateway(Path::new(NAME));
        let path = gateway.path(NAME);
        gateway.start();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let rotation = std::thread::spawn(move || rotate(&path, creates, &stopped));
        let share = Share {
            count: 1_500,
            per_second: 1_000.0,
            window: 50,
        };
        let (ledger, left) = Load::start(gateway.address, 1..3, share).end();
        assert_eq!(left, 0, "not acknowledged\n{}", gateway.log());
        let all = ledger.acknowledged.len() as u64;
        gateway.wait_until("all are delivered", || delivered(&gateway) >= all);
        stop.store(true, Ordering::Relaxed);
        let (rotations, read) = rotation.join().expect("it rotates");
        let lost = ledger.acknowledged.iter().filter(|id| !read.contains(id));
        assert_eq!(lost.count(), 0, "after {rotations} rotations");
        assert!(rotations > 2, "{rotations}");
    }
}

#[test]
fn of_two_gateways_on_one_file_the_second_says_so_and_writes_when_the_first_is_gone() {
    // The path that the second has to the file of the first.
    type Way = fn(&Path, &Path);
    let ways: [(&str, Way); 4] = [
        ("the same", |_, _| {}),
        ("a link", |file, way| symlink(file, way).expect("ln -s")),
        ("a hard link", |file, way| {
            std::fs::hard_link(file, way).expect("ln");
        }),
        ("a link to its folder", |file, way| {
            std::fs::remove_dir(folder(way)).expect("rmdir");
            symlink(folder(file), folder(way)).expect("ln -s");
        }),
    ];
    for (name, make) in ways {
        println!("{name}");
        let dir = tempfile::tempdir().expect("a folder");
        let (file, mut way) = (
            dir.path().join("one/events.jsonl"),
            dir.path().join("two/events.jsonl"),
        );
        for path in [&file, &way] {
            std::fs::create_dir(folder(path)).expect("a folder");
        }
        let (mut first, mut second) = (gateway(&file), gateway(&file));
        first.start();
        deliver(&first, 0..EVENTS, 0);
        match name {
            "the same" => way.clone_from(&file),
            _ => {
                make(&file, &way);
                let config = second.path("gateway.toml");
                let text = std::fs::read_to_string(&config).expect("a configuration");
                let [one, two] = [&file, &way].map(|path| path.display().to_string());
                second.write("gateway.toml", &text.replace(&one, &two));
            }
        }
        second.start();
        publish(&second, EVENTS..2 * EVENTS);
        let told = wait::find("the second says so, or writes", || {
            let all = troubles(&second);
            let told = all.iter().any(|line| line.contains("another gateway"));
            let decided = told || delivered(&second) > 0;
            decided.then_some(told).ok_or_else(|| second.log())
        });
        assert!(told && delivered(&second) == 0, "{name}: it wrote");
        deliver(&first, 2 * EVENTS..3 * EVENTS, EVENTS);
        assert!(first.terminate().success(), "{name}");
        second.wait_until("the second writes", || delivered(&second) >= EVENTS);
        assert_eq!(read(&way).0, (0..3 * EVENTS).collect(), "{name}");
    }
}
