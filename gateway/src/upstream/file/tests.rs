//! Others do to the file what they like, between two deliveries and amid them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_rules::decision::Output;
use tidegate_rules::event::Event;

use super::*;

const ROTATE_NEVER: u64 = u64::MAX;

fn upstream(path: &Path) -> FileOut {
    FileOut::new(FileUpstream {
        path: path.to_path_buf(),
        rotate_bytes: ROTATE_NEVER,
        files_max: 8,
    })
}

fn delivery(number: u64) -> Delivery {
    Delivery {
        token: Token {
            sequence: number,
            output: 0,
        },
        event: Arc::new(Event {
            id: number.to_string().into(),
            source: "plant-a/floor".into(),
            kind: "reading".into(),
            subject: None,
            topic: "t".into(),
            publisher: "p".into(),
            time: None,
            received: 0,
            content_type: None,
            schema: None,
            extensions: Vec::new(),
            data: "23.45".into(),
            ..Event::default()
        }),
        output: Output::default(),
        historical: false,
        attempts: 0,
        mark: None,
    }
}

/// Offers these and gives what was confirmed.
async fn deliver(file: &mut FileOut, numbers: std::ops::Range<u64>) -> Result<usize, Trouble> {
    file.offer(numbers.map(delivery).collect());
    Ok(file.settled().await?.len())
}

/// As the lane does it: connects again after a trouble, and offers everything again.
async fn deliver_somehow(file: &mut FileOut, numbers: std::ops::Range<u64>) {
    for _ in 0..100 {
        if deliver(file, numbers.clone()).await.is_ok() {
            return;
        }
        let _ = file.connect().await;
    }
    panic!("{numbers:?} are not delivered");
}

/// The ids in a file; every line of ours must be whole.
fn ids_in(path: &Path) -> BTreeSet<u64> {
    let text = std::fs::read(path).unwrap_or_default();
    assert!(!text.contains(&0), "NULs in {}", path.display());
    let text = String::from_utf8(text).expect("text");
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    let ours = text.lines().filter(|line| line.contains("specversion"));
    ours.filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        line["id"].as_str()?.parse().ok()
    })
    .collect()
}

type Deed = fn(&Path);

fn append(path: &Path, text: &str) {
    let file = File::options().append(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .expect("it can be written");
}

fn moved(path: &Path) -> PathBuf {
    path.with_extension("old")
}

/// What is done between two deliveries.
const DEEDS: [(&str, Deed); 15] = [
    ("nothing", |_| {}),
    ("rm", |path| std::fs::remove_file(path).expect("rm")),
    ("rm -r of the folder", |path| {
        std::fs::remove_dir_all(path.parent().expect("a folder")).expect("rm -r");
    }),
    ("rm -r of two folders", |path| {
        let above = path.parent().and_then(Path::parent).expect("a folder");
        std::fs::remove_dir_all(above).expect("rm -r");
    }),
    ("mv of the folder", |path| {
        let folder = path.parent().expect("a folder");
        std::fs::rename(folder, folder.with_extension("old")).expect("mv");
    }),
    ("mv", |path| std::fs::rename(path, moved(path)).expect("mv")),
    ("mv and create", |path| {
        std::fs::rename(path, moved(path)).expect("mv");
        std::fs::write(path, "").expect("create");
    }),
    ("mv and gzip", |path| {
        std::fs::rename(path, moved(path)).expect("mv");
        std::fs::write(path.with_extension("gz"), "zipped").expect("gzip");
        std::fs::remove_file(moved(path)).expect("gzip");
    }),
    ("copytruncate", |path| {
        std::fs::copy(path, moved(path)).expect("cp");
        std::fs::write(path, "").expect("truncate");
    }),
    ("truncated in the middle of a line", |path| {
        let file = File::options().write(true).open(path).expect("a file");
        file.set_len(file.metadata().expect("a file").len() / 2 + 7)
            .expect("truncate");
    }),
    ("another writer", |path| append(path, "a foreign line\n")),
    ("another writer amid a line", |path| append(path, "foreign")),
    ("an editor that replaces the file", |path| {
        std::fs::write(moved(path), "edited").expect("an editor");
        std::fs::rename(moved(path), path).expect("an editor");
    }),
    ("a link to elsewhere", |path| {
        let other = path.with_extension("other");
        std::fs::write(&other, "of the other\n").expect("a file");
        std::fs::remove_file(path).expect("rm");
        symlink(&other, path).expect("ln -s");
    }),
    ("a link to nothing yet", |path| {
        std::fs::remove_file(path).expect("rm");
        symlink(path.with_extension("none"), path).expect("ln -s");
    }),
];

#[tokio::test]
async fn what_is_confirmed_is_in_the_file_at_the_path_whatever_was_done_to_it() {
    for (name, deed) in DEEDS {
        for restarted in [false, true] {
            let dir = tempfile::tempdir().expect("a folder");
            let path = dir.path().join("a/b/events.jsonl");
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            let mut file = upstream(&path);
            file.connect().await.expect("a file");
            assert_eq!(deliver(&mut file, 0..10).await, Ok(10));
            deed(&path);
            if restarted {
                // Only what was there is made again; a folder that never was is a mistake.
                std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                drop(file);
                file = upstream(&path);
                file.connect().await.expect("a file");
            }
            assert_eq!(deliver(&mut file, 10..20).await, Ok(10), "{name}");
            let there = ids_in(&path);
            assert!((10..20).all(|id| there.contains(&id)), "{name}: {there:?}");
            let text = std::fs::read_to_string(&path).expect("a file");
            let foreign = text.lines().filter(|line| !line.starts_with('{')).count();
            let expected = ["writer", "editor", "elsewhere"];
            let expected = expected.iter().any(|word| name.contains(word));
            assert_eq!(foreign, usize::from(expected), "{name}: {text}");
        }
    }
}

#[tokio::test]
async fn only_a_torn_line_of_its_own_is_cut_off() {
    let whole = String::from_utf8(json::structured(&delivery(7))).expect("text");
    let torn = &whole[..whole.len() - 9];
    let cases: [(String, String); 10] = [
        (String::new(), String::new()),
        ("name,value".into(), "name,value\n".into()),
        ("{\"a\": 1".into(), "{\"a\": 1\n".into()),
        ("first\nsecond".into(), "first\nsecond\n".into()),
        ("first\n".into(), "first\n".into()),
        ("{".into(), "{\n".into()),
        (whole.clone(), format!("{whole}\n")),
        (format!("first\n{torn}"), "first\n".into()),
        (torn.into(), String::new()),
        (format!("{whole}\n{{\"spec"), format!("{whole}\n")),
    ];
    for (before, kept) in cases {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("events.jsonl");
        std::fs::write(&path, &before).expect("a file");
        let mut file = upstream(&path);
        file.connect().await.expect("a file");
        assert_eq!(deliver(&mut file, 1..2).await, Ok(1));
        let line = String::from_utf8(json::structured(&delivery(1))).expect("text");
        let text = std::fs::read_to_string(&path).expect("a file");
        assert_eq!(text, format!("{kept}{line}\n"), "{before}");
    }
}

#[tokio::test]
async fn a_file_that_is_moved_all_the_time_loses_nothing_that_was_confirmed() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("events.jsonl");
    let mut file = upstream(&path);
    file.connect().await.expect("a file");
    let stop = Arc::new(AtomicBool::new(false));
    let (mover, stopped) = (path.clone(), Arc::clone(&stop));
    let mover = std::thread::spawn(move || {
        let mut number = 0;
        while !stopped.load(Ordering::Relaxed) {
            number += usize::from(
                std::fs::rename(&mover, mover.with_extension(number.to_string())).is_ok(),
            );
            std::thread::sleep(std::time::Duration::from_micros(fastrand::u64(50..1500)));
        }
        number
    });
    for from in (0..2_000).step_by(20) {
        deliver_somehow(&mut file, from..from + 20).await;
    }
    stop.store(true, Ordering::Relaxed);
    let moves = mover.join().expect("a thread");
    let mut there = ids_in(&path);
    (0..moves).for_each(|n| there.extend(ids_in(&path.with_extension(n.to_string()))));
    assert_eq!(there.len(), 2_000, "after {moves} moves");
}

#[tokio::test]
async fn what_is_no_file_and_what_another_gateway_writes_to_is_a_trouble() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("events.jsonl");
    let mut first = upstream(&path);
    first.connect().await.expect("a file");
    let link = dir.path().join("link");
    symlink(&path, &link).expect("ln -s");
    let trouble = async |path: &Path| match upstream(path).connect().await {
        Err(trouble) => trouble.message,
        Ok(()) => String::new(),
    };
    for path in [&path, &link] {
        let said = trouble(path).await;
        assert!(said.contains("another gateway"), "{said}");
    }
    let missing = trouble(&dir.path().join("none/events.jsonl")).await;
    assert!(missing.contains("is its folder there?"), "{missing}");
    assert_eq!(deliver(&mut first, 0..10).await, Ok(10));
    std::fs::remove_file(&path).expect("rm");
    std::fs::create_dir(&path).expect("mkdir");
    let said = deliver(&mut first, 10..20).await.expect_err("a folder");
    assert!(said.message.contains("a folder stands"), "{said:?}");
    assert!(first.connect().await.is_err());
    std::fs::remove_dir(&path).expect("rmdir");
    first.connect().await.expect("a file");
    assert_eq!(deliver(&mut first, 10..20).await, Ok(10));
    assert_eq!(ids_in(&path).len(), 10);
    let device = trouble(Path::new("/dev/full")).await;
    assert!(device.contains("no regular file"), "{device}");
    first.close().await;
    assert_eq!(trouble(&path).await, "");
}

#[tokio::test]
async fn what_was_written_before_a_rotation_that_fails_is_confirmed_and_not_written_again() {
    for files_max in [1, 2] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("events.jsonl");
        let numbered = |number: usize| path.with_extension(format!("jsonl.{number}"));
        // What is to go cannot be removed as a file.
        (1..files_max).for_each(|number| _ = File::create(numbered(number)).expect("a file"));
        std::fs::create_dir_all(numbered(files_max).join("x")).expect("a folder");
        let mut file = FileOut::new(FileUpstream {
            path: path.clone(),
            rotate_bytes: 1,
            files_max,
        });
        file.connect().await.expect("a file");
        let written = deliver(&mut file, 0..3).await.expect("they are written");
        assert_eq!(written, 3, "keep_files = {files_max}");
        for _ in 0..5 {
            let refused = deliver(&mut file, 3..6).await;
            let told = refused.expect_err("the file is full").message;
            assert!(
                told.contains(&numbered(files_max).display().to_string()),
                "{told}"
            );
            file.connect().await.expect("the same file");
        }
        let text = std::fs::read_to_string(&path).expect("a file");
        assert_eq!(text.lines().count(), 3, "{text}");
        std::fs::remove_dir_all(numbered(files_max)).expect("it is there");
        deliver_somehow(&mut file, 3..6).await;
        assert!(ids_in(&numbered(1)).is_superset(&(3..6).collect()));
    }
}
