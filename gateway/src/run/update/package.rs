//! The program in a Debian package, which `dpkg-deb` unpacks: no script of the package runs.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use super::image::Image;

/// The package, and where its program lies.
const NAME: &str = "tidegate";
const PROGRAM: &str = "usr/bin/tidegate";
/// Bytes of the fields of a package that are read.
const FIELDS_BYTES_MAX: u64 = 64 << 10;
/// How the head of a tar member is laid out.
const BLOCK: usize = 512;
/// Members of a package that are passed over before its program.
const MEMBERS_MAX: usize = 10_000;
/// Bytes of a long name in a head of its own.
const NAME_BYTES_MAX: u64 = 4096;

/// Whether a file is meant to be a package: by its name, or by how it begins.
pub fn is_meant(path: &Path) -> bool {
    let mut head = [0; 8];
    let is_archive = std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut head))
        .is_ok_and(|()| head == *b"!<arch>\n");
    is_archive || path.extension().is_some_and(|end| end == "deb")
}

/// The version of a package and the program in it.
///
/// # Errors
/// In words, what it is instead.
pub fn open(path: &Path) -> Result<(String, Image), String> {
    let fields = fields(path)?;
    let field = |name: &str| {
        let mut lines = fields.lines();
        let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.unwrap_or_default().trim().to_owned()
    };
    let name = field("Package");
    if name != NAME {
        return Err(format!(
            "it is the package `{name}`, not `{NAME}`: name the package of the gateway"
        ));
    }
    let mut unpacking = Unpacking::begin(path)?;
    let found = program(&mut unpacking.output).map_err(|error| {
        let said = unpacking.end();
        match said.is_empty() {
            true => format!("it is damaged: {error}; fetch it again"),
            false => format!("it is damaged: {said}; fetch it again"),
        }
    })?;
    let Some(bytes) = found else {
        return Err(format!(
            "there is no /{PROGRAM} in it: it is no package of the gateway"
        ));
    };
    let image = Image::copy(&mut bytes.as_slice())
        .map_err(|why| format!("its /{PROGRAM} is of no use: {why}"))?;
    Ok((field("Version"), image))
}

fn fields(path: &Path) -> Result<String, String> {
    let mut child = dpkg_deb(&["--field"], path)?;
    let mut text = Vec::new();
    if let Some(output) = child.stdout.take() {
        let _ = output.take(FIELDS_BYTES_MAX).read_to_end(&mut text);
    }
    let mut errors = String::new();
    if let Some(said) = child.stderr.take() {
        let _ = said.take(FIELDS_BYTES_MAX).read_to_string(&mut errors);
    }
    let ended = child.wait().map_err(|error| error.to_string())?;
    if !ended.success() {
        return Err(format!("it is no package: {}", last_line(&errors)));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn dpkg_deb(arguments: &[&str], path: &Path) -> Result<Child, String> {
    // A name that begins with a dash is no option.
    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
    let started = Command::new("dpkg-deb")
        .args(arguments)
        .arg(path)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    started.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            "packages are opened by `dpkg-deb`, which this machine has not: unpack it elsewhere and name the program in it"
                .to_owned()
        }
        _ => format!("dpkg-deb cannot be started: {error}"),
    })
}

fn last_line(text: &str) -> String {
    let line = text.lines().rfind(|line| !line.trim().is_empty());
    let line = line.unwrap_or("dpkg-deb says nothing").trim();
    line.strip_prefix("dpkg-deb: error: ")
        .unwrap_or(line)
        .to_owned()
}

/// `dpkg-deb` at work; it ends with this.
struct Unpacking {
    child: Child,
    output: ChildStdout,
}

impl Unpacking {
    fn begin(path: &Path) -> Result<Unpacking, String> {
        let mut child = dpkg_deb(&["--fsys-tarfile"], path)?;
        let output = child.stdout.take().ok_or("dpkg-deb has no output")?;
        Ok(Unpacking { child, output })
    }

    /// What it said of a damage.
    fn end(&mut self) -> String {
        let _ = self.child.kill();
        let mut text = String::new();
        if let Some(errors) = self.child.stderr.take() {
            let _ = errors.take(FIELDS_BYTES_MAX).read_to_string(&mut text);
        }
        match text.trim().is_empty() {
            true => String::new(),
            false => last_line(&text),
        }
    }
}

impl Drop for Unpacking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The bytes of the program among the members of a tar archive.
fn program(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut long_name = None;
    for _ in 0..MEMBERS_MAX {
        let mut head = [0; BLOCK];
        from.read_exact(&mut head)?;
        if head.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let size = octal(&head[124..136]).ok_or_else(|| broken("the head of a file"))?;
        let is_file = matches!(head[156], b'0' | 0);
        if head[156] == b'L' && size <= NAME_BYTES_MAX {
            let mut name = body(from, size)?;
            name.truncate(
                name.iter()
                    .position(|byte| *byte == 0)
                    .unwrap_or(name.len()),
            );
            long_name = Some(name);
            continue;
        }
        let name = long_name.take().unwrap_or_else(|| short_name(&head));
        let name = name.strip_prefix(b"./").unwrap_or(&name);
        if is_file && name == PROGRAM.as_bytes() {
            return body(from, size).map(Some);
        }
        let padded = size.next_multiple_of(BLOCK as u64);
        if io::copy(&mut from.by_ref().take(padded), &mut io::sink())? < padded {
            return Err(broken("its end"));
        }
    }
    Ok(None)
}

fn broken(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{what} is not as it should be"),
    )
}

fn body(from: &mut impl Read, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.by_ref().take(size).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < size {
        return Err(broken("its end"));
    }
    let padding = size.next_multiple_of(BLOCK as u64) - size;
    io::copy(&mut from.by_ref().take(padding), &mut io::sink())?;
    Ok(bytes)
}

fn short_name(head: &[u8; BLOCK]) -> Vec<u8> {
    let text = |field: &[u8]| {
        let end = field.iter().position(|byte| *byte == 0);
        field[..end.unwrap_or(field.len())].to_vec()
    };
    let (name, prefix) = (text(&head[..100]), text(&head[345..500]));
    match head[257..262] == *b"ustar" && !prefix.is_empty() {
        true => [prefix, b"/".to_vec(), name].concat(),
        false => name,
    }
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}
