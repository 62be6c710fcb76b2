//! The requests to a webhook that are under way, and what their answers settle.

use std::collections::{HashSet, VecDeque};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, Url, redirect};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::config::HttpUpstream;
use super::request::{self, WebhookRequest};
use super::response::{self, RequestOutcome};
use crate::config::ClientTls;
use crate::config::connection::tls::objection;
use crate::config::secret::Secret;
use crate::time::clock;
use crate::time::task;
use crate::upstream::format::Format;
use crate::upstream::{Delivery, Outcome, Token, Trouble, Upstream};

/// Bytes of an answer's body that are read: enough for a reason, and to use the connection again.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// A value of fewer bytes, such as the name of a plant, is no secret and stands in words.
const SECRET_BYTES_MIN: usize = 8;
/// How long the body of an answer may take once its head is there.
const BODY_MAX: Duration = Duration::from_secs(2);
/// Characters of a body that become part of a reason.
const REASON_CHARS_MAX: usize = 300;
/// How long the server may take to accept a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Batches in a row that the server may fail over before smaller ones show whether it is one event.
const SAME_BATCH_MAX: u32 = 5;
/// Refused events remembered, so that each is posted alone when it comes again.
const SUSPECTS_MAX: usize = 1024;

/// An `http` upstream.
pub struct HttpOut {
    config: HttpUpstream,
    server: Arc<Server>,
    requests: JoinSet<(Vec<Delivery>, RequestOutcome)>,
    /// Halves of refused batches, in order; they go before everything else.
    pieces: VecDeque<Vec<Delivery>>,
    suspects: HashSet<Token>,
    /// Settled without being posted.
    refused: Vec<(Token, Outcome)>,
    /// Batches that the server failed over since it took something.
    batches_failed: u32,
}

/// The other end.
struct Server {
    client: Client,
    url: Url,
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
    certificates: ClientTls,
    /// What its answers must not bring into words.
    secrets: Vec<Secret>,
}

impl HttpOut {
    /// For the webhook that the configuration names.
    ///
    /// # Errors
    /// When a certificate cannot be read, or the url or a header cannot be used.
    pub fn new(config: HttpUpstream) -> Result<HttpOut, String> {
        Ok(HttpOut {
            server: Arc::new(Server::new(&config)?),
            requests: JoinSet::new(),
            pieces: VecDeque::new(),
            suspects: HashSet::new(),
            refused: Vec::new(),
            batches_failed: 0,
            config,
        })
    }

    /// Posts halves of refused batches as far as requests are free.
    fn post_pieces(&mut self) {
        while self.requests.len() < self.config.requests_max
            && let Some(piece) = self.pieces.pop_front()
        {
            self.post(piece);
        }
    }

    fn post(&mut self, deliveries: Vec<Delivery>) {
        let batched = self.config.batch_max > 1;
        let post = request::post(&deliveries, self.config.format, batched);
        let server = Arc::clone(&self.server);
        let request = async move {
            let answer = server.ask(post).await;
            (deliveries, answer)
        };
        self.requests
            .spawn(task::named("a request of an http upstream", request));
    }

    /// What an answer settles; a refused batch comes apart instead.
    fn answered(
        &mut self,
        mut deliveries: Vec<Delivery>,
        answer: RequestOutcome,
    ) -> Result<Vec<(Token, Outcome)>, Trouble> {
        let outcome = match answer {
            RequestOutcome::Gone(why) => return Err(Trouble::new(why)),
            RequestOutcome::Refused(_) if deliveries.len() > 1 => {
                let rest = deliveries.split_off(deliveries.len() / 2);
                self.pieces.push_front(rest);
                self.pieces.push_front(deliveries);
                return Ok(Vec::new());
            }
            RequestOutcome::Refused(why) => Outcome::Refused(why),
            RequestOutcome::Taken => Outcome::Confirmed,
            RequestOutcome::Busy(reason, retry_ms) => {
                // What waits here would overtake what goes back to the lane.
                deliveries.extend(self.pieces.drain(..).flatten());
                Outcome::Busy { reason, retry_ms }
            }
            RequestOutcome::Failed { why: reason, broke } => {
                // Posted again as it is, a batch keeps its key.
                let again = deliveries.len() > 1 && self.batches_failed < SAME_BATCH_MAX;
                self.batches_failed += u32::from(again);
                deliveries.extend(self.pieces.drain(..).flatten());
                match again {
                    true => Outcome::busy(reason),
                    false => Outcome::Failed { reason, broke },
                }
            }
        };
        if outcome == Outcome::Confirmed {
            self.batches_failed = 0;
        }
        let is_one = deliveries.len() == 1;
        let settled = deliveries.iter().map(|delivery| {
            if is_one || outcome == Outcome::Confirmed {
                self.remember(delivery.token, &outcome);
            }
            (delivery.token, outcome.clone())
        });
        Ok(settled.collect())
    }

    fn remember(&mut self, token: Token, outcome: &Outcome) {
        match outcome {
            Outcome::Refused(_) | Outcome::Failed { .. } if self.suspects.len() < SUSPECTS_MAX => {
                self.suspects.insert(token);
            }
            Outcome::Confirmed => {
                self.suspects.remove(&token);
            }
            _ => {}
        }
    }

    /// What can be posted of what was offered.
    fn sendable(&mut self, batch: Vec<Delivery>) -> Vec<Delivery> {
        if self.config.batch_max > 1 || self.config.format == Format::Structured {
            return batch;
        }
        let mut sendable = Vec::with_capacity(batch.len());
        for delivery in batch {
            match request::check(&delivery) {
                Ok(()) => sendable.push(delivery),
                Err(why) => self
                    .refused
                    .push((delivery.token, Outcome::Undeliverable(why))),
            }
        }
        sendable
    }

    /// Cuts what was offered into requests; what was refused before stands alone.
    fn cut(&self, batch: Vec<Delivery>) -> Vec<Vec<Delivery>> {
        let mut requests: Vec<Vec<Delivery>> = Vec::new();
        let mut open = false;
        for delivery in batch {
            let alone = self.suspects.contains(&delivery.token);
            match requests.last_mut() {
                Some(last) if open && !alone && last.len() < self.config.batch_max => {
                    last.push(delivery);
                }
                _ => requests.push(vec![delivery]),
            }
            open = !alone;
        }
        requests
    }
}

impl Upstream for HttpOut {
    async fn connect(&mut self) -> Result<(), Trouble> {
        self.requests.shutdown().await;
        self.pieces.clear();
        self.refused.clear();
        self.server.reach().await.map_err(Trouble::new)
    }

    fn room(&self) -> usize {
        if !self.pieces.is_empty() {
            return 0;
        }
        let free = self.config.requests_max.saturating_sub(self.requests.len());
        free * self.config.batch_max
    }

    fn offer(&mut self, batch: Vec<Delivery>) {
        let batch = self.sendable(batch);
        let requests = self.cut(batch);
        self.pieces.extend(requests);
        self.post_pieces();
    }

    async fn settled(&mut self) -> Result<Vec<(Token, Outcome)>, Trouble> {
        if !self.refused.is_empty() {
            return Ok(std::mem::take(&mut self.refused));
        }
        loop {
            self.post_pieces();
            let Some(done) = self.requests.join_next().await else {
                return std::future::pending().await;
            };
            let (deliveries, answer) =
                done.map_err(|error| Trouble::new(format!("a request ended: {error}")))?;
            let settled = self.answered(deliveries, answer)?;
            if !settled.is_empty() {
                return Ok(settled);
            }
        }
    }

    async fn close(&mut self) {
        self.requests.shutdown().await;
    }
}

impl Server {
    fn new(config: &HttpUpstream) -> Result<Server, String> {
        let url: Url = config
            .url
            .parse()
            .map_err(|error| format!("`url` cannot be used: {error}"))?;
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_matches(['[', ']']).to_owned();
        let encrypted = url.scheme() == "https";
        let mut builder = Client::builder()
            .default_headers(headers(config)?)
            .redirect(redirect::Policy::none())
            // Events go where the configuration says, not where the environment says.
            .no_proxy()
            .connect_timeout(CONNECT_MAX)
            .timeout(config.timeout)
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
        let tls = match encrypted {
            true => crate::config::connection::tls::client::config(&config.tls)?,
            // Never used, but without it the client would look for the system's roots.
            false => crate::config::connection::tls::client::without_roots()?,
        };
        builder = builder.tls_backend_preconfigured(tls.clone());
        let client = builder
            .build()
            .map_err(|error| format!("the HTTP client cannot be made: {}", innermost(&error)))?;
        Ok(Server {
            client,
            host,
            port: url.port_or_known_default().unwrap_or(80),
            url,
            tls: encrypted.then(|| TlsConnector::from(Arc::new(tls))),
            certificates: config.tls.clone(),
            secrets: secrets(config),
        })
    }

    /// Posts, and says what the answer means.
    async fn ask(&self, post: WebhookRequest) -> RequestOutcome {
        let request = self.client.post(self.url.clone());
        let sent = request.headers(post.headers).body(post.body).send().await;
        match sent {
            Ok(response) => understood(response, &self.secrets).await,
            Err(error) if error.is_timeout() => {
                let why = format!("{}: no answer in time", self.name());
                RequestOutcome::Failed { why, broke: false }
            }
            Err(error) => match self.reach().await {
                Ok(()) => {
                    let why = self.told(&error, innermost(&error));
                    let why = format!("{}: no answer: {why}", self.name());
                    RequestOutcome::Failed { why, broke: true }
                }
                Err(why) => RequestOutcome::Gone(why),
            },
        }
    }

    /// Whether the server takes connections; with TLS, whether it is the right one.
    async fn reach(&self) -> Result<(), String> {
        let failed = |why: String| format!("{}: {why}", self.name());
        match tokio::time::timeout(CONNECT_MAX, self.shake_hands()).await {
            Ok(reached) => reached.map_err(|error| failed(self.told(&error, error.to_string()))),
            Err(_) => Err(failed(format!(
                "no connection within {} s",
                CONNECT_MAX.as_secs()
            ))),
        }
    }

    async fn shake_hands(&self) -> std::io::Result<()> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        if let Some(tls) = &self.tls {
            let name = ServerName::try_from(self.host.clone()).map_err(std::io::Error::other)?;
            tls.connect(name, stream).await?;
        }
        Ok(())
    }

    /// What went wrong, in words; `otherwise` where that is not about TLS.
    fn told(&self, error: &(dyn Error + 'static), otherwise: String) -> String {
        let objection = match &self.tls {
            Some(_) => objection::of_server(error, &self.certificates, "http://"),
            // A server that speaks TLS answers a plain request with bytes that are no HTTP.
            None => otherwise.contains("invalid HTTP version").then(|| {
                "it does not speak HTTP; if it speaks TLS, write https:// in `url`".to_owned()
            }),
        };
        objection.unwrap_or(otherwise)
    }

    /// For messages: a path or a query may hold what is nobody's business.
    fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// The token and the values of the headers, the words in them too: `Bearer …` is quoted without its first one.
fn secrets(config: &HttpUpstream) -> Vec<Secret> {
    let values = config.headers.iter().map(|(_, value)| value);
    let values = values.chain(&config.bearer);
    let mut all: Vec<String> = Vec::new();
    for value in values {
        all.push(value.reveal().to_owned());
        all.extend(value.reveal().split_whitespace().map(str::to_owned));
    }
    // The longest first: a part of one is no rest of it.
    all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    all.into_iter().map(Secret::new).collect()
}

/// The headers that every request has.
fn headers(config: &HttpUpstream) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let secret = |name: &str, value: &str| {
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| format!("the value of the header `{name}` cannot be sent"))?;
        value.set_sensitive(true);
        Ok::<HeaderValue, String>(value)
    };
    for (name, value) in &config.headers {
        let known = HeaderName::try_from(name.as_str())
            .map_err(|_| format!("`{name}` is no name of a header"))?;
        headers.insert(known, secret(name, value.reveal())?);
    }
    if let Some(bearer) = &config.bearer {
        let value = format!("Bearer {}", bearer.reveal());
        headers.insert(AUTHORIZATION, secret("authorization", &value)?);
    }
    Ok(headers)
}

async fn understood(mut response: Response, secrets: &[Secret]) -> RequestOutcome {
    let status = response.status();
    let retry_ms = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| response::retry_after_ms(value, clock::unix_ms()));
    let mut body = Vec::new();
    // The head has decided; a body that is cut short or late changes nothing.
    let _ = tokio::time::timeout(BODY_MAX, read(&mut response, &mut body)).await;
    let text = String::from_utf8_lossy(&body);
    let text: String = without(secrets, &text)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(REASON_CHARS_MAX)
        .collect();
    response::of_status(status, &text, retry_ms)
}

/// What a server says of a request it may quote: not our secrets.
fn without(secrets: &[Secret], text: &str) -> String {
    let hidden = secrets
        .iter()
        .filter(|secret| secret.reveal().len() >= SECRET_BYTES_MIN);
    hidden.fold(text.to_owned(), |text, secret| {
        text.replace(secret.reveal(), "***")
    })
}

async fn read(response: &mut Response, body: &mut Vec<u8>) {
    while body.len() < BODY_BYTES_MAX
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
}

/// The cause at the bottom: what is above only says that a request failed, and to which url.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    match cause.downcast_ref::<reqwest::Error>() {
        Some(_) => "the request could not be sent".into(),
        None => cause.to_string(),
    }
}
