//! A small real HTTP server that answers as it is told and writes down what it was asked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tidegate_tests::wait::PATIENCE;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// What the server does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Reaction {
    /// Answers with a status, further headers and a body.
    Answer(u16, &'static [(&'static str, &'static str)], &'static str),
    /// Says nothing.
    Hang,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Header names in lower case.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The ids of the events it carries.
    pub(crate) fn ids(&self) -> Vec<String> {
        let id = |event: &serde_json::Value| event["id"].as_str().unwrap_or_default().to_owned();
        match serde_json::from_str(&self.body) {
            Ok(serde_json::Value::Array(events)) => events.iter().map(id).collect(),
            Ok(event) if event["specversion"] == "1.0" => vec![id(&event)],
            _ => vec![self.header("ce-id").to_owned()],
        }
    }
}

type React = Arc<dyn Fn(usize, &Asked) -> Reaction + Send + Sync>;

/// The server; it is gone when this is dropped.
pub(crate) struct Webhook {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Webhook {
    /// On a port of its own; `react` is told the number of the request, from 0.
    pub(crate) async fn start(
        react: impl Fn(usize, &Asked) -> Reaction + Send + Sync + 'static,
    ) -> Webhook {
        Webhook::start_at("127.0.0.1:0".parse().expect("an address"), react).await
    }

    /// At `address`.
    pub(crate) async fn start_at(
        address: SocketAddr,
        react: impl Fn(usize, &Asked) -> Reaction + Send + Sync + 'static,
    ) -> Webhook {
        let socket = TcpListener::bind(address).await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (log, react): (_, React) = (Arc::clone(&asked), Arc::new(react));
        let task = tokio::spawn(async move {
            // Connections end with the server.
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = socket.accept().await {
                let (log, react) = (Arc::clone(&log), Arc::clone(&react));
                open.spawn(async move {
                    let service = service_fn(|request| answer(request, &log, &react));
                    let connection = hyper::server::conn::http1::Builder::new();
                    let _ = connection
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Webhook {
            address,
            asked,
            task,
        }
    }

    /// Ends it and all its connections.
    pub(crate) async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("nobody panics").clone()
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    log: &Mutex<Vec<Asked>>,
    react: &React,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| {
        let value = value.to_str().unwrap_or_default();
        (name.as_str().to_owned(), value.to_owned())
    });
    let headers = headers.collect();
    let body = request.into_body().collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let asked = Asked {
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let number = {
        let mut log = log.lock().expect("nobody panics");
        log.push(asked.clone());
        log.len() - 1
    };
    let Reaction::Answer(status, headers, body) = react(number, &asked) else {
        tokio::time::sleep(PATIENCE).await;
        return Ok(Response::new(Full::default()));
    };
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    let body = Full::new(Bytes::from_static(body.as_bytes()));
    Ok(response.body(body).expect("a response"))
}
