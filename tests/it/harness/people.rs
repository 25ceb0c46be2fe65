//! People who use an installation, with verbs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use base64::Engine;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

#[derive(Clone)]
pub struct Person {
    router: Router,
    tokens: Option<Value>,
    /// Where their connection comes from.
    peer: IpAddr,
}

/// Where people are who did not say.
const SOMEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Person {
    pub fn new(router: Router, tokens: Option<Value>) -> Self {
        Self { router, tokens, peer: SOMEWHERE }
    }

    /// The same person behind another connection.
    pub fn at(&self, peer: &str) -> Self {
        Self { peer: peer.parse().expect("an address"), ..self.clone() }
    }

    pub fn access_token(&self) -> &str {
        self.tokens.as_ref().and_then(|tokens| tokens["access_token"].as_str()).expect("this person signed in")
    }

    pub fn refresh_token(&self) -> &str {
        self.tokens.as_ref().and_then(|tokens| tokens["refresh_token"].as_str()).expect("this person signed in")
    }

    /// What the access token says, unverified.
    pub fn claims(&self) -> Value {
        let payload = self.access_token().split('.').nth(1).expect("a token has three parts");
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).expect("base64");
        serde_json::from_slice(&bytes).expect("JSON")
    }

    pub fn user_id(&self) -> String {
        self.claims()["sub"].as_str().expect("a subject").to_owned()
    }

    pub fn organization_id(&self) -> String {
        self.claims()["org_id"].as_str().expect("an organisation").to_owned()
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.call(Method::POST, path, Some(body)).await
    }

    /// With an `Idempotency-Key`.
    pub async fn post_once(&self, path: &str, key: &str, body: Value) -> Reply {
        let request = Request::builder().method(Method::POST).uri(path).header("idempotency-key", key);
        let request = request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string()));
        self.send(request.expect("a valid request")).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Reply {
        self.call(Method::PUT, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.call(Method::DELETE, path, None).await
    }

    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        let request = Request::builder().method(method).uri(path);
        let request = match body {
            Some(body) => request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        self.send(request.expect("a valid request")).await
    }

    /// With these headers.
    pub async fn call_with(&self, headers: &[(&str, &str)], method: Method, path: &str, body: Option<Value>) -> Reply {
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(request.body(body).expect("a valid request")).await
    }

    /// Any request, with this person's token unless it brings its own.
    pub async fn send(&self, mut request: Request<Body>) -> Reply {
        if self.tokens.is_some() && !request.headers().contains_key(header::AUTHORIZATION) {
            let value = format!("Bearer {}", self.access_token()).parse().expect("a header value");
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(self.peer, 4711)));
        let response = self.router.clone().oneshot(request).await.expect("the router always answers");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Reply { status: parts.status, headers: parts.headers, body, text }
    }

    /// Creates a skill and returns its id.
    pub async fn create_skill(&self, name: &str) -> String {
        self.post("/api/v1/skills", super::skill(name)).await.ok(201)["id"].as_str().expect("an id").to_owned()
    }

    /// Asks for a run and returns its id.
    pub async fn execute(&self, skill: &str, input: Value) -> String {
        let reply = self.post(&format!("/api/v1/skills/{skill}/execute"), json!({ "input": input })).await;
        reply.ok(202)["executionId"].as_str().expect("an id").to_owned()
    }

    pub async fn execution(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/executions/{id}")).await.ok(200)
    }
}

impl Reply {
    /// The body of a reply that must have this status.
    #[track_caller]
    pub fn ok(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "expected {status}, got {}: {}", self.status, self.text);
        self.body
    }

    /// The reply must be this refusal, in the shape that every refusal has; gives its body.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Value {
        let text = &self.text;
        assert_eq!((self.status.as_u16(), self.body["code"].as_str()), (status, Some(code)), "got {text}");
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json", "refusals are problems");
        assert_eq!(self.body["requestId"].as_str(), self.header("x-request-id"), "the body names its request: {text}");
        assert_eq!(self.body["detail"], self.body["message"], "both members say the same: {text}");
        assert_eq!(self.body["status"], status, "the body repeats the status: {text}");
        for member in ["type", "title", "detail"] {
            assert!(self.body[member].is_string(), "{member} is always a text: {text}");
        }
        self.body
    }

    /// The same, naming the offending member.
    #[track_caller]
    pub fn refused_field(self, status: u16, code: &str, field: &str) {
        let text = self.text.clone();
        assert_eq!(self.refused(status, code)["field"], field, "the wrong field is named: {text}");
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
