//! The file of another program: whether it is whole and for this machine, and a copy of it that can be asked.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::MemfdFlags;

use super::bounded::{Identity, Said, TO_ANSWER, Unheard, ask, ending};
use super::digest::OWN;
use super::formats::Formats;

/// The largest program that is looked at.
const PROGRAM_BYTES_MAX: u64 = 512 << 20;
const MIB: u64 = 1 << 20;
/// Bytes of the head of an ELF file of 64 bits.
const HEAD_BYTES: usize = 64;

/// A program in memory, which no other user can change or run, with no rights beyond its user's.
#[derive(Debug)]
pub struct Image {
    file: File,
}

impl Image {
    /// Takes a copy of what `from` gives.
    ///
    /// # Errors
    /// In words, why that is no program for this machine.
    pub fn copy(from: &mut impl Read) -> Result<Image, String> {
        let mut bytes = Vec::new();
        let read = from.take(PROGRAM_BYTES_MAX + 1).read_to_end(&mut bytes);
        read.map_err(|error| format!("it cannot be read: {error}"))?;
        if bytes.len() as u64 > PROGRAM_BYTES_MAX {
            let most = PROGRAM_BYTES_MAX / MIB;
            return Err(format!(
                "it is larger than {most} MiB, which no tidegate is"
            ));
        }
        check(&bytes)?;
        let file = in_memory(&bytes).map_err(|error| format!("it cannot be copied: {error}"))?;
        Ok(Image { file })
    }

    /// Asks it, as `identity`.
    ///
    /// # Errors
    /// When it says nothing that counts.
    pub fn ask(
        &self,
        arguments: &[&std::ffi::OsStr],
        identity: Option<Identity>,
        within: Duration,
    ) -> Result<Said, Unheard> {
        let path = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        ask(&path, arguments, identity, within)
    }

    /// Its version and formats.
    ///
    /// # Errors
    /// In words, why they are not known.
    pub fn formats(&self, identity: Option<Identity>) -> Result<Formats, String> {
        let arguments = ["self", "formats", "--format", "json"].map(std::ffi::OsStr::new);
        let said = self
            .ask(&arguments, identity, TO_ANSWER)
            .map_err(|error| error.to_string())?;
        if !said.status.success() {
            return Err(format!(
                "{}{}",
                ending(said.status),
                first_line(&said.errors)
            ));
        }
        serde_json::from_slice(&said.output)
            .map_err(|_| "what it says of itself is nothing that a tidegate says".to_owned())
    }

    /// The version that `--version` says, which every release has.
    pub fn version(&self, identity: Option<Identity>) -> Option<String> {
        let said = self
            .ask(&["--version".as_ref()], identity, TO_ANSWER)
            .ok()?;
        let text = String::from_utf8(said.output).ok()?;
        let version = text.strip_prefix("tidegate ")?.trim();
        (!version.is_empty() && version.len() < 64).then(|| version.to_owned())
    }
}

/// `: ` and the first line of what was said, if anything was.
fn first_line(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty());
    line.map_or_else(String::new, |line| {
        let line: String = line.chars().filter(|c| !c.is_control()).take(300).collect();
        format!(": {line}")
    })
}

fn in_memory(bytes: &[u8]) -> io::Result<File> {
    let made = rustix::fs::memfd_create("tidegate", MemfdFlags::CLOEXEC)?;
    let mut written = File::from(made);
    written.write_all(bytes)?;
    // A file that somebody may write to cannot be run.
    File::open(format!("/proc/self/fd/{}", written.as_raw_fd()))
}

/// That these are the bytes of a whole program for the machine that this program is for.
fn check(bytes: &[u8]) -> Result<(), String> {
    let head = Head::read(bytes)?;
    let mut own = vec![0; HEAD_BYTES];
    let own = File::open(OWN)
        .and_then(|mut file| file.read_exact(&mut own))
        .ok()
        .and_then(|()| Head::read(&own).ok());
    if let Some(own) = own
        && (own.class, own.little, own.machine) != (head.class, head.little, head.machine)
    {
        return Err(format!(
            "it is for {}, and this gateway runs on {}: take the build for this machine",
            head.words(),
            own.words()
        ));
    }
    match head.end(bytes) {
        Some(end) if end <= bytes.len() as u64 => Ok(()),
        _ => Err("it is cut off: fetch it again, and compare its checksum".to_owned()),
    }
}

/// What the head of an ELF file says.
struct Head {
    class: u8,
    little: bool,
    machine: u16,
}

impl Head {
    fn read(bytes: &[u8]) -> Result<Head, String> {
        if bytes.is_empty() {
            return Err("it is empty".to_owned());
        }
        if !bytes.starts_with(b"\x7fELF") {
            return Err("it is no program of Linux (it has no ELF head)".to_owned());
        }
        let (Some(&class), Some(&order), Some(machine)) =
            (bytes.get(4), bytes.get(5), bytes.get(18..20))
        else {
            return Err("it is cut off within its head".to_owned());
        };
        if !matches!(class, 1 | 2) || bytes.len() < HEAD_BYTES {
            return Err("it is cut off within its head".to_owned());
        }
        let little = order == 1;
        let machine = [machine[0], machine[1]];
        Ok(Head {
            class,
            little,
            machine: match little {
                true => u16::from_le_bytes(machine),
                false => u16::from_be_bytes(machine),
            },
        })
    }

    fn words(&self) -> String {
        let machine = match self.machine {
            3 => "x86 of 32 bits".to_owned(),
            40 => "ARM of 32 bits (armhf)".to_owned(),
            62 => "x86-64 (amd64)".to_owned(),
            183 => "ARM of 64 bits (arm64)".to_owned(),
            243 => "RISC-V".to_owned(),
            other => format!("another machine (ELF {other})"),
        };
        match self.little {
            true => machine,
            false => format!("{machine}, big-endian"),
        }
    }

    /// The end of the last piece that it says it has: its segments and its table of sections.
    fn end(&self, bytes: &[u8]) -> Option<u64> {
        let wide = self.class == 2;
        let number = |at: usize, size: usize| -> Option<u64> {
            let piece = bytes.get(at..at.checked_add(size)?)?;
            let mut whole = [0; 8];
            match self.little {
                true => whole[..size].copy_from_slice(piece),
                false => whole[8 - size..].copy_from_slice(piece),
            }
            Some(match self.little {
                true => u64::from_le_bytes(whole),
                false => u64::from_be_bytes(whole),
            })
        };
        let word = if wide { 8 } else { 4 };
        let (segments, sections) = match wide {
            true => (number(0x20, 8)?, number(0x28, 8)?),
            false => (number(0x1c, 4)?, number(0x20, 4)?),
        };
        let counts = if wide { 0x36 } else { 0x2a };
        let (segment_bytes, segment_count) = (number(counts, 2)?, number(counts + 2, 2)?);
        let (section_bytes, section_count) = (number(counts + 4, 2)?, number(counts + 6, 2)?);
        let mut end = match sections {
            0 => HEAD_BYTES as u64,
            at => at.checked_add(section_bytes * section_count)?,
        };
        for index in 0..segment_count {
            let at = segments.checked_add(index * segment_bytes)?;
            let at = usize::try_from(at).ok()?;
            let (offset, size) = match wide {
                true => (at.checked_add(8)?, at.checked_add(32)?),
                false => (at.checked_add(4)?, at.checked_add(16)?),
            };
            end = end.max(number(offset, word)?.checked_add(number(size, word)?)?);
        }
        Some(end)
    }
}

/// Takes a copy of the program in the file `path`.
///
/// # Errors
/// In words, why that is no program for this machine.
pub fn of_file(path: &Path) -> Result<Image, String> {
    let mut file = File::open(path).map_err(|error| format!("it cannot be read: {error}"))?;
    let found = file
        .metadata()
        .map_err(|error| format!("it cannot be read: {error}"))?;
    if !found.is_file() {
        return Err("it is no file".to_owned());
    }
    Image::copy(&mut file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Vec<u8> {
        std::fs::read(OWN).expect("this test")
    }

    #[test]
    fn what_is_no_whole_program_for_this_machine_is_told() {
        let whole = own();
        assert_eq!(check(&whole), Ok(()));
        let said = |bytes: &[u8]| check(bytes).expect_err("no program");
        assert_eq!(said(b""), "it is empty");
        assert!(said(b"#!/bin/sh\n").contains("no program of Linux"));
        assert!(said(&whole[..30]).contains("within its head"));
        assert!(said(&whole[..whole.len() / 2]).contains("cut off"));
        assert!(said(&whole[..whole.len() - 1]).contains("cut off"));
        let mut foreign = whole.clone();
        foreign[18..20].copy_from_slice(&[0xf3, 0]);
        assert!(said(&foreign).starts_with("it is for RISC-V"));
        let mut wild = whole.clone();
        // The table of segments lies beyond all that can be counted.
        wild[0x20..0x28].copy_from_slice(&[0xff; 8]);
        assert!(said(&wild).contains("cut off"));
    }

    #[test]
    fn any_damage_of_a_head_is_no_panic() {
        let whole = own();
        let head = whole[..4096].to_vec();
        for at in 0..HEAD_BYTES {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = head.clone();
                damaged[at] = value;
                let _ = check(&damaged);
            }
        }
    }
}
