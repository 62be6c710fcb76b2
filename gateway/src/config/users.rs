//! Who may use a listener: its address, its certificate and its users.
//!
//! Nothing is open to the network by accident: an address other than loopback needs users,
//! client certificates, or an explicit `anonymous = true`.

use std::net::SocketAddr;

use super::secret::Secret;
use super::section::{Found, Section};
use super::{ServerTls, User, address, broker, files, keys, topics};

/// What a listener's keys say about access.
pub(super) struct Access {
    pub(super) listen: SocketAddr,
    pub(super) tls: Option<ServerTls>,
    pub(super) users: Vec<User>,
    pub(super) anonymous: bool,
}

/// Reads `listen`, `tls`, `users` and `anonymous`. `by_certificate` says whether the source takes
/// a client certificate for a login.
pub(super) fn access(section: &Section<'_>, by_certificate: bool) -> Option<Access> {
    let listen = address::listen(section);
    let tls = broker::server_tls(section);
    let certificates = tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let users = users(section, by_certificate && certificates);
    let anonymous = section.flag("anonymous");
    let listen = listen?.value;
    let loopback = listen.ip().is_loopback();
    let nobody = !section.has("users") && !certificates;
    if nobody && !loopback && !section.has("anonymous") {
        refuse_open(section, listen);
    }
    if nobody && anonymous == Some(false) {
        section.refuse(
            "anonymous",
            "without users and without anonymous access nobody could connect",
        );
    }
    if section.has("users") && anonymous == Some(true) {
        let message = "with `users` nobody is let in without a login; leave one of the two out";
        section.refuse("anonymous", message);
    }
    if !users.is_empty() && !loopback && !section.has("tls") {
        let span = section.span("listen");
        let message = format!("passwords for {listen} travel in the clear");
        let warning = section.reading.warning(span, message);
        section
            .reading
            .note(warning.with_label("add tls = { cert = \"…\", key = \"…\" }"));
    }
    Some(Access {
        listen,
        tls,
        anonymous: anonymous.unwrap_or(users.is_empty() && (loopback || certificates)),
        users,
    })
}

fn refuse_open(section: &Section<'_>, listen: SocketAddr) {
    let message = format!("{listen} can be reached from other machines and asks for no login");
    let error = section
        .error("listen", message)
        .with_label(format!(
            "write 127.0.0.1:{} to stay on this machine",
            listen.port()
        ))
        .with_note(
            "or add users = { NAME = { password_hash = \"…\" } }, see `tidegate hash-password`",
        )
        .with_note("or add anonymous = true if everyone on the network may use it");
    section.reading.note(error);
}

/// With client certificates a user needs no password: a certificate with its name will do.
fn users(section: &Section<'_>, certificates: bool) -> Vec<User> {
    let entries = section.entries("users");
    if section.has("users") && entries.is_empty() {
        section.refuse("users", "`users` is empty: nobody could log in");
    }
    entries
        .into_iter()
        .filter_map(|(name, item)| {
            let Some(table) = item.as_table_like() else {
                let message = format!("user `{}` is no table", name.value);
                let error = section.reading.error(name.span, message);
                let label = "write NAME = { password_hash = \"…\", publish = [\"…\"] }";
                section.reading.note(error.with_label(label));
                return None;
            };
            let called = format!("user `{}`", name.value);
            let place = name.span.clone();
            let keys = Section::open(section.reading, called, Some(table), place, &[keys::USER]);
            user(&keys, name, certificates)
        })
        .collect()
}

fn user(section: &Section<'_>, name: Found<String>, certificates: bool) -> Option<User> {
    let unusual = |c: char| matches!(c, '+' | '#' | '/' | ':') || c.is_control();
    if name.value.is_empty() || name.value.contains(unusual) {
        let message = format!(
            "`{}` is no user name: `+ # / :` are not allowed",
            name.value
        );
        section
            .reading
            .note(section.reading.error(name.span, message));
    }
    let without = !section.has("password_hash") && !section.has("password_hash_file");
    let password_hash = match certificates && without {
        true => Some(Secret::new("")),
        false => password_hash(section),
    };
    let placeholders = ["user", "client"];
    let publish = topics::filters(section, "publish", &placeholders);
    let subscribe = topics::filters(section, "subscribe", &placeholders);
    Some(User {
        name: name.value,
        password_hash: password_hash?,
        publish,
        subscribe,
    })
}

fn password_hash(section: &Section<'_>) -> Option<Secret> {
    let (key, hash) = match (
        section.has("password_hash"),
        section.has("password_hash_file"),
    ) {
        (true, true) => {
            let message = "`password_hash` and `password_hash_file` say the same thing twice";
            section.refuse("password_hash_file", message);
            return None;
        }
        (true, false) => {
            let hash = section.text("password_hash")?;
            ("password_hash", Secret::new(hash.value))
        }
        (false, true) => {
            let hash = files::secret(section, "password_hash_file")?;
            ("password_hash_file", hash)
        }
        (false, false) => {
            let message = format!("{} has no password", section.name());
            let error = section.reading.error(section.heading(), message);
            let note = "run `tidegate hash-password` and write password_hash = \"…\"";
            section.reading.note(error.with_note(note));
            return None;
        }
    };
    if !hash.reveal().starts_with("$argon2") {
        let error = section.error(key, format!("`{key}` is no argon2 hash"));
        let note = "run `tidegate hash-password` and write down what it prints";
        section.reading.note(error.with_note(note));
        return None;
    }
    Some(hash)
}
