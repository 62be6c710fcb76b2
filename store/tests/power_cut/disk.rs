//! What a disk may hold after a power cut. Bytes of a file are durable up to the last sync of that file; a name (made,
//! moved, removed) from the sync of its directory on. Everything else may be there or not, in any mixture.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A call that changed something, or a note of the driver.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create(PathBuf),
    MakeDir(PathBuf),
    Write(PathBuf, u64, Vec<u8>),
    Truncate(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    /// fsync: of a file its bytes, of a directory its names.
    Sync(PathBuf),
    /// fdatasync: what the store's barrier issues.
    DataSync(PathBuf),
    Note(usize),
}

/// What is switched off, to see the test fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) no_barrier: bool,
    pub(crate) no_directory_sync: bool,
}

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// All of it is lost.
    Nothing,
    /// All of it arrived.
    Everything,
    /// Some sectors of 512 bytes arrived, and some names.
    Sectors,
    /// Some pages of 4 KiB arrived, and some names.
    Pages,
    /// All arrived but the end of the last write.
    TornWrite,
    /// Files have their lengths, and zeros for bytes; some names.
    LengthsOnly,
    /// All names arrived and no bytes.
    NamesOnly,
}

/// All kinds of cuts.
pub(crate) const CUTS: [Cut; 7] = [
    Cut::Nothing,
    Cut::Everything,
    Cut::Sectors,
    Cut::Pages,
    Cut::TornWrite,
    Cut::LengthsOnly,
    Cut::NamesOnly,
];

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

#[derive(Clone, Default)]
struct File {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

/// A name: a file by its number, or a directory.
type Names = BTreeMap<PathBuf, Option<usize>>;

/// A disk with what is durable and what is not yet.
#[derive(Clone)]
pub(crate) struct Disk {
    root: PathBuf,
    broken: Broken,
    files: Vec<File>,
    now: Names,
    durable: Names,
    /// Changes of names since, in order, each with its file's number where it makes one.
    pending: Vec<(Op, Option<usize>)>,
}

impl Disk {
    /// An empty directory `root` that is durable.
    pub(crate) fn new(root: &Path, broken: Broken) -> Disk {
        let names = Names::from([(root.to_path_buf(), None)]);
        Disk {
            root: root.to_path_buf(),
            broken,
            files: Vec::new(),
            now: names.clone(),
            durable: names,
            pending: Vec::new(),
        }
    }

    /// A disk that holds what lies in `root` now, all of it durable.
    pub(crate) fn of(root: &Path) -> Disk {
        let mut disk = Disk::new(root, Broken::default());
        disk.load(root);
        disk.durable = disk.now.clone();
        disk
    }

    fn load(&mut self, dir: &Path) {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                self.now.insert(path.clone(), None);
                self.load(&path);
            } else {
                self.files.push(File {
                    durable: fs::read(&path).unwrap(),
                    pending: Vec::new(),
                });
                self.now.insert(path, Some(self.files.len() - 1));
            }
        }
    }

    fn file(&mut self, path: &Path) -> Option<&mut File> {
        let number = (*self.now.get(path)?)?;
        self.files.get_mut(number)
    }

    /// Takes in the next call.
    pub(crate) fn apply(&mut self, op: &Op) {
        match op {
            Op::Write(path, at, bytes) => {
                let change = Change::Write(*at, bytes.clone());
                self.file(path).unwrap().pending.push(change);
            }
            Op::Truncate(path, bytes) => {
                let change = Change::Truncate(*bytes);
                self.file(path).unwrap().pending.push(change);
            }
            Op::Create(_) => {
                self.files.push(File::default());
                self.name(op, Some(self.files.len() - 1));
            }
            Op::MakeDir(_) | Op::Rename(..) | Op::Remove(_) => self.name(op, None),
            Op::DataSync(_) if self.broken.no_barrier => {}
            Op::Sync(path) | Op::DataSync(path) => self.sync(path),
            Op::Note(_) => {}
        }
    }

    fn name(&mut self, op: &Op, file: Option<usize>) {
        rename(&mut self.now, op, file);
        self.pending.push((op.clone(), file));
    }

    fn sync(&mut self, path: &Path) {
        if let Some(file) = self.file(path) {
            let pending = std::mem::take(&mut file.pending);
            pending
                .iter()
                .for_each(|change| change.apply(&mut file.durable));
        } else if !self.broken.no_directory_sync {
            // A later change of a name may rest on an earlier one elsewhere: it takes those with it, as a journal does.
            let last = self.pending.iter().rposition(|(op, _)| is_in(op, path));
            for (op, file) in self.pending.drain(..last.map_or(0, |last| last + 1)) {
                rename(&mut self.durable, &op, file);
            }
        }
    }

    /// Writes an image of the disk after a power cut into `target`.
    pub(crate) fn cut(&self, cut: Cut, random: &mut impl FnMut() -> u64, target: &Path) {
        let mut names = self.durable.clone();
        for (op, file) in &self.pending {
            let arrived = match cut {
                Cut::Nothing => false,
                Cut::Everything | Cut::TornWrite | Cut::NamesOnly => true,
                Cut::Sectors | Cut::Pages | Cut::LengthsOnly => random().is_multiple_of(2),
            };
            if arrived {
                rename(&mut names, op, *file);
            }
        }
        for (path, file) in &names {
            let path = target.join(path.strip_prefix(&self.root).unwrap());
            if path.parent().is_none_or(|parent| !parent.is_dir()) && path != target {
                continue;
            }
            match file {
                None => fs::create_dir_all(&path).unwrap(),
                Some(number) => fs::write(&path, self.files[*number].cut(cut, random)).unwrap(),
            }
        }
    }
}

/// True if the change concerns a name in this directory.
fn is_in(op: &Op, dir: &Path) -> bool {
    match op {
        Op::Create(path) | Op::MakeDir(path) | Op::Remove(path) => path.parent() == Some(dir),
        Op::Rename(from, to) => from.parent() == Some(dir) || to.parent() == Some(dir),
        _ => false,
    }
}

/// Changes names; what cannot be done, since an earlier change did not arrive, is not done.
fn rename(names: &mut Names, op: &Op, file: Option<usize>) {
    match op {
        Op::Create(path) | Op::MakeDir(path) => {
            names.insert(path.clone(), file);
        }
        Op::Remove(path) => names.retain(|name, _| !name.starts_with(path)),
        Op::Rename(from, to) => {
            let moved: Vec<_> = names
                .iter()
                .filter(|(name, _)| name.starts_with(from))
                .map(|(name, file)| (name.clone(), *file))
                .collect();
            if moved.is_empty() {
                return;
            }
            names.retain(|name, _| !name.starts_with(from) && !name.starts_with(to));
            for (name, file) in moved {
                let rest = name.strip_prefix(from).unwrap();
                let name = match rest.as_os_str().is_empty() {
                    true => to.clone(),
                    false => to.join(rest),
                };
                names.insert(name, file);
            }
        }
        _ => {}
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write(at, written) => put(bytes, *at as usize, written),
            Change::Truncate(length) => bytes.resize(*length as usize, 0),
        }
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, written: &[u8]) {
    if bytes.len() < at + written.len() {
        bytes.resize(at + written.len(), 0);
    }
    bytes[at..at + written.len()].copy_from_slice(written);
}

impl File {
    fn cut(&self, cut: Cut, random: &mut impl FnMut() -> u64) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let last = self.pending.len().saturating_sub(1);
        for (at, change) in self.pending.iter().enumerate() {
            match (cut, change) {
                (Cut::Nothing | Cut::NamesOnly, _) => {}
                (Cut::Everything, change) | (_, change @ Change::Truncate(_)) => {
                    change.apply(&mut bytes);
                }
                (Cut::TornWrite, Change::Write(to, written)) => {
                    let kept = match at == last {
                        true => random() as usize % (written.len() + 1),
                        false => written.len(),
                    };
                    put(&mut bytes, *to as usize, &written[..kept]);
                }
                (Cut::Sectors, Change::Write(to, written)) => {
                    scatter(&mut bytes, *to as usize, written, 512, random);
                }
                (Cut::Pages, Change::Write(to, written)) => {
                    scatter(&mut bytes, *to as usize, written, 4096, random);
                }
                (Cut::LengthsOnly, Change::Write(to, written)) => {
                    let length = bytes.len().max(*to as usize + written.len());
                    bytes.resize(length, 0);
                }
            }
        }
        bytes
    }
}

/// Some pieces of a write arrive, on the disk's own boundaries; the length does if the last one does.
fn scatter(
    bytes: &mut Vec<u8>,
    at: usize,
    written: &[u8],
    piece: usize,
    random: &mut impl FnMut() -> u64,
) {
    let mut start = 0;
    while start < written.len() {
        let end = written.len().min(start + piece - (at + start) % piece);
        if random().is_multiple_of(2) {
            put(bytes, at + start, &written[start..end]);
        }
        start = end;
    }
}
