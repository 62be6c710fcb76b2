//! `type = "http"` of `[upstreams.NAME]`.

use std::path::PathBuf;
use std::time::Duration;

use hyper::header::HeaderValue;

use crate::config::ClientTls;
use crate::config::connection::{client_tls, tls};
use crate::config::key::{
    Count, Entries, OneOf, Rows, Text, count, duration, keys, one_of, pairs, path, text,
};
use crate::config::kinds::{Entry, Feature, KeyGroup, Kind};
use crate::config::secret::Secret;
use crate::config::section::Section;
use crate::config::value::{address, files};
use crate::upstream::format::Format;

keys! {
    /// Keys of a webhook.
    KEYS: HttpUpstreamKeys {
        url: Option<Text> = text().required("where events are posted: `https://…` or `http://…`, without a password"),
        headers: Option<Entries> = pairs().optional("none", "further headers; values may hold `${VARIABLE}`"),
        bearer: Option<Text> = text().optional("`bearer_file` is read", "token, as `\"${VARIABLE}\"` only"),
        bearer_file: Option<PathBuf> = path().optional("no token", "file with the token; must not be readable by everyone"),
        batch_max: Count<usize> = count(1, 1_000).default("1", "events in one request; more than 1 posts `application/cloudevents-batch+json`"),
        timeout: Duration = duration("100ms", "10m").default("10s", "how long one request may take"),
        format: OneOf<Format> = one_of().default("binary", "envelope in headers, or one JSON document"),
        requests_max: Count<usize> = count(1, 64).default("1", "requests under way at once; more than 1 gives up order"),
    }
}

/// Posts to a webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpUpstream {
    /// `url`: https, or http
    pub url: String,
    /// `method` is always POST; `headers = { … }`, values may hold `${VAR}`
    pub headers: Vec<(String, Secret)>,
    /// `bearer_file` or `bearer = "${VAR}"`
    pub bearer: Option<Secret>,
    /// `batch_max` (1): more than 1 posts `application/cloudevents-batch+json`
    pub batch_max: usize,
    /// `timeout` (10s)
    pub timeout: Duration,
    /// `format` ("binary")
    pub format: Format,
    /// `ca`, `cert`, `key`
    pub tls: ClientTls,
    /// `requests_max` (1): requests under way at once; more than 1 gives up order
    pub requests_max: usize,
}

impl Kind for HttpUpstream {
    const NAME: &'static str = "http";
    const KEYS: Rows = HttpUpstreamKeys::ROWS;
    const SHARED: &'static [KeyGroup] = &[client_tls::GROUP];
    const FEATURE: Option<Feature> = Some(Feature {
        name: "http",
        brings: "the http upstream",
        built: cfg!(feature = "http"),
    });

    fn read(section: &Section<'_>, _: &Entry<'_>) -> Option<HttpUpstream> {
        let url = address::url(section, &KEYS.url, &["http", "https"]);
        let bearer = files::secret_or_file(section, &KEYS.bearer, &KEYS.bearer_file);
        if let Some(url) = &url
            && bearer.is_some()
            && url.scheme == "http"
            && !url.is_loopback()
        {
            let message = format!("the token goes to {} in the clear", url.host);
            let warning = section.context.warning(url.span.clone(), message);
            section
                .context
                .report(warning.with_label("https:// would encrypt it"));
        }
        if let Some(bearer) = &bearer
            && HeaderValue::try_from(bearer.reveal()).is_err()
        {
            let key = [KEYS.bearer_file.any(), KEYS.bearer.any()]
                .into_iter()
                .find(|key| section.has(key));
            let message = "the token holds a character that no header carries; it is one line of visible characters";
            section.report(key.unwrap_or(KEYS.bearer.any()), message);
        }
        let headers = headers(section);
        let tls = ClientTls::read(section);
        if let Some(url) = &url {
            check_url(section, &url.text);
            if url.scheme == "https" {
                tls.report_unusable(section, &KEYS.url, tls::client::objection);
            }
        }
        let batch_max = section.read(&KEYS.batch_max);
        let timeout = section.read(&KEYS.timeout);
        let requests_max = section.read(&KEYS.requests_max);
        let format = section.read(&KEYS.format);
        Some(HttpUpstream {
            url: url?.text,
            headers,
            bearer,
            batch_max,
            timeout,
            format,
            tls,
            requests_max,
        })
    }
}

/// What the HTTP client makes of it counts.
fn check_url(section: &Section<'_>, url: &str) {
    #[cfg(feature = "http")]
    if let Err(why) = reqwest::Url::parse(url) {
        section.report(&KEYS.url, format!("`{url}` cannot be used: {why}"));
    }
    #[cfg(not(feature = "http"))]
    let _ = (section, url);
}

fn headers(section: &Section<'_>) -> Vec<(String, Secret)> {
    let entries = section.entries(&KEYS.headers);
    entries
        .into_iter()
        .filter_map(|(name, item)| {
            let wrong = |message: String| {
                let error = section.context.error(name.span.clone(), message);
                section.context.report(error);
            };
            let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            if name.value.is_empty() || !name.value.chars().all(token) {
                wrong(format!("`{}` is no name of a header", name.value));
                return None;
            }
            let Some(text) = item.as_str() else {
                wrong(format!("the header `{}` takes text in quotes", name.value));
                return None;
            };
            let value = section.context.expand(text, &name.span)?;
            if value.contains(|c: char| c.is_control()) || HeaderValue::try_from(&value).is_err() {
                wrong(format!(
                    "the header `{}` holds control characters",
                    name.value
                ));
                return None;
            }
            Some((name.value.clone(), Secret::new(value)))
        })
        .collect()
}
