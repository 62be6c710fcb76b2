//! What must hold between sections: names, addresses, client ids and files used once.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tidegate_rules::diagnostic::Diagnostic;
use tidegate_rules::topic::TopicFilter;

use super::own_files::named;
use super::{ROOT, Read};
use crate::config::api::Api;
use crate::config::context::{Context, Span, Spanned};
use crate::config::key::unit;
use crate::config::kinds::{Claim, Kinds, List};
use crate::config::section::Section;
use crate::config::store::dead_letters::{DeadLetters, WhenTooMany};

/// Upstreams: lanes of the store, less that of the dead letters.
const UPSTREAMS_MAX: usize = 63;

/// Characters of a source's or upstream's name.
const NAME_CHARACTERS_MAX: usize = 64;

/// Reports a name that rules and metrics could not use.
pub(super) fn check_name(context: &Context<'_>, list: &List, name: &Spanned<String>) {
    let error = |message: String| context.error(name.span.clone(), message);
    if let Some((reserved, meaning)) = list.reserved
        && name.value == reserved
    {
        let message = format!("`{reserved}` is {meaning}");
        context.report(error(message).with_label("choose another name"));
        return;
    }
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let starts = name.value.starts_with(|c: char| c.is_ascii_lowercase());
    if starts && name.value.chars().all(fits) && name.value.len() <= NAME_CHARACTERS_MAX {
        return;
    }
    let error = error(format!("`{}` is no name of {}", name.value, list.a_one));
    let error =
        error.with_note("a name has 1 to 64 lower-case letters, digits and `_`, a letter first");
    context.report(match allowed(&name.value) {
        Some(better) => error
            .with_label(format!("write `{better}`"))
            .with_replacement(better),
        None => error,
    });
}

/// The nearest allowed name: `Plant-A` → `plant_a`.
fn allowed(name: &str) -> Option<String> {
    let letter = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_lowercase() || c.is_ascii_digit() => c,
        _ => '_',
    };
    let better: String = name.chars().map(letter).take(NAME_CHARACTERS_MAX).collect();
    let starts = better.starts_with(|c: char| c.is_ascii_lowercase());
    starts.then_some(better)
}

/// Reports what several sections claim at once, and a gateway with nothing to do.
pub(super) fn check<S: Kinds, U: Kinds>(
    root: &Section<'_>,
    sources: &[Read<S>],
    upstreams: &[Read<U>],
    api: &Api,
) {
    check_loops(root, sources, upstreams);
    if let Some(one_more) = upstreams.get(UPSTREAMS_MAX) {
        let message = format!("there are more than {UPSTREAMS_MAX} upstreams");
        let error = root.context.error(one_more.name.span.clone(), message);
        let note = "the store has 64 lanes, and the dead letters take one of them";
        root.context.report(error.with_note(note));
    }
    let sources = || sources.iter().filter_map(Owned::of);
    let upstreams = || upstreams.iter().filter_map(Owned::of);
    check_addresses(root, sources().chain(upstreams()), api);
    check_files(root, sources().chain(upstreams()));
    check_usb(root, sources());
    check_clients(root, sources().chain(upstreams()));
    check_purpose(root);
}

/// An event that an upstream gives to a broker and a source takes from it again goes round for ever.
fn check_loops<S: Kinds, U: Kinds>(root: &Section<'_>, sources: &[Read<S>], upstreams: &[Read<U>]) {
    for upstream in upstreams {
        for source in sources {
            let Some(gives) = upstream.kind.at_broker() else {
                continue;
            };
            let (to, from) = (&upstream.name, &source.name.value);
            let warn = |message: String, note: &str| {
                let warning = root.context.warning(to.span.clone(), message);
                root.context.report(warning.with_note(note));
            };
            if let Some(Claim::Address(listens)) = source.kind.claim()
                && gives.is_at(listens)
            {
                let message = format!(
                    "[upstreams.{}] publishes to this gateway's own [sources.{from}]",
                    to.value
                );
                warn(
                    message,
                    "events go round unless rules keep them apart; give the address of another broker in `url`",
                );
            }
            if let Some(takes) = source.kind.at_broker()
                && gives.is_beside(&takes)
                && goes_round(takes.filters, gives.topic)
            {
                let message = format!(
                    "what [upstreams.{}] publishes comes in again by [sources.{from}]: both are at one broker, and its `topics` match",
                    to.value
                );
                warn(
                    message,
                    "events go round unless rules keep them apart; publish under another `topic`, or subscribe to less",
                );
            }
        }
    }
}

/// Whether what comes in under one of the filters leaves under a topic that one of them matches.
fn goes_round(filters: &[String], template: &str) -> bool {
    let left = |filter: &String| {
        let came = filter.replace(['+', '#'], "x");
        let topic = template.replace("{topic}", &came);
        let places = [
            "{source}",
            "{publisher}",
            "{type}",
            "{id}",
            "{key}",
            "{gateway}",
        ];
        places
            .iter()
            .fold(topic, |topic, place| topic.replace(place, "x"))
    };
    let matches = |topic: &String| {
        let mut parsed = filters
            .iter()
            .filter_map(|filter| TopicFilter::parse(filter).ok());
        parsed.any(|filter| filter.matches(topic))
    };
    filters.iter().map(left).any(|topic| matches(&topic))
}

/// With `when_full = "refuse"` a dead letter waits until it fits; one that is larger than all may be never does.
pub(super) fn check_letters<S: Kinds>(
    root: &Section<'_>,
    sources: &[Read<S>],
    letters: &DeadLetters,
    store_bytes: u64,
) {
    let bound = letters.max_size_bytes.min(store_bytes / 8);
    if letters.when_full == WhenTooMany::Drop {
        return;
    }
    for source in sources {
        let payload = source.kind.payload_bytes_max().map(|bytes| bytes as u64);
        let Some(payload) = payload.filter(|bytes| *bytes >= bound) else {
            continue;
        };
        let message = format!(
            "[sources.{}] takes payloads of {}, and all dead letters may have {}: one that does not fit waits for ever",
            source.name.value,
            unit::size_text(payload),
            unit::size_text(bound)
        );
        let warning = root.context.warning(source.name.span.clone(), message);
        root.context.report(warning.with_note(
            "raise `max_size` of [dead_letters], of which an eighth of that of [store] counts at most; lower `max_payload`; or \
             write `when_full = \"drop\"` in [dead_letters]",
        ));
    }
}

fn check_purpose(root: &Section<'_>) {
    let context = root.context;
    if context.is_incomplete {
        return;
    }
    let place = root.name_span(ROOT.gateway.name);
    let warn = |message: &str, note: &str| {
        let warning = context.warning(place.clone(), message);
        context.report(warning.with_note(note));
    };
    let none = |key| root.entries(key).is_empty();
    match (none(&ROOT.sources), none(&ROOT.upstreams)) {
        (true, true) => {
            let error = context.error(place, "there are no sources and no upstreams");
            context.report(error.with_note("add a [sources.NAME] and an [upstreams.NAME]"));
        }
        (true, false) => warn("there are no sources", "no event will ever arrive"),
        (false, true) => warn(
            "there are no upstreams",
            "events are stored and go nowhere; they are kept for `keep_for`",
        ),
        (false, false) => {}
    }
}

/// Something that only one section can have, with its owner and the owner's place.
struct Owned<T> {
    what: T,
    owner: String,
    span: Span,
}

impl<'a> Owned<Claim<'a>> {
    /// What a source or upstream claims.
    fn of<K: Kinds>(read: &'a Read<K>) -> Option<Owned<Claim<'a>>> {
        let Spanned { value, span } = &read.name;
        Some(Owned {
            what: read.kind.claim()?,
            owner: format!("[{}.{value}]", K::LIST.key),
            span: span.clone(),
        })
    }
}

impl<T> Owned<T> {
    /// The same with `what` seen as something else, where it is that.
    fn select<O>(self, as_other: impl Fn(T) -> Option<O>) -> Option<Owned<O>> {
        let Owned { what, owner, span } = self;
        let what = as_other(what)?;
        Some(Owned { what, owner, span })
    }
}

/// Reports everything that an earlier section has already.
fn check_once<T>(
    root: &Section<'_>,
    owned: impl Iterator<Item = Owned<T>>,
    is_same: impl Fn(&T, &T) -> bool,
    message: impl Fn((&T, &T), &dyn Display, &dyn Display) -> String,
) {
    let mut earlier: Vec<Owned<T>> = Vec::new();
    for this in owned {
        let first = earlier
            .iter()
            .find(|other| is_same(&other.what, &this.what));
        if let Some(first) = first {
            let message = message((&this.what, &first.what), &first.owner, &this.owner);
            let error = root.context.error(this.span.clone(), message);
            root.context.report(with_first(error, first.span.clone()));
        }
        earlier.push(this);
    }
}

fn with_first(error: Diagnostic, first: Span) -> Diagnostic {
    error.with_place(first, "the first one is here")
}

fn check_addresses<'a>(
    root: &Section<'_>,
    owned: impl Iterator<Item = Owned<Claim<'a>>>,
    api: &Api,
) {
    let api = api.listen.map(|listen| Owned {
        what: Claim::Address(listen),
        owner: "[api]".to_owned(),
        span: root.name_span(ROOT.api.name),
    });
    let addresses = api.into_iter().chain(owned).filter_map(|owned| {
        owned.select(|claim| match claim {
            // Port 0 asks the system for any free port.
            Claim::Address(address) => Some(address).filter(|address| address.port() != 0),
            _ => None,
        })
    });
    check_once(
        root,
        addresses,
        both_have,
        |(address, theirs), first, this| match address == theirs {
            true => format!("{first} and {this} both listen on {address}"),
            false => format!(
                "{first} listens on {theirs} and {this} on {address}: one of them takes what the other wants"
            ),
        },
    );
}

/// Whether who listens on one of them keeps others from the other. All IPv6 addresses are all IPv4 addresses too, where
/// the machine is not told otherwise.
fn both_have(one: &SocketAddr, other: &SocketAddr) -> bool {
    let is_all = |address: &SocketAddr| address.ip().is_unspecified();
    let has = |all: &SocketAddr, address: &SocketAddr| {
        is_all(all) && (all.is_ipv4() == address.is_ipv4() || all.is_ipv6() && !is_ipv6_by_itself())
    };
    one.port() == other.port() && (one.ip() == other.ip() || has(one, other) || has(other, one))
}

fn is_ipv6_by_itself() -> bool {
    let told = std::fs::read_to_string("/proc/sys/net/ipv6/bindv6only");
    told.is_ok_and(|told| told.trim() == "1")
}

fn check_files<'a>(root: &Section<'_>, owned: impl Iterator<Item = Owned<Claim<'a>>>) {
    let files = owned.filter_map(|owned| {
        owned.select(|claim| match claim {
            Claim::File(path) => Some((named(path), path)),
            _ => None,
        })
    });
    type Named<'p> = (PathBuf, &'p Path);
    let is_same = |(one, _): &Named<'_>, (other, _): &Named<'_>| one == other;
    check_once(
        root,
        files,
        is_same,
        |((_, path), (_, theirs)), first, this| match path == theirs {
            true => format!("{first} and {this} both use {}", path.display()),
            false => format!(
                "{first} and {this} both use one file, as {} and as {}",
                theirs.display(),
                path.display()
            ),
        },
    );
}

/// The second of two sources that look for the same port would wait for it for ever.
fn check_usb<'a>(root: &Section<'_>, owned: impl Iterator<Item = Owned<Claim<'a>>>) {
    let ports = owned
        .filter_map(|owned| owned.select(|claim| matches!(claim, Claim::Usb(..)).then_some(claim)));
    check_once(root, ports, PartialEq::eq, |_, first, this| {
        format!("{first} and {this} look for the same port; tell them apart by `serial` in `match`")
    });
}

/// Two connections with one client id at one broker would throw each other out for ever.
fn check_clients<'a>(root: &Section<'_>, owned: impl Iterator<Item = Owned<Claim<'a>>>) {
    let clients = owned.filter_map(|owned| {
        owned.select(|claim| match claim {
            Claim::Client {
                host,
                port,
                client_id,
            } => Some((host, port, client_id)),
            _ => None,
        })
    });
    check_once(
        root,
        clients,
        PartialEq::eq,
        |((_, _, client_id), _), first, this| {
            format!(
                "{first} and {this} would connect to one broker with the client id `{client_id}`; set `client_id` on one of them"
            )
        },
    );
}
