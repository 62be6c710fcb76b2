//! Takes answers, from flags and at a terminal, and says what is wrong with them: the configuration that comes of them is
//! read as a gateway reads it.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::answers::{Answers, Listen, Serial, Speech, Upstream};
use super::configuration;
use super::found::{Found, UsualPort};
use crate::run::config;

/// Bits per second of most boards.
const BAUD: u32 = 115_200;
const NONE: &str = "none";

/// The questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Id,
    DataDir,
    Listen,
    Serial,
    Upstream,
}

/// All of them, in the order in which they are asked.
pub(super) const QUESTIONS: [Question; 5] = [
    Question::Id,
    Question::DataDir,
    Question::Listen,
    Question::Serial,
    Question::Upstream,
];

impl Question {
    /// The flag that answers it.
    pub(super) fn flag(self) -> &'static str {
        match self {
            Question::Id => "--id",
            Question::DataDir => "--data-dir",
            Question::Listen => "--listen",
            Question::Serial => "--serial",
            Question::Upstream => "--upstream",
        }
    }
}

/// What the flags say.
pub(super) struct Given<'a> {
    pub(super) id: &'a Option<OsString>,
    pub(super) data_dir: &'a Option<OsString>,
    pub(super) listen: &'a Option<OsString>,
    pub(super) serial: &'a [OsString],
    pub(super) upstream: &'a Option<OsString>,
}

impl Given<'_> {
    fn of(&self, question: Question) -> Vec<&OsStr> {
        let one = match question {
            Question::Id => self.id,
            Question::DataDir => self.data_dir,
            Question::Listen => self.listen,
            Question::Upstream => self.upstream,
            Question::Serial => return self.serial.iter().map(OsString::as_os_str).collect(),
        };
        one.iter().map(OsString::as_os_str).collect()
    }

    /// Whether a flag answers it.
    pub(super) fn has(&self, question: Question) -> bool {
        !self.of(question).is_empty()
    }

    /// Whether nothing is left to ask.
    pub(super) fn is_all(&self) -> bool {
        self.missing().is_empty()
    }

    /// The flags that are not given.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        let missing = QUESTIONS
            .into_iter()
            .filter(|question| !self.has(*question));
        missing.map(Question::flag).collect()
    }

    /// Puts what is given into `answers`.
    ///
    /// # Errors
    /// The first flag that is wrong, and why.
    pub(super) fn take(&self, answers: &mut Answers, found: &Found) -> Result<(), String> {
        for question in QUESTIONS {
            let given = self.of(question);
            let texts = given.iter().map(|text| text.to_str());
            let Some(texts) = texts.collect::<Option<Vec<&str>>>() else {
                return Err(format!("`{}` is no UTF-8", question.flag()));
            };
            if !texts.is_empty() {
                let taken = answers.take(question, &texts, found);
                taken.map_err(|why| format!("`{}`: {why}", question.flag()))?;
            }
        }
        Ok(())
    }
}

impl Answers {
    /// What is answered where nobody says anything.
    pub(super) fn of_found(found: &Found) -> Answers {
        let is_built = cfg!(feature = "serial");
        let free = found
            .serial
            .iter()
            .filter(|(_, user)| is_built && user.is_none());
        Answers {
            id: found.id.clone(),
            data_dir: found.data_dir.clone(),
            listen: match found.usual_port {
                UsualPort::Broker(address) => Listen::Broker(format!("mqtt://{address}")),
                _ => Listen::Address(found.free_address()),
            },
            serial: free
                .map(|(port, _)| Serial {
                    port: port.name.clone(),
                    speech: Speech::Text,
                    baud: BAUD,
                })
                .collect(),
            upstream: Upstream::File(None),
            endurance_bytes: None,
            commit_delay: None,
        }
    }

    /// Takes the answer to a question; it is as before where that is wrong.
    ///
    /// # Errors
    /// Why it is none, in a sentence.
    pub(super) fn take(
        &mut self,
        question: Question,
        texts: &[&str],
        found: &Found,
    ) -> Result<(), String> {
        let mut next = self.clone();
        let text = texts.first().copied().unwrap_or_default();
        if texts.iter().any(|text| text.chars().any(char::is_control)) {
            return Err("it has a control character, such as the end of a line".to_owned());
        }
        match question {
            Question::Id => next.id = text.to_owned(),
            Question::DataDir => next.data_dir = absolute(text)?,
            Question::Listen => next.listen = listen(text)?,
            Question::Serial => next.serial = serial(texts)?,
            Question::Upstream => next.upstream = upstream(text)?,
        }
        match next.objection(found) {
            Some(why) => Err(why),
            None => {
                *self = next;
                Ok(())
            }
        }
    }

    /// What a gateway would have against it.
    pub(super) fn objection(&self, found: &Found) -> Option<String> {
        let text = configuration::text(self, found);
        let look = config::look(&found.dir.join(super::CONFIG), &text);
        let wrong = look.wrong.first()?;
        let note = wrong.notes.first().map(|note| format!("; {note}"));
        Some(wrong.message.clone() + &note.unwrap_or_default())
    }
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("it is empty; write the absolute path of a folder".to_owned()),
        text if Path::new(text).is_absolute() => Ok(text.into()),
        text => Err(format!("`{text}` is no absolute path; begin it with `/`")),
    }
}

/// `1883`, `:1883` and `*:1883` stand for what they usually do.
fn listen(text: &str) -> Result<Listen, String> {
    if text == NONE {
        return Ok(Listen::None);
    }
    if text.contains("://") {
        return Ok(Listen::Broker(text.to_owned()));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let host = match host {
        "" | "localhost" => "127.0.0.1",
        "*" => "0.0.0.0",
        host => host,
    };
    let address: Option<SocketAddr> = format!("{host}:{port}").parse().ok();
    match address {
        Some(address) if address.port() != 0 => Ok(Listen::Address(address)),
        _ => Err(format!(
            "`{text}` is no address and port from 1 to 65535; write 127.0.0.1:1883 for this machine alone, 0.0.0.0:1883 for \
             the network, mqtt://HOST:PORT for a broker, or none"
        )),
    }
}

fn serial(texts: &[&str]) -> Result<Vec<Serial>, String> {
    if texts == [NONE] {
        return Ok(Vec::new());
    }
    texts.iter().map(|text| serial_port(text)).collect()
}

/// `PORT`, `PORT,KIND` or `PORT,KIND,BAUD`
fn serial_port(text: &str) -> Result<Serial, String> {
    let mut parts = text.split(',');
    let port = parts.next().unwrap_or_default();
    if !Path::new(port).is_absolute() {
        return Err(format!(
            "`{port}` is no absolute path of a port such as /dev/serial/by-id/…; `none` stands for no port"
        ));
    }
    let speech = match parts.next() {
        None | Some("text") => Speech::Text,
        Some("json") => Speech::Json,
        Some("framed") => Speech::Framed,
        Some(other) => return Err(format!("`{other}` is none of text, json, framed")),
    };
    let baud = match parts.next() {
        None => BAUD,
        Some(baud) => baud
            .parse()
            .map_err(|_| format!("`{baud}` is no number of bits per second such as 9600"))?,
    };
    match parts.next() {
        Some(more) => Err(format!("`{more}` is one part too many: PORT,KIND,BAUD")),
        None => Ok(Serial {
            port: port.into(),
            speech,
            baud,
        }),
    }
}

fn upstream(text: &str) -> Result<Upstream, String> {
    match text.split_once("://") {
        Some(("mqtt" | "mqtts", _)) => Ok(Upstream::Mqtt(text.to_owned())),
        Some(("http" | "https", _)) => Ok(Upstream::Http(text.to_owned())),
        Some((scheme, _)) => Err(format!(
            "`{scheme}://` is not spoken here; known are mqtt://, mqtts://, http://, https://, and the absolute path of a file"
        )),
        None if Path::new(text).is_absolute() => Ok(Upstream::File(Some(text.into()))),
        None => Err(format!(
            "`{text}` is no url and no absolute path; write mqtt://HOST:1883, https://HOST/PATH or /PATH/events.jsonl"
        )),
    }
}
