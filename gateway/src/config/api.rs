//! `[api]`: metrics and health over HTTP.

use std::net::SocketAddr;

use super::key::{Texts, address, flag, keys, texts};
use super::section::Section;

keys! {
    /// Keys of `[api]`.
    pub(super) API: ApiKeys {
        listen: SocketAddr = address().default("127.0.0.1:9884", "`/metrics`, `/healthz`, `/readyz`, `/status` over HTTP"),
        anonymous: bool = flag().default("false", "must be `true` for an address other than loopback: the API asks for no login"),
        hosts: Option<Texts> = texts().optional("none", "host names it answers to, beside `localhost` and addresses"),
    }
}

/// `[api]`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Api {
    /// `listen` ("127.0.0.1:9884"): metrics and health over HTTP; other than loopback only with
    /// `anonymous = true`. `None` without an `[api]` section.
    pub listen: Option<SocketAddr>,
    /// `hosts`: host names it answers to beside `localhost` and addresses, in lower case.
    pub hosts: Vec<String>,
}

impl Api {
    /// The keys in which the other says something else.
    pub(super) fn differs_in(&self, other: &Api) -> Vec<&'static str> {
        let Api { listen, hosts } = self;
        super::differing(&[
            ("listen", *listen == other.listen),
            ("hosts", *hosts == other.hosts),
        ])
    }

    /// Reads the section, which is there.
    pub(super) fn read(section: &Section<'_>) -> Api {
        let anonymous = section.read(&API.anonymous);
        let hosts = section.read(&API.hosts);
        let Some(listen) = section.read(&API.listen) else {
            return Api::default();
        };
        if !listen.value.ip().is_loopback() && !anonymous {
            report_open(section, listen.value);
        }
        Api {
            listen: Some(listen.value),
            hosts: hosts
                .into_iter()
                .map(|found| found.value.to_lowercase())
                .collect(),
        }
    }
}

fn report_open(section: &Section<'_>, listen: SocketAddr) {
    let message = format!("{listen} can be reached from other machines and asks for no login");
    let label = format!("write 127.0.0.1:{} to stay on this machine", listen.port());
    let note = "or add anonymous = true if everyone on the network may read metrics and status";
    let error = section.error(&API.listen, message);
    section
        .context
        .report(error.with_label(label).with_note(note));
}
