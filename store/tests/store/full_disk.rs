//! A full disk, on a small file system of its own: nothing is accepted that was not stored, reading goes on, and the
//! store works again when there is room. Needs the right to mount; without it these tests say so and pass.

use crate::support::{Case, bytes_of};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use tidegate_store::{CommitError, Options, Route};

/// A tmpfs that is unmounted when it goes.
struct SmallDisk {
    dir: PathBuf,
    _parent: tempfile::TempDir,
}

impl SmallDisk {
    fn new(mib: u32) -> Option<SmallDisk> {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("disk");
        fs::create_dir(&dir).unwrap();
        let size = format!("size={mib}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tidegate-test"])
            .arg(&dir)
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(SmallDisk {
                dir,
                _parent: parent,
            });
        }
        assert!(
            std::env::var_os("TIDEGATE_REQUIRE_PEERS").is_none(),
            "cannot mount a small disk"
        );
        // Not eprintln!, which the test runner keeps to itself while a test passes.
        let why = "SKIPPED: the full-disk tests, because this process may not mount a tmpfs";
        let _ = writeln!(std::io::stderr(), "{why}");
        None
    }

    fn hog(&self, bytes: usize) -> PathBuf {
        let path = self.dir.join("hog");
        let _ = fs::write(&path, vec![1; bytes]);
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.dir).status();
    }
}

fn options(dir: &Path) -> Options {
    Options {
        ballast_bytes: 6 << 20,
        free_bytes_min: 4 << 20,
        generation_bytes: 1 << 20,
        keep_for_ms: 0,
        ..Options::new(dir.join("store"))
    }
}

#[test]
fn below_the_minimum_of_free_disk_nothing_is_accepted_until_there_is_room() {
    let Some(disk) = SmallDisk::new(40) else {
        return;
    };
    let mut case = Case::with(|given| *given = options(&disk.dir));
    let lane = case.store().lane("cloud").unwrap();
    let route = [Route { lane, class: 0 }];
    case.append_many(&route, 100, 300).unwrap();
    let hog = disk.hog(case.store().stats().free_bytes as usize - (2 << 20));
    let refused = case.append_many(&route, 1, 300).unwrap_err();
    assert!(
        matches!(
            refused,
            CommitError::NoSpace {
                free_bytes_min: 4_194_304,
                ..
            }
        ),
        "{refused:?}"
    );
    assert_eq!(case.drain(lane, 0), 100);
    case.writer().persist_cursors_if_dirty().unwrap();
    fs::remove_file(hog).unwrap();
    assert_eq!(case.append_many(&route, 1, 300).unwrap().first, 101);
    case.close();
}

#[test]
fn a_disk_filled_to_the_brim_loses_nothing_and_recovers_without_a_reopen() {
    let Some(disk) = SmallDisk::new(40) else {
        return;
    };
    let mut case = Case::with(|given| {
        *given = Options {
            free_bytes_min: 0,
            ..options(&disk.dir)
        }
    });
    let lane = case.store().lane("cloud").unwrap();
    let route = [Route { lane, class: 0 }];
    let mut accepted = 0;
    for _ in 0..8 {
        accepted = case.append_many(&route, 500, 300).unwrap().last;
    }
    let hog = disk.hog(64 << 20);
    let refused = (0..1000).find_map(|_| match case.append_many(&route, 500, 300) {
        Ok(committed) => {
            accepted = committed.last;
            None
        }
        Err(refused) => Some(refused),
    });
    assert!(
        matches!(refused, Some(CommitError::NoSpace { .. })),
        "{refused:?}"
    );
    assert!(
        case.append_many(&route, 500, 300).is_err(),
        "while the ballast is gone nothing is accepted"
    );
    assert!(case.store().stats().counters.ballast_released > 0);
    assert_eq!(case.store().end(), accepted + 1);
    let found = case.read_from(lane, 0, 1);
    assert_eq!(found.len() as u64, accepted, "reading goes on");
    assert!(
        found
            .iter()
            .all(|(sequence, bytes)| *bytes == bytes_of(*sequence, 300))
    );
    case.drain(lane, 0);
    case.writer().persist_cursors_if_dirty().unwrap();
    fs::remove_file(hog).unwrap();
    assert_eq!(
        case.append_many(&route, 500, 300).unwrap().first,
        accepted + 1
    );
    assert!(case.store().stats().ballast, "the ballast is made again");
    case.reopen();
    assert_eq!(case.read_from(lane, 0, accepted + 1).len(), 500);
    case.close();
}

#[test]
fn a_full_disk_can_be_opened_and_drained() {
    let Some(disk) = SmallDisk::new(40) else {
        return;
    };
    let mut case = Case::with(|given| {
        *given = Options {
            free_bytes_min: 0,
            ..options(&disk.dir)
        }
    });
    let lane = case.store().lane("cloud").unwrap();
    for _ in 0..8 {
        case.append_many(&[Route { lane, class: 0 }], 500, 300)
            .unwrap();
    }
    case.close();
    let hog = disk.hog(64 << 20);
    case.reopen();
    assert_eq!(case.store().backlog(lane).events, 4000);
    case.reopen();
    assert_eq!(case.drain(lane, 0), 4000);
    fs::remove_file(hog).unwrap();
    case.reopen();
    assert_eq!(case.append_many(&[], 1, 300).unwrap().first, 4001);
    case.close();
}
