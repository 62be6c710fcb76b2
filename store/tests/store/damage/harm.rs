//! What a failing disk does to a file: bits flip, sectors are lost or change places, ends are cut off.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const SECTOR: u64 = 512;

/// Numbers that a seed repeats.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }
}

/// A way to harm a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Harm {
    Flip,
    Zero,
    Swap,
    Cut,
    Empty,
}

pub(crate) const HARMS: [Harm; 5] = [Harm::Flip, Harm::Zero, Harm::Swap, Harm::Cut, Harm::Empty];

/// Harms the file; says where.
pub(crate) fn harm(path: &Path, harm: Harm, random: &mut Random) -> String {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len();
    let used = used_bytes(&file, len);
    let at = random.below(used);
    match harm {
        Harm::Flip => {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            let flipped = byte[0] ^ (1 << random.below(8));
            file.write_all_at(&[flipped], at).unwrap();
            format!("a bit of byte {at}")
        }
        Harm::Zero => {
            let start = at / SECTOR * SECTOR;
            let zeros = vec![0; (len - start).min(SECTOR) as usize];
            file.write_all_at(&zeros, start).unwrap();
            format!("sector at {start}")
        }
        Harm::Swap => {
            let sectors = (len / SECTOR).min(used.div_ceil(SECTOR));
            let (one, other) = (random.below(sectors), random.below(sectors));
            swap(&file, one * SECTOR, other * SECTOR);
            format!("sectors {one} and {other}")
        }
        Harm::Cut => {
            file.set_len(at).unwrap();
            format!("cut at {at}")
        }
        Harm::Empty => {
            file.set_len(0).unwrap();
            "emptied".into()
        }
    }
}

fn swap(file: &File, one: u64, other: u64) {
    let read = |at| {
        let mut bytes = vec![0; SECTOR as usize];
        file.read_at(&mut bytes, at).map(|count| {
            bytes.truncate(count);
            bytes
        })
    };
    let (first, second) = (read(one).unwrap(), read(other).unwrap());
    if first.len() == second.len() {
        file.write_all_at(&second, one).unwrap();
        file.write_all_at(&first, other).unwrap();
    }
}

/// Databases are mostly room for later: harm goes where the bytes are.
fn used_bytes(file: &File, len: u64) -> u64 {
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
    last as u64 + 1
}

/// Every file that can be harmed, by kind of file, so that each kind gets its share of the trials.
pub(crate) fn targets(dir: &Path) -> BTreeMap<String, Vec<String>> {
    let mut by_kind: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in files(dir) {
        let name = path
            .strip_prefix(dir)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let place = name.split('/').next().unwrap_or_default();
        let own = name.rsplit('/').next().unwrap_or_default();
        let own = own.split('.').next().unwrap_or_default();
        let kind = if place == own {
            own.to_owned()
        } else {
            format!("{place}/{own}")
        };
        by_kind.entry(kind).or_default().push(name);
    }
    by_kind
}

/// All files that hold anything.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.retain(|path| fs::metadata(path).is_ok_and(|found| found.len() > 0));
    found.sort();
    found
}

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_dir(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}
