//! Stands between Kijko and somebody whom it calls: counts what is asked, and can be shut.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use reqwest::redirect;

pub struct Gate {
    pub url: String,
    /// Who is behind it.
    origin: String,
    /// How it is, and for paths that end like this.
    state: Mutex<(GateIs, &'static str)>,
    fetched_keys: AtomicUsize,
    http: reqwest::Client,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateIs {
    Open,
    /// Answers every call with an error.
    Broken,
    /// Never answers.
    Hanging,
    /// Answers with what is no JSON.
    Garbage,
    /// Answers with more than anybody wants to read.
    Endless,
}

impl Gate {
    pub async fn open(port: u16) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let gate = Arc::new(Self {
            url: format!("http://{}", listener.local_addr().expect("bound")),
            origin: format!("http://127.0.0.1:{port}"),
            state: Mutex::new((GateIs::Open, "")),
            fetched_keys: AtomicUsize::new(0),
            http: reqwest::Client::builder().redirect(redirect::Policy::none()).build().expect("a client"),
        });
        let router = axum::Router::new().fallback(pass).with_state(gate.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        gate
    }

    pub fn turn(&self, state: GateIs) {
        self.turn_for("", state);
    }

    /// Only for paths that end like this.
    pub fn turn_for(&self, end: &'static str, state: GateIs) {
        *self.state.lock().unwrap() = (state, end);
    }

    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How often public keys were asked for.
    pub fn fetched_keys(&self) -> usize {
        self.fetched_keys.load(Ordering::SeqCst)
    }
}

async fn pass(State(gate): State<Arc<Gate>>, request: Request) -> Response {
    if ["/certs", "/jwks"].iter().any(|end| request.uri().path().ends_with(end)) {
        gate.fetched_keys.fetch_add(1, Ordering::SeqCst);
    }
    let (state, end) = *gate.state.lock().unwrap();
    match state {
        _ if !request.uri().path().ends_with(end) => {}
        GateIs::Open => {}
        GateIs::Broken => return StatusCode::BAD_GATEWAY.into_response(),
        GateIs::Hanging => std::future::pending().await,
        GateIs::Garbage => return "<html>We will be back soon</html>".into_response(),
        GateIs::Endless => return format!("[{}]", "\"\",".repeat(1 << 20)).into_response(),
    }
    let (parts, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    // With the headers of the caller, `Host` above all: Keycloak names itself by it.
    let forwarded = gate.http.request(parts.method, format!("{}{path}", gate.origin)).headers(parts.headers).body(body);
    let Ok(reply) = forwarded.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let mut response = Response::builder().status(reply.status());
    for (name, value) in reply.headers() {
        if name != "transfer-encoding" {
            response = response.header(name, value);
        }
    }
    response.body(Body::from(reply.bytes().await.unwrap_or_default())).expect("a response")
}
