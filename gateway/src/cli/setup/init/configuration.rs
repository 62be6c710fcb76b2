//! The text of a first configuration and of its first rules.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::answers::{Answers, Listen, Speech, Upstream};
use super::found::Found;
use crate::config::unit;

/// Bytes of the store, where the disk has room for it.
const STORE_BYTES: u64 = 2 << 30;
const STORE_BYTES_MIN: u64 = 16 << 20;
/// What the store leaves free and keeps in reserve, and what the files of an upstream take.
const BESIDE_BYTES: u64 = (64 + 32 + 144) << 20;
/// Sizes are whole MiB.
const MEBIBYTE: u64 = 1 << 20;
const FILE: &str = "events.jsonl";
/// The file with the hash of the devices' password.
pub(super) const HASH: &str = "device.hash";
/// The folder of the rules, and the first file in it.
pub(super) const RULES: &str = "rules";
pub(super) const FIRST_RULES: &str = "first.rules";

/// `gateway.toml`
pub(super) fn text(answers: &Answers, found: &Found) -> String {
    let mut text = String::new();
    let Answers { id, data_dir, .. } = answers;
    let _ = write!(
        text,
        "# Written by `tidegate init`; yours from now on. `tidegate check` says whether all is well after a change, and\n\
         # `systemctl reload tidegate` (or SIGHUP) has a running gateway take it. Every key is explained in gateway/README.md.\n\
         \n\
         [gateway]\n\
         id       = {}   # begins the source of every event\n\
         data_dir = {}   # {}\n\
         rules    = \"{RULES}\"   # folder beside this file; what is saved there is in force at once\n\
         \n",
        quoted(id),
        path(data_dir),
        found.disk_words(data_dir),
    );
    text += &store(answers, found);
    text += &listen(answers);
    text += &serial(answers);
    text += &upstream(answers);
    text
}

fn store(answers: &Answers, found: &Found) -> String {
    let mut text = String::from("[store]\n");
    let room = found.free_bytes(&answers.data_dir);
    let fits = room.map(|free| free.saturating_sub(BESIDE_BYTES) / 2 / MEBIBYTE * MEBIBYTE);
    let size = fits.map_or(STORE_BYTES, |fits| fits.clamp(STORE_BYTES_MIN, STORE_BYTES));
    let _ = writeln!(
        text,
        "max_size = \"{}\"   # then nothing more is acknowledged, until something is delivered",
        unit::size_text(size)
    );
    match answers.endurance_bytes {
        Some(bytes) => {
            let bytes = unit::size_text(bytes);
            let _ = writeln!(
                text,
                "endurance = \"{bytes}\"   # what may be written to the disk in all"
            );
        }
        None => {
            let disk = found.disk(&answers.data_dir);
            if disk.is_some_and(|disk| disk.medium.is_flash()) {
                text += "# endurance = \"30TiB\"   # what the maker promises (TBW): `tidegate status` tells how long it lasts\n";
            }
        }
    }
    match answers.commit_delay {
        Some(delay) if !delay.is_zero() => {
            let delay = unit::duration_text(delay);
            let _ = writeln!(
                text,
                "commit_delay     = \"{delay}\"   # as `tidegate bench` proposed: fewer and larger commits\ncommit_delay_max = \"{delay}\""
            );
        }
        Some(_) => text += "# commit_delay = \"0ms\"   # as `tidegate bench` proposed\n",
        None => {
            text += "# commit_delay = \"0ms\"   # `tidegate bench` proposes one for this disk\n"
        }
    }
    text + "\n"
}

fn listen(answers: &Answers) -> String {
    match &answers.listen {
        Listen::None => String::new(),
        Listen::Broker(url) => format!(
            "# What comes to the broker that is there; it keeps what comes while the gateway is away.\n\
             [sources.broker]\ntype   = \"mqtt\"\nurl    = {}\ntopics = [\"#\"]\n\n",
            quoted(url)
        ),
        Listen::Address(address) => {
            let mut text = format!(
                "# Devices connect here with MQTT 3.1, 3.1.1 or 5; publish with QoS 1 to be told that it is on the disk.\n\
                 [sources.floor]\ntype   = \"mqtt-listener\"\nlisten = \"{address}\"\n"
            );
            if answers.needs_login() {
                let _ = write!(
                    text,
                    "# Passwords travel in the clear without: tls = {{ cert = \"gateway.pem\", key = \"gateway.key\" }}\n\n\
                     [sources.floor.users.device]\npassword_hash_file = \"{HASH}\"   # `tidegate hash-password` makes another\n\
                     publish            = [\"#\"]\n"
                );
            }
            text + "\n"
        }
    }
}

fn serial(answers: &Answers) -> String {
    let mut text = String::new();
    for (number, serial) in answers.serial.iter().enumerate() {
        let name = format!("serial{}", number + 1);
        let kind = match serial.speech {
            Speech::Text => {
                "type   = \"lines\"\nformat = \"text\"   # or \"json\", or \"csv\" with its columns"
            }
            Speech::Json => "type   = \"lines\"\nformat = \"json\"",
            Speech::Framed => "type   = \"serial\"   # devices with the firmware of Tidegate",
        };
        let topic = match serial.speech {
            Speech::Framed => String::new(),
            _ => format!("topic  = \"serial/{}\"\n", number + 1),
        };
        let _ = write!(
            text,
            "[sources.{name}]\n{kind}\nport   = {}\nbaud   = {}\n{topic}\n",
            path(&serial.port),
            serial.baud
        );
    }
    text
}

fn upstream(answers: &Answers) -> String {
    let name = upstream_name(answers);
    let keys = match &answers.upstream {
        Upstream::Mqtt(url) => format!(
            "type  = \"mqtt\"\nurl   = {}\ntopic = \"{{topic}}\"   # the event's own\nqos   = 1\n\
             # user = \"…\" and password_file = \"…\" (mode 0600), where it wants a login\n",
            quoted(url)
        ),
        Upstream::Http(url) => format!(
            "type = \"http\"\nurl  = {}\n# bearer_file = \"…\" (mode 0600), where it wants a token\n",
            quoted(url)
        ),
        Upstream::File(file) => {
            let file = file
                .clone()
                .unwrap_or_else(|| default_file(&answers.data_dir));
            format!(
                "type        = \"file\"\npath        = {}   # a JSON document a line\nrotate_size = \"16MiB\"\nkeep_files  = 8\n",
                path(&file)
            )
        }
    };
    format!(
        "# Where events go; rules name it. What it does not take waits in the store.\n[upstreams.{name}]\n{keys}"
    )
}

/// Where events go when nothing else is said.
pub(super) fn default_file(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

fn upstream_name(answers: &Answers) -> &'static str {
    match answers.upstream {
        Upstream::Mqtt(_) => "cloud",
        Upstream::Http(_) => "hook",
        Upstream::File(_) => "archive",
    }
}

/// `rules/first.rules`
pub(super) fn rules(answers: &Answers) -> String {
    let upstream = upstream_name(answers);
    format!(
        r##"# The first rules, written by `tidegate init`. Save this file, and what it says is in force; a mistake is told in the log
# and by `tidegate status`, and the rules before go on. The language is explained in rules/README.md.

# Everything that comes goes on as it came.
rule everything {{
  on "#"
  send to {upstream}
}}

# An alarm of its own, ahead of all that waits: take the `#` away, and write your topic and field.
# rule hot {{
#   on "hall/{{sensor}}/temperature"
#   when celsius > 80
#   send to {upstream} topic "alarms/{{sensor}}" priority high
# }}
"##
    )
}

/// A text of TOML, in which nothing is a variable.
fn quoted(text: &str) -> String {
    toml_edit::Value::from(text.replace("${", "$${")).to_string()
}

fn path(path: &Path) -> String {
    quoted(&path.display().to_string())
}
