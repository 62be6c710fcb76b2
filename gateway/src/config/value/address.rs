//! Where things listen and connect: socket addresses and urls.

use std::net::{IpAddr, SocketAddr};

use super::files;
use crate::config::context::{Span, Spanned};
use crate::config::key::{AnyKey, Key, Text};
use crate::config::section::{Read, Section};

/// `scheme://host:port/…` taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    /// As written.
    pub(crate) text: String,
    pub(crate) scheme: String,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    /// From the first `/`, `?` or `#` on.
    pub(crate) path: String,
    pub(crate) span: Span,
}

impl Url {
    /// Whether it stays on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }
}

impl Read for SocketAddr {
    type Value = Option<Spanned<SocketAddr>>;

    fn read(section: &Section<'_>, key: &AnyKey) -> Self::Value {
        socket_address(section, key)
    }
}

impl Read for Option<SocketAddr> {
    type Value = Option<Spanned<SocketAddr>>;

    fn read(section: &Section<'_>, key: &AnyKey) -> Self::Value {
        socket_address(section, key)
    }
}

fn socket_address(section: &Section<'_>, key: &AnyKey) -> Option<Spanned<SocketAddr>> {
    let found = section.text(key)?;
    if let Ok(value) = found.value.parse() {
        let span = found.span;
        return Some(Spanned { value, span });
    }
    let error = section.error(key, format!("`{}` is no address:port", found.value));
    section.context.report(match meant_address(&found.value) {
        Some(meant) => error
            .with_label(format!("write \"{meant}\""))
            .with_replacement(format!("\"{meant}\"")),
        None => error.with_note("addresses look like \"127.0.0.1:1883\" or \"[::1]:1883\""),
    });
    None
}

/// `1883`, `:1883`, `localhost:1883`, `*:1883`, `::1:1883` → the address they stand for.
fn meant_address(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    port.parse::<u16>().ok()?;
    match host {
        "" | "localhost" => Some(format!("127.0.0.1:{port}")),
        "*" => Some(format!("0.0.0.0:{port}")),
        _ => {
            let ip: IpAddr = host.parse().ok()?;
            Some(SocketAddr::new(ip, port.parse().ok()?).to_string())
        }
    }
}

/// Reads a url, which must have one of `schemes` and no login.
pub(crate) fn url(section: &Section<'_>, key: &Key<Option<Text>>, schemes: &[&str]) -> Option<Url> {
    let found = section.read(key)?;
    let example = format!("{}://host", schemes.last().copied().unwrap_or_default());
    let Some((scheme, rest)) = found.value.split_once("://") else {
        section.report(
            key,
            format!("`{}` is no url such as \"{example}\"", found.value),
        );
        return None;
    };
    if !schemes.contains(&scheme) {
        report_scheme(section, key, scheme, rest, schemes);
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if let Some((login, host)) = authority.rsplit_once('@') {
        report_login(section, key, scheme, login, &format!("{host}{path}"));
        return None;
    }
    let Some((host, port)) = host_and_port(authority) else {
        section.report(key, format!("`{authority}` is no host or host:port"));
        return None;
    };
    Some(Url {
        scheme: scheme.to_owned(),
        host,
        port,
        path: path.to_owned(),
        text: found.value.clone(),
        span: found.span,
    })
}

fn report_scheme(section: &Section<'_>, key: &AnyKey, scheme: &str, rest: &str, schemes: &[&str]) {
    let usual = match scheme {
        "tcp" | "mqtt" | "ws" | "http" => schemes.first(),
        "ssl" | "tls" | "mqtts" | "wss" | "https" => schemes.last(),
        _ => None,
    };
    let known: Vec<String> = schemes
        .iter()
        .map(|scheme| format!("{scheme}://"))
        .collect();
    let error = section
        .error(key, format!("`{scheme}://` is not spoken here"))
        .with_note(format!("known are {}", known.join(" and ")));
    // A login must not be repeated in a suggestion; it gets its own error once the scheme is right.
    section.context.report(match usual {
        Some(usual) if !rest.contains('@') => error
            .with_label(format!("write \"{usual}://{rest}\""))
            .with_replacement(format!("\"{usual}://{rest}\"")),
        _ => error,
    });
}

/// Reports `user:password@` without repeating the password.
fn report_login(section: &Section<'_>, key: &AnyKey, scheme: &str, login: &str, rest: &str) {
    let (user, _) = login.split_once(':').unwrap_or((login, ""));
    let message = "a login does not belong into the url";
    let error = section
        .error(key, message)
        .with_label("move it into keys of its own")
        .with_note(format!(
            "write: url = \"{scheme}://{rest}\", user = \"{user}\", password_file = \"…\""
        ));
    section.context.report(error);
}

/// Why nothing listens on `address`, and what to do.
pub(crate) fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    let why = match error.kind() {
        ErrorKind::PermissionDenied if address.port() < 1024 => {
            "ports below 1024 need CAP_NET_BIND_SERVICE (`AmbientCapabilities=CAP_NET_BIND_SERVICE` in the unit); grant it, or take a higher one"
        }
        ErrorKind::AddrInUse => {
            "another program has this port (`ss -ltnp` shows which); end it, or take another one"
        }
        ErrorKind::AddrNotAvailable => {
            "no interface of this machine has this address; write 0.0.0.0 for all of them, or wait until it is there"
        }
        _ => return format!("cannot listen on {address}: {}", files::plain(error)),
    };
    format!("cannot listen on {address}: {why}")
}

fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        return Some((host.to_owned(), port_after_colon(rest)?));
    }
    let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    let named = !host.is_empty() && host.chars().all(fits);
    named.then_some((host.to_owned(), port_after_colon(port)?))
}

fn port_after_colon(text: &str) -> Option<Option<u16>> {
    match text.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port != 0).map(Some),
        None => text.is_empty().then_some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_taken_apart() {
        let some = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(
            host_and_port("broker.example"),
            some("broker.example", None)
        );
        assert_eq!(host_and_port("10.0.0.1:1884"), some("10.0.0.1", Some(1884)));
        assert_eq!(host_and_port("[::1]:1884"), some("::1", Some(1884)));
        for wrong in [
            "",
            ":1883",
            "host:",
            "host:70000",
            "host:0",
            "[::1",
            "a b",
            "::1",
        ] {
            assert_eq!(host_and_port(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn usual_slips_in_an_address_are_understood() {
        let cases = [
            ("1883", Some("127.0.0.1:1883")),
            (":1883", Some("127.0.0.1:1883")),
            ("localhost:1883", Some("127.0.0.1:1883")),
            ("*:1883", Some("0.0.0.0:1883")),
            ("::1:1883", Some("[::1]:1883")),
            ("gateway.lan:1883", None),
            ("nowhere", None),
        ];
        for (text, expected) in cases {
            assert_eq!(meant_address(text).as_deref(), expected, "{text}");
        }
    }
}
