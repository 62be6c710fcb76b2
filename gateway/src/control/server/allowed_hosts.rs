//! Which `Host` headers the API over TCP answers to.
//!
//! A web page can make a browser ask a name that resolves to 127.0.0.1 (DNS rebinding). Such a
//! request carries the page's host name; addresses and `localhost` cannot be rebound.

use std::net::IpAddr;

/// The names that are answered.
#[derive(Debug, Clone, Default)]
pub(in crate::control) struct AllowedHosts {
    names: Vec<String>,
}

impl AllowedHosts {
    /// `localhost`, every address, and `names` in lower case.
    pub(in crate::control) fn new(names: &[String]) -> AllowedHosts {
        AllowedHosts {
            names: names.to_vec(),
        }
    }

    /// Whether a request with this `Host` header is answered.
    pub(in crate::control) fn allow(&self, host: Option<&str>) -> bool {
        let Some(host) = host else {
            return false;
        };
        let name = without_port(host).to_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        name == "localhost" || address.parse::<IpAddr>().is_ok() || self.names.contains(&name)
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_rebinds_its_name_gets_no_answer() {
        let hosts = AllowedHosts::new(&["gateway.lan".to_owned()]);
        for allowed in [
            "localhost",
            "localhost:9884",
            "127.0.0.1:9884",
            "[::1]:9884",
            "192.168.1.7",
            "Gateway.LAN:9884",
        ] {
            assert!(hosts.allow(Some(allowed)), "{allowed}");
        }
        for refused in [
            "evil.example",
            "evil.example:9884",
            "localhost.evil.example",
            "",
        ] {
            assert!(!hosts.allow(Some(refused)), "{refused}");
        }
        assert!(!hosts.allow(None));
    }
}
