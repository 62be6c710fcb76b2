//! What an ELF file says of itself: its machine, its C library, the packages it is made of.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;

use object::elf;
use object::read::elf::{FileHeader, ProgramHeader as _, SectionHeader as _, Sym as _};

/// A version of glibc, such as 2.34.
pub(crate) type Version = (u32, u32);

/// What `cargo auditable` adds to a program.
const PACKAGES_SECTION: &[u8] = b".dep-v0";
/// No list of packages is longer, unpacked.
const PACKAGES_MAX_BYTES: u64 = 8 << 20;
/// Symbols named for one version.
const SYMBOLS_MAX: usize = 5;

/// A built program.
#[derive(Debug)]
pub(crate) struct Program {
    /// Its machine.
    pub machine: &'static str,
    /// Its size.
    pub size_bytes: u64,
    /// The C library it needs.
    pub libc: Libc,
    /// How many packages it says it is made of; nothing where it does not say.
    pub packages: Option<usize>,
}

/// The C library of a program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Libc {
    /// None: it has its own.
    Static,
    /// glibc from this version on, which is that of these symbols.
    Glibc { needed: Version, by: Vec<String> },
    /// The one of another loader.
    Other(String),
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = self.size_bytes as f64 / 1e6;
        write!(f, "{megabytes:.2} MB, {}", self.machine)?;
        match &self.libc {
            Libc::Static => write!(f, ", static")?,
            Libc::Glibc { needed, .. } => write!(f, ", glibc {}.{}", needed.0, needed.1)?,
            Libc::Other(loader) => write!(f, ", {loader}")?,
        }
        match self.packages {
            Some(count) => write!(f, ", made of {count} packages"),
            None => write!(f, ", not auditable"),
        }
    }
}

/// Reads a program, of 32 or 64 bits.
pub(crate) fn read(bytes: &[u8]) -> Result<Program, String> {
    let kind = object::FileKind::parse(bytes).map_err(|error| error.to_string())?;
    let read = match kind {
        object::FileKind::Elf32 => program::<elf::FileHeader32<object::Endianness>>(bytes),
        object::FileKind::Elf64 => program::<elf::FileHeader64<object::Endianness>>(bytes),
        other => return Err(format!("it is no ELF program but {other:?}")),
    };
    read.map_err(|error| error.to_string())
}

/// `2.34` as two numbers.
pub(crate) fn version(text: &str) -> Option<Version> {
    let (major, minor) = text.split_once('.')?;
    // Old versions have a third number, which no symbol of a newer one has.
    let minor = minor.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn program<Elf: FileHeader<Endian = object::Endianness>>(bytes: &[u8]) -> object::Result<Program> {
    let header = Elf::parse(bytes)?;
    let endian = header.endian()?;
    let machine = match header.e_machine(endian) {
        elf::EM_X86_64 => "x86-64",
        elf::EM_386 => "i386",
        elf::EM_AARCH64 => "aarch64",
        elf::EM_ARM => "arm",
        _ => "another machine",
    };
    let mut loader = None;
    for segment in header.program_headers(endian, bytes)? {
        if let Some(name) = segment.interpreter(endian, bytes)? {
            loader = Some(String::from_utf8_lossy(name).into_owned());
        }
    }
    let mut needed = BTreeMap::<Version, Vec<String>>::new();
    let sections = header.sections(endian, bytes)?;
    if let Some(versions) = sections.versions(endian, bytes)? {
        let symbols = sections.symbols(endian, bytes, elf::SHT_DYNSYM)?;
        for (index, symbol) in symbols.enumerate() {
            let wanted = versions.version_index(endian, index);
            let Some(wanted) = versions.version(wanted.into())? else {
                continue;
            };
            let name = String::from_utf8_lossy(wanted.name());
            let number = name.strip_prefix("GLIBC_").and_then(version);
            if let Some(number) = number.filter(|_| symbol.is_undefined(endian)) {
                let symbol = symbol.name(endian, symbols.strings())?;
                let by = needed.entry(number).or_default();
                by.push(String::from_utf8_lossy(symbol).into_owned());
            }
        }
    }
    let newest = needed.pop_last();
    let libc = match (loader, newest) {
        (None, _) => Libc::Static,
        (Some(_), Some((needed, mut by))) => {
            by.truncate(SYMBOLS_MAX);
            Libc::Glibc { needed, by }
        }
        (Some(loader), None) => Libc::Other(loader),
    };
    let packages = sections.section_by_name(endian, PACKAGES_SECTION);
    let packages = match packages {
        Some((_, section)) => Some(count_packages(section.data(endian, bytes)?)),
        None => None,
    };
    Ok(Program {
        machine,
        size_bytes: bytes.len() as u64,
        libc,
        packages,
    })
}

/// How many packages a packed list names; none where it cannot be read.
fn count_packages(packed: &[u8]) -> usize {
    let mut list = Vec::new();
    let unpacked = flate2::read::ZlibDecoder::new(packed)
        .take(PACKAGES_MAX_BYTES)
        .read_to_end(&mut list);
    let list = unpacked
        .ok()
        .and_then(|_| serde_json::from_slice(&list).ok());
    let list: serde_json::Value = list.unwrap_or_default();
    list["packages"].as_array().map_or(0, Vec::len)
}
