//! The questions, at a terminal. A wrong answer is told and asked for again.

use std::io::{BufRead, Read, Write};
use std::path::Path;

use super::answers::{Answers, Listen, Speech, Upstream};
use super::configuration;
use super::found::Found;
use super::taking::{Given, QUESTIONS, Question};
use crate::cli::Failure;
use crate::cli::terminal::table::printable;

/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 4096;

/// Asks what no flag says. An empty answer takes what is proposed.
///
/// # Errors
/// When the terminal is closed: nothing was written.
pub(super) fn ask(answers: &mut Answers, given: &Given<'_>, found: &Found) -> Result<(), Failure> {
    let mut terminal = std::io::stderr();
    for line in found.lines(&answers.data_dir) {
        writeln!(terminal, "{line}")?;
    }
    for question in QUESTIONS {
        if given.has(question) {
            continue;
        }
        loop {
            write!(
                terminal,
                "{} [{}]: ",
                words(question),
                proposed(answers, question)
            )?;
            terminal.flush()?;
            let Some(answer) = answer()? else {
                writeln!(terminal, "that is no UTF-8; once more")?;
                continue;
            };
            let answer = answer.trim();
            if answer.is_empty() {
                break;
            }
            // Ports stand side by side in one answer.
            let texts: Vec<&str> = match question {
                Question::Serial => answer.split_whitespace().collect(),
                _ => vec![answer],
            };
            match answers.take(question, &texts, found) {
                Ok(()) => break,
                Err(why) => writeln!(terminal, "{}; once more", printable(&why))?,
            }
        }
    }
    Ok(())
}

/// Whether the disk is to be measured.
///
/// # Errors
/// When the terminal is closed.
pub(super) fn offers_bench() -> Result<bool, Failure> {
    let mut terminal = std::io::stderr();
    write!(
        terminal,
        "measure this disk now, which takes half a minute, and take the commit_delay that spares it? [y/N]: "
    )?;
    terminal.flush()?;
    let answer = answer()?.unwrap_or_default();
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// A line; none where it is no text.
fn answer() -> Result<Option<String>, Failure> {
    let mut line = Vec::new();
    let mut input = std::io::stdin().lock();
    let read = input
        .by_ref()
        .take(ANSWER_BYTES_MAX)
        .read_until(b'\n', &mut line)?;
    if read == 0 {
        eprintln!();
        return Err(Failure::new(
            "the questions were not answered; nothing was written",
        ));
    }
    // The rest of an endless line is no answer to the next question.
    while line.last() != Some(&b'\n') {
        let mut rest = Vec::new();
        let more = input
            .by_ref()
            .take(ANSWER_BYTES_MAX)
            .read_until(b'\n', &mut rest)?;
        if more == 0 || rest.last() == Some(&b'\n') {
            break;
        }
    }
    Ok(String::from_utf8(line).ok())
}

fn words(question: Question) -> &'static str {
    match question {
        Question::Id => "name of this gateway",
        Question::DataDir => "folder for its events",
        Question::Listen => {
            "where MQTT devices connect: ADDRESS:PORT, mqtt://BROKER to subscribe there, or none"
        }
        Question::Serial => {
            "serial ports, as PORT,text or PORT,json or PORT,framed, with blanks between them, or none"
        }
        Question::Upstream => "where events go: mqtt://HOST, https://HOST/PATH or a file",
    }
}

/// What an empty answer means.
fn proposed(answers: &Answers, question: Question) -> String {
    let text = match question {
        Question::Id => answers.id.clone(),
        Question::DataDir => shown(&answers.data_dir),
        Question::Listen => match &answers.listen {
            Listen::None => "none".to_owned(),
            Listen::Address(address) => address.to_string(),
            Listen::Broker(url) => url.clone(),
        },
        Question::Serial if answers.serial.is_empty() => "none".to_owned(),
        Question::Serial => {
            let ports = answers.serial.iter().map(|serial| {
                let kind = match serial.speech {
                    Speech::Text => "text",
                    Speech::Json => "json",
                    Speech::Framed => "framed",
                };
                format!("{},{kind}", serial.port.display())
            });
            ports.collect::<Vec<_>>().join(" ")
        }
        Question::Upstream => match &answers.upstream {
            Upstream::Mqtt(url) | Upstream::Http(url) => url.clone(),
            Upstream::File(Some(path)) => shown(path),
            Upstream::File(None) => shown(&configuration::default_file(&answers.data_dir)),
        },
    };
    printable(&text)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
