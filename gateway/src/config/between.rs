//! What must hold between sections: names, addresses, client ids and files used once.

use std::net::SocketAddr;

use tidegate_rules::diagnostic::Diagnostic;

use super::reading::Reading;
use super::section::{Found, Section, Span};
use super::{Api, Broker, Source, SourceKind, Upstream, UpstreamKind, sources};

/// Characters of a source's or upstream's name.
const NAME_CHARACTERS_MAX: usize = 64;

/// The destination that every rule set knows.
const RESERVED: &str = "dead_letter";

/// Notes a name that rules and metrics could not use.
pub(super) fn check_name(reading: &Reading<'_>, list: &str, name: &Found<String>) {
    let error = |message: String| reading.error(name.span.clone(), message);
    if list == "upstreams" && name.value == RESERVED {
        let message = format!("`{RESERVED}` is the destination of dead letters");
        reading.note(error(message).with_label("choose another name"));
        return;
    }
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let starts = name.value.starts_with(|c: char| c.is_ascii_lowercase());
    if starts && name.value.chars().all(fits) && name.value.len() <= NAME_CHARACTERS_MAX {
        return;
    }
    let one = if list == "sources" {
        "a source"
    } else {
        "an upstream"
    };
    let error = error(format!("`{}` is no name of {one}", name.value));
    let error =
        error.with_note("a name has 1 to 64 lower-case letters, digits and `_`, a letter first");
    reading.note(match allowed(&name.value) {
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

/// Notes what several sections claim at once, and a gateway with nothing to do.
pub(super) fn check(
    root: &Section<'_>,
    sources: &[(Found<String>, Source)],
    upstreams: &[(Found<String>, Upstream)],
    api: &Api,
) {
    check_addresses(root, sources, api);
    check_files(root, sources, upstreams);
    check_clients(root, sources, upstreams);
    check_purpose(root);
}

fn check_purpose(root: &Section<'_>) {
    let none = |key: &str| root.entries(key).is_empty();
    let reading = root.reading;
    let place = root.key_span("gateway");
    let warn = |message: &str, note: &str| {
        let warning = reading.warning(place.clone(), message);
        reading.note(warning.with_note(note));
    };
    match (none("sources"), none("upstreams")) {
        (true, true) => {
            let error = reading.error(place, "there are no sources and no upstreams");
            reading.note(error.with_note("add a [sources.NAME] and an [upstreams.NAME]"));
        }
        (true, false) => warn("there are no sources", "no event will ever arrive"),
        (false, true) => warn(
            "there are no upstreams",
            "events are stored and go nowhere; they are kept for `keep_for`",
        ),
        (false, false) => {}
    }
}

/// A thing of which one section may claim each, with its owner and the owner's place.
struct Claim<T> {
    what: T,
    owner: String,
    span: Span,
}

/// Notes every claim that an earlier one stands in the way of.
fn check_claims<T: PartialEq>(
    reading: &Reading<'_>,
    claims: &[Claim<T>],
    message: impl Fn(&Claim<T>, &Claim<T>) -> String,
) {
    for (place, claim) in claims.iter().enumerate() {
        let earlier = claims[..place]
            .iter()
            .find(|other| other.what == claim.what);
        if let Some(earlier) = earlier {
            let error = reading.error(claim.span.clone(), message(claim, earlier));
            reading.note(with_first(error, earlier.span.clone()));
        }
    }
}

fn with_first(error: Diagnostic, first: Span) -> Diagnostic {
    error.with_place(first, "the first one is here")
}

fn check_addresses(root: &Section<'_>, sources: &[(Found<String>, Source)], api: &Api) {
    let mut claims: Vec<Claim<SocketAddr>> = Vec::new();
    let mut claim = |what: SocketAddr, owner: String, span: Span| {
        // Port 0 asks the system for any free port.
        if what.port() != 0 {
            claims.push(Claim { what, owner, span });
        }
    };
    if let Some(listen) = api.listen {
        claim(listen, "[api]".to_owned(), root.key_span("api"));
    }
    for (name, source) in sources {
        let owner = format!("[sources.{}]", source.name);
        match &source.kind {
            SourceKind::MqttListener(listener) => claim(listener.listen, owner, name.span.clone()),
            SourceKind::Http(http) => claim(http.listen, owner, name.span.clone()),
            _ => {}
        }
    }
    check_claims(root.reading, &claims, |claim, earlier| {
        format!(
            "{} and {} both listen on {}",
            earlier.owner, claim.owner, claim.what
        )
    });
}

fn check_files(
    root: &Section<'_>,
    sources: &[(Found<String>, Source)],
    upstreams: &[(Found<String>, Upstream)],
) {
    let ports = sources.iter().filter_map(|(name, source)| {
        Some(Claim {
            what: sources::device_file(&source.kind)?,
            owner: format!("[sources.{}]", source.name),
            span: name.span.clone(),
        })
    });
    let files = upstreams
        .iter()
        .filter_map(|(name, upstream)| match &upstream.kind {
            UpstreamKind::File(file) => Some(Claim {
                what: &file.path,
                owner: format!("[upstreams.{}]", upstream.name),
                span: name.span.clone(),
            }),
            _ => None,
        });
    let claims: Vec<_> = ports.chain(files).collect();
    check_claims(root.reading, &claims, |claim, earlier| {
        format!(
            "{} and {} both use {}",
            earlier.owner,
            claim.owner,
            claim.what.display()
        )
    });
}

/// Two connections with one client id at one broker would throw each other out for ever.
fn check_clients(
    root: &Section<'_>,
    sources: &[(Found<String>, Source)],
    upstreams: &[(Found<String>, Upstream)],
) {
    let claim = |list: &str, name: &Found<String>, broker: &Broker| Claim {
        what: (broker.host.clone(), broker.port, broker.client_id.clone()),
        owner: format!("[{list}.{}]", name.value),
        span: name.span.clone(),
    };
    let from = sources
        .iter()
        .filter_map(|(name, source)| match &source.kind {
            SourceKind::Mqtt(mqtt) => Some(claim("sources", name, &mqtt.broker)),
            _ => None,
        });
    let to = upstreams
        .iter()
        .filter_map(|(name, upstream)| match &upstream.kind {
            UpstreamKind::Mqtt(mqtt) => Some(claim("upstreams", name, &mqtt.broker)),
            _ => None,
        });
    let claims: Vec<_> = from.chain(to).collect();
    check_claims(root.reading, &claims, |claim, earlier| {
        let (_, _, client_id) = &claim.what;
        let owners = format!("{} and {}", earlier.owner, claim.owner);
        format!(
            "{owners} would connect to one broker with the client id `{client_id}`; set `client_id` on one of them"
        )
    });
}
