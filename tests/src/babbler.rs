//! What talks without end at a serial port, as fast as the port takes it.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tidegate_link::frame::{self, Decoder};
use tidegate_link::message::{Hello, Level, ToDevice, ToGateway};
use tidegate_link::{FRAME_SIZE_MAX, Field, Kind, Sequence};

use crate::node::{pseudo_terminal, raw_line};

/// What it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Babble {
    /// Log frames.
    Logs,
    /// Log frames of characters that are written in six.
    EscapedLogs,
    /// Hellos, each of another device.
    NewDevices,
    /// Hellos of one device, each of another boot.
    NewBoots,
    /// The same hello.
    OneHello,
    /// A device that is welcome and says each time that it lost records.
    Gaps,
    /// Two devices of one name and boot in turn.
    Twins,
    /// Events of no session.
    ForeignEvents,
    /// Frames with a wrong checksum.
    WrongChecksums,
    /// Runs longer than any frame.
    Oversized,
    /// Good frames that say nothing that is known.
    Unknown,
    /// Random bytes.
    Noise,
    /// Delimiters and nothing else.
    Delimiters,
    /// Lines of random bytes.
    NoiseLines,
    /// Lines of letters that are no JSON.
    BadLines,
    /// Line ends and nothing else.
    LineEnds,
    /// One line without end.
    EndlessLine,
}

/// A thread that talks until it is dropped.
pub struct Babbler {
    ended: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
    link: PathBuf,
    /// Held so that the line does not hang up while nobody has it open.
    _line: File,
}

impl Babbler {
    /// Starts; the gateway finds the line at `link`.
    ///
    /// # Panics
    /// When the system gives no pseudo-terminal.
    pub fn start(link: &Path, what: Babble) -> Babbler {
        let (port, path) = pseudo_terminal().expect("a pseudo-terminal");
        let line = raw_line(&path);
        std::os::unix::fs::symlink(&path, link).expect("a name for the line");
        let (ended, written) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (end, count) = (Arc::clone(&ended), Arc::clone(&written));
        let thread = std::thread::spawn(move || babble(port, what, &end, &count));
        Babbler {
            ended,
            written,
            thread: Some(thread),
            link: link.into(),
            _line: line,
        }
    }

    /// Bytes that the port took.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

impl Drop for Babbler {
    fn drop(&mut self) {
        // The next pseudo-terminal of anybody may have the same number.
        let _ = std::fs::remove_file(&self.link);
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn babble(mut port: File, what: Babble, ended: &AtomicBool, written: &AtomicU64) {
    let mut mouth = Mouth {
        what,
        said: 0,
        session: 0,
        asked: None,
        random: fastrand::Rng::with_seed(11),
    };
    let (mut decoder, mut heard) = (Decoder::default(), [0; 512]);
    let mut waiting = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        if let Ok(count) = port.read(&mut heard) {
            let mut bytes = &heard[..count];
            while let Some(frame) = decoder.advance(&mut bytes) {
                let message = frame.map(|()| postcard::from_bytes(decoder.message()));
                match message {
                    Ok(Ok(ToDevice::Welcome { session, .. })) => mouth.session = session,
                    Ok(Ok(ToDevice::SchemaRequest { key, .. })) => mouth.asked = Some(key),
                    _ => {}
                }
            }
        }
        while waiting.len() < 4096 {
            waiting.extend(mouth.next());
        }
        match port.write(&waiting) {
            Ok(count) => {
                waiting.drain(..count);
                written.fetch_add(count as u64, Ordering::Relaxed);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_micros(200));
            }
            Err(_) => return,
        }
    }
}

struct Mouth {
    what: Babble,
    said: u32,
    /// That it was welcomed in.
    session: u16,
    /// The schema that it was asked for.
    asked: Option<u32>,
    random: fastrand::Rng,
}

impl Mouth {
    fn next(&mut self) -> Vec<u8> {
        self.said = self.said.wrapping_add(1);
        let said = self.said;
        let hello = self.hello();
        if let Some(key) = self.asked.take() {
            return message(&no_schema(key));
        }
        match self.what {
            Babble::Logs => log("all is well here, the motor turns and the sun shines upon us all"),
            Babble::EscapedLogs => log(&"\u{1}\u{7f}\u{1b}\"".repeat(50)),
            Babble::NewDevices => message(&ToGateway::Hello(Hello {
                device: (u64::from(said) + (1 << 40)).to_be_bytes(),
                ..hello
            })),
            Babble::NewBoots => message(&ToGateway::Hello(Hello {
                boot: said,
                ..hello
            })),
            Babble::OneHello => message(&ToGateway::Hello(hello)),
            Babble::Gaps => message(&ToGateway::Hello(Hello {
                session: self.session,
                oldest: Sequence(said),
                next: Sequence(said + 1),
                ..hello
            })),
            Babble::Twins => message(&ToGateway::Hello(Hello {
                session: 1 + (said % 2) as u16,
                ..hello
            })),
            Babble::ForeignEvents => message(&ToGateway::Event {
                session: 9,
                sequence: Sequence(said),
                record: &[1, 2, 3],
            }),
            Babble::WrongChecksums => {
                let mut frame = message(&ToGateway::Hello(hello));
                frame[4] ^= 0x20;
                frame
            }
            Babble::Oversized => [vec![b'x'; 400], vec![0]].concat(),
            Babble::Unknown => message(&[200_u8, 1, 2, 3]),
            Babble::Noise | Babble::NoiseLines => (0..256).map(|_| self.random.u8(..)).collect(),
            Babble::Delimiters => vec![0; 256],
            Babble::BadLines => format!("the temperature is {said} or so\n").into_bytes(),
            Babble::LineEnds => b"\r\n".repeat(128),
            Babble::EndlessLine => vec![b'x'; 256],
        }
    }

    fn hello(&self) -> Hello<'static> {
        Hello {
            device: *b"babbler1",
            boot: 1,
            session: 0,
            firmware: "\u{1}\u{2}1.0.0",
            slot: 0,
            schema: 0,
            window: 8,
            next: Sequence(0),
            oldest: Sequence(0),
            lost: 0,
        }
    }
}

/// The answer of a device that does not know its own schema.
fn no_schema(key: u32) -> ToGateway<'static> {
    let field = Field {
        name: "",
        unit: "",
        kind: Kind::Boolean,
    };
    ToGateway::SchemaField {
        key,
        index: 0,
        count: 0,
        field,
    }
}

fn log(text: &str) -> Vec<u8> {
    let level = Level::Error;
    message(&ToGateway::Log { level, text })
}

fn message(message: &impl serde::Serialize) -> Vec<u8> {
    let mut buffer = [0; FRAME_SIZE_MAX];
    frame::encode(message, &mut buffer).expect("fits").to_vec()
}
