//! Who may use a listener: its address, its certificate and its users.
//!
//! Nothing is open to the network by accident: an address other than loopback needs users,
//! client certificates, or an explicit `anonymous = true`.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::bearer::{self, BearerKeys};
use super::server_tls::{self, ServerTls};
use super::tls;
use crate::config::context::Spanned;
use crate::config::key::{AnyKey, Entries, Key, Rows, Table, Text, Texts, keys, path, text, texts};
use crate::config::kinds::KeyGroup;
use crate::config::section::Section;
use crate::config::value::secret::Secret;
use crate::config::value::{files, topics};

keys! {
    /// Keys of `users.NAME`.
    pub(crate) USER: UserKeys {
        password_hash: Option<Text> = text().optional("`password_hash_file` is read", "what `tidegate hash-password` printed"),
        password_hash_file: Option<PathBuf> = path().optional("`password_hash` is used", "file with the hash; must not be readable by everyone"),
        publish: Option<Texts> = texts().optional("nothing", "topic filters it may publish to; `{user}` and `{client}` stand for its own names"),
        subscribe: Option<Texts> = texts().optional("nothing", "topic filters it may subscribe to"),
    }
}

/// The tables among the keys of a listener.
pub(crate) const TABLES: &[KeyGroup] = &[
    KeyGroup {
        heading: "users.NAME of a listener",
        keys: UserKeys::ROWS,
    },
    server_tls::GROUP,
];

/// The same for listeners of HTTP.
pub(crate) const HTTP_TABLES: &[KeyGroup] = &[TABLES[0], bearer::GROUP, TABLES[1]];

/// A user of a listener or of the HTTP source.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// An argon2 hash in PHC form (`tidegate hash-password`); empty for a user who logs in with
    /// a client certificate or a bearer token only.
    pub password_hash: Secret,
    /// Of its bearer token the SHA-256, in lower-case hexadecimal digits.
    pub bearer_hash: Option<Secret>,
    /// Topic filters it may publish to; `{user}` and `{client}` stand for its own names.
    pub publish: Vec<String>,
    /// Topic filters it may subscribe to.
    pub subscribe: Vec<String>,
}

/// The keys about access, which each kind of listener describes in its own words.
pub(crate) struct AccessKeys {
    pub(crate) listen: &'static Key<Option<SocketAddr>>,
    pub(crate) tls: &'static Key<Option<Table>>,
    pub(crate) users: &'static Key<Option<Entries>>,
    pub(crate) anonymous: &'static Key<Option<bool>>,
}

/// What a listener's keys say about access.
pub(crate) struct Access {
    pub(crate) listen: SocketAddr,
    pub(crate) tls: Option<ServerTls>,
    pub(crate) users: Vec<User>,
    pub(crate) anonymous: bool,
}

/// How users of a kind of listener may log in beside a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// With a client certificate, where the listener asks for one.
    Certificate,
    /// With a bearer token.
    Bearer,
}

/// Reads `listen`, `tls`, `users` and `anonymous`.
pub(crate) fn access(section: &Section<'_>, keys: &AccessKeys, beside: Beside) -> Option<Access> {
    let listen = section.read(keys.listen);
    let tls = ServerTls::read(section, keys.tls);
    let files = tls.iter().flat_map(ServerTls::files);
    if !section.context.is_held(files)
        && let Some(why) = tls.as_ref().and_then(tls::server::objection)
    {
        section.context.report_outside(section.error(keys.tls, why));
    }
    let certificates = tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let by_certificate = certificates && beside == Beside::Certificate;
    let users = users(section, keys.users, beside, by_certificate);
    let tokens = users
        .iter()
        .filter_map(|user| Some((&*user.name, user.bearer_hash.as_ref()?)));
    bearer::report_shared(section, keys.users, &tokens.collect::<Vec<_>>());
    let anonymous = section.read(keys.anonymous);
    let listen = listen?.value;
    let loopback = listen.ip().is_loopback();
    let nobody = !section.has(keys.users) && !certificates;
    if nobody && !loopback && !section.has(keys.anonymous) {
        report_open(section, keys.listen, listen);
    }
    if nobody && anonymous == Some(false) {
        section.report(
            keys.anonymous,
            "without users and without anonymous access nobody could connect",
        );
    }
    if section.has(keys.users) && anonymous == Some(true) {
        let message = "with `users` nobody is let in without a login; leave one of the two out";
        section.report(keys.anonymous, message);
    }
    if !users.is_empty() && !loopback && !section.has(keys.tls) {
        let message = format!("passwords for {listen} travel in the clear");
        let warning = section.warning(keys.listen, message);
        section
            .context
            .report(warning.with_label("add tls = { cert = \"…\", key = \"…\" }"));
    }
    Some(Access {
        listen,
        tls,
        anonymous: anonymous.unwrap_or(users.is_empty() && (loopback || certificates)),
        users,
    })
}

fn report_open(section: &Section<'_>, key: &AnyKey, listen: SocketAddr) {
    let message = format!("{listen} can be reached from other machines and asks for no login");
    let error = section
        .error(key, message)
        .with_label(format!(
            "write 127.0.0.1:{} to stay on this machine",
            listen.port()
        ))
        .with_note(
            "or add users = { NAME = { password_hash = \"…\" } }, see `tidegate hash-password`",
        )
        .with_note("or add anonymous = true if everyone on the network may use it");
    section.context.report(error);
}

/// With client certificates a user needs no password: a certificate with its name will do.
fn users(section: &Section<'_>, key: &AnyKey, beside: Beside, certificates: bool) -> Vec<User> {
    let entries = section.entries(key);
    if section.has(key) && entries.is_empty() {
        section.report(key, "`users` is empty: nobody could log in");
    }
    let rows: &[Rows] = match beside {
        Beside::Certificate => &[UserKeys::ROWS],
        Beside::Bearer => &[UserKeys::ROWS, BearerKeys::ROWS],
    };
    entries
        .into_iter()
        .filter_map(|(name, item)| {
            let Some(table) = item.as_table_like() else {
                let message = format!("user `{}` is no table", name.value);
                let error = section.context.error(name.span, message);
                let label = "write NAME = { password_hash = \"…\", publish = [\"…\"] }";
                section.context.report(error.with_label(label));
                return None;
            };
            let called = format!("user `{}`", name.value);
            let place = name.span.clone();
            let keys = Section::open(section.context, called, Some(table), place, rows);
            user(&keys, name, beside, certificates)
        })
        .collect()
}

fn user(
    section: &Section<'_>,
    name: Spanned<String>,
    beside: Beside,
    certificates: bool,
) -> Option<User> {
    let unusual = |c: char| matches!(c, '+' | '#' | '/' | ':') || c.is_control();
    if name.value.is_empty() || name.value.contains(unusual) {
        let message = format!(
            "`{}` is no user name: `+ # / :` are not allowed",
            name.value
        );
        section
            .context
            .report(section.context.error(name.span, message));
    }
    let without = !section.has(&USER.password_hash) && !section.has(&USER.password_hash_file);
    let by_token = beside == Beside::Bearer && bearer::is_given(section);
    let bearer_hash = by_token.then(|| bearer::hash(section)).flatten();
    let password_hash = match (certificates || by_token) && without {
        true => Some(Secret::new("")),
        false => password_hash(section),
    };
    let placeholders = ["user", "client"];
    let publish = topics::filters(section, &USER.publish, &placeholders);
    let subscribe = topics::filters(section, &USER.subscribe, &placeholders);
    Some(User {
        name: name.value,
        password_hash: password_hash?,
        bearer_hash,
        publish,
        subscribe,
    })
}

fn password_hash(section: &Section<'_>) -> Option<Secret> {
    let (key, hash) = match (
        section.has(&USER.password_hash),
        section.has(&USER.password_hash_file),
    ) {
        (true, true) => {
            let message = "`password_hash` and `password_hash_file` say the same thing twice";
            section.report(&USER.password_hash_file, message);
            return None;
        }
        (true, false) => {
            let hash = section.read(&USER.password_hash)?;
            (USER.password_hash.any(), Secret::new(hash.value))
        }
        (false, true) => {
            let hash = files::secret(section, &USER.password_hash_file)?;
            (USER.password_hash_file.any(), hash)
        }
        (false, false) => {
            let message = format!("{} has no password", section.name());
            let error = section.context.error(section.heading(), message);
            let note = "run `tidegate hash-password` and write password_hash = \"…\"";
            section.context.report(error.with_note(note));
            return None;
        }
    };
    if !hash.reveal().starts_with("$argon2") {
        let error = section.error(key, format!("`{}` is no argon2 hash", key.name));
        let error = error.with_note("run `tidegate hash-password` and write down what it prints");
        match section.has(&USER.password_hash_file) {
            true => section.context.report_outside(error),
            false => section.context.report(error),
        }
        return None;
    }
    Some(hash)
}
