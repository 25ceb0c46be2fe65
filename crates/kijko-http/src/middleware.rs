//! The stack around every handler, in order, in one function.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use kijko_core::config::Environment;
use kijko_core::domain::limits::{Counter, Standing, counter_of};
use kijko_core::services::identity::{self, Identity};
use kijko_core::services::limits;
use kijko_core::{App, Code, Error};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::client::ClientAddress;
use crate::extract::{RequestId, bearer};
use crate::problem::{Problem, QUOTA_METRIC, standing_headers};
use crate::router::PUBLIC;
use crate::scopes;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PROCESS_TIME: HeaderName = HeaderName::from_static("x-process-time");

/// Around everything, outermost first: request id, timing and log; headers; panic guard; CORS.
///
/// All in one `layer`, because the router copies what lies below each of its layers for every request.
pub fn outer(router: Router, app: &App) -> Router {
    let over_tls = app.config().environment != Environment::Local;
    let stack = ServiceBuilder::new()
        .layer(from_fn_with_state(app.clone(), observe))
        .map_response(move |response| harden(response, over_tls))
        .layer(CatchPanicLayer::custom(panicked))
        .map_response(drop_empty_cors)
        .layer(cors(app));
    router.layer(stack)
}

/// Around the routes of the API, inside of that: body limit; time limit; the client's address; rate limits and
/// authentication, which denies by default.
pub fn inner(router: Router<App>, app: &App) -> Router<App> {
    let stack = ServiceBuilder::new()
        .layer(DefaultBodyLimit::max(app.config().http.body_limit_bytes))
        .layer(from_fn_with_state(app.clone(), admit));
    router.layer(stack)
}

/// Around the documentation, which everybody may read, as often as anybody may ask.
pub fn documentation(router: Router, app: &App) -> Router {
    router.layer(from_fn_with_state(app.clone(), count_anybody))
}

/// Gives the request an id and the reply its headers, writes the body of a refusal, and logs one line.
async fn observe(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(&app, &request);
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = request.method().clone();
    let documentation = request.extensions().get::<MatchedPath>().cloned();

    let mut response = next.run(request).await;
    let route = response.extensions_mut().remove::<MatchedPath>().or(documentation);
    let identity = response.extensions_mut().remove::<Arc<Identity>>();
    let address = response.extensions_mut().remove::<ClientAddress>();
    let problem = response.extensions_mut().remove::<Problem>();
    if let Some(problem) = &problem {
        let mut headers = std::mem::take(response.headers_mut());
        // The router below has measured the empty body that is replaced here.
        headers.remove(header::CONTENT_LENGTH);
        response = problem.clone().into_reply(&id);
        let written = std::mem::replace(response.headers_mut(), headers);
        response.headers_mut().extend(written);
    }
    let elapsed = started.elapsed();
    let duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    if let Ok(value) = HeaderValue::try_from(format!("{duration_ms}ms")) {
        response.headers_mut().insert(PROCESS_TIME, value);
    }
    let ip_hash = address.map(|address| limits::label(&app, address.0));
    log(&Line { id, method, route, status: response.status(), duration_ms, identity, ip_hash, problem });
    response
}

/// The caller's id where it is harmless, else one of ours.
fn request_id(app: &App, request: &Request) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let harmless = |text: &&str| {
        (1..=128).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    given.filter(harmless).map_or_else(|| app.new_request_id(), str::to_owned)
}

struct Line {
    id: String,
    method: Method,
    /// The template, never the path: an id in a log line is an index for whoever reads it.
    route: Option<MatchedPath>,
    status: StatusCode,
    duration_ms: u64,
    identity: Option<Arc<Identity>>,
    ip_hash: Option<String>,
    problem: Option<Problem>,
}

fn log(line: &Line) {
    let path = line.route.as_ref().map_or("-", MatchedPath::as_str);
    let user_id = line.identity.as_ref().map(|identity| identity.account.user.id.to_string());
    let membership = line.identity.as_ref().and_then(|identity| identity.account.membership.as_ref());
    let org_id = membership.map(|membership| membership.organization.id.to_string());
    let error_code = line.problem.as_ref().map(|problem| problem.code().as_str());
    let (request_id, method, status) = (line.id.as_str(), line.method.as_str(), line.status.as_u16());
    let (duration_ms, ip_hash) = (line.duration_ms, line.ip_hash.as_deref());
    if let Some(internal) = line.problem.as_ref().and_then(Problem::internal) {
        tracing::error!(request_id, error_code, error = internal, "request failed");
    }
    let is_probe =
        ["/health", "/docs", "/redoc", "/openapi.json"].iter().any(|start| path.starts_with(start)) || path == "/";
    if duration_ms > 1000 {
        tracing::warn!(request_id, method, path, duration_ms, "slow request");
    }
    if is_probe {
        tracing::debug!(request_id, method, path, status, duration_ms, "request");
    } else {
        tracing::info!(request_id, method, path, status, duration_ms, user_id, org_id, ip_hash, error_code, "request");
    }
}

/// Headers that every reply carries.
fn harden<B>(mut response: Response<B>, over_tls: bool) -> Response<B> {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json") {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if over_tls {
        let year = HeaderValue::from_static("max-age=31536000; includeSubDomains");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    response
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(panic = text, "a handler panicked");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Code::InternalError, Code::InternalError.title()).into_response()
}

fn cors(app: &App) -> CorsLayer {
    let origins = app.config().http.cors_origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    let exposed = [
        "x-request-id",
        "x-process-time",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "x-quota-metric",
        "x-export-truncated",
    ];
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            REQUEST_ID,
            HeaderName::from_static("idempotency-key"),
            header::IF_MATCH,
            header::IF_NONE_MATCH,
        ])
        .expose_headers(
            exposed
                .map(HeaderName::from_static)
                .into_iter()
                .chain([header::RETRY_AFTER, header::ETAG])
                .collect::<Vec<_>>(),
        )
        .max_age(std::time::Duration::from_secs(600))
}

/// An origin that is not on the list learns nothing, not even which headers we would allow.
fn drop_empty_cors<B>(mut response: Response<B>) -> Response<B> {
    if !response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        let names = response.headers().keys().filter(|name| name.as_str().starts_with("access-control-"));
        for name in names.cloned().collect::<Vec<_>>() {
            response.headers_mut().remove(name);
        }
    }
    response
}

/// Limits, authentication and handler, within the time limit. Dropping them is safe: what was not committed is rolled
/// back.
async fn admit(State(app): State<App>, request: Request, next: Next) -> Response {
    let limit = app.config().http.request_timeout;
    let answer = tokio::time::timeout(limit, enter(&app, request, next)).await;
    answer.unwrap_or_else(|_| {
        let detail = format!("The request took longer than {} seconds", limit.as_secs());
        Problem::new(StatusCode::GATEWAY_TIMEOUT, Code::UpstreamTimeout, detail).into_response()
    })
}

async fn enter(app: &App, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let address = ClientAddress::of(app, &parts);
    parts.extensions.insert(address);
    let route = parts.extensions.get::<MatchedPath>().cloned();
    let entry = check(app, &parts, route.as_ref(), address.0).await;
    let mut response = match entry.refusal {
        Some(refusal) => refusal.into_response(),
        None => {
            entry.identity.as_ref().map(|identity| parts.extensions.insert(identity.clone()));
            next.run(Request::from_parts(parts, body)).await
        }
    };
    // A limit that refused, here or further inside, speaks for itself and comes after these; so does a quota.
    if !response.headers().contains_key(QUOTA_METRIC) {
        response.headers_mut().extend(entry.standing.iter().flat_map(standing_headers));
    }
    // For the log, which is written outside.
    response.extensions_mut().insert(address);
    route.map(|route| response.extensions_mut().insert(route));
    entry.identity.map(|identity| response.extensions_mut().insert(identity));
    response
}

async fn count_anybody(State(app): State<App>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let address = ClientAddress::of(&app, &parts).0;
    let entry = Entry::default().counted(limits::of_address(&app, Counter::Anonymous, address).await);
    let mut response = match entry.refusal {
        Some(refusal) => refusal.into_response(),
        None => next.run(Request::from_parts(parts, body)).await,
    };
    response.headers_mut().extend(entry.standing.iter().flat_map(standing_headers));
    response
}

/// What is found out about a request before it reaches its handler.
#[derive(Default)]
struct Entry {
    identity: Option<Arc<Identity>>,
    /// With the limit that the request was counted against.
    standing: Option<Standing>,
    refusal: Option<Problem>,
}

impl Entry {
    fn counted(self, counted: Result<Option<Standing>, Error>) -> Self {
        match counted {
            Ok(standing) => Self { standing, ..self },
            Err(refusal) => Self { refusal: Some(refusal.into()), ..self },
        }
    }
}

/// Whoever is not on the public list must say who they are. A path that leads nowhere needs no credential.
///
/// Who says it truly is counted for themselves, and everybody else by their address: that is decided after a glance at
/// the credential, or one who sends junk could use up what their whole office may ask.
async fn check(app: &App, request: &Parts, route: Option<&MatchedPath>, address: IpAddr) -> Entry {
    let counter = counter_of(request.method.as_str(), request.uri.path());
    let token = bearer(&request.headers);
    let is_open = route.is_none_or(|route| is_public(&request.method, route.as_str()));
    if is_open && (route.is_some() || token.is_none()) {
        let Some(counter) = counter else { return Entry::default() };
        return Entry::default().counted(limits::of_address(app, counter, address).await);
    }
    match identity::authenticate(app, token).await {
        Ok(identity) => {
            let counted = if counter.is_some() { limits::of_identity(app, &identity).await } else { Ok(None) };
            let guarded = route.filter(|_| !is_open);
            let refusal = guarded.and_then(|route| scopes::refusal(&identity, &request.method, route.as_str()));
            Entry { identity: Some(identity), refusal, standing: None }.counted(counted)
        }
        Err(refusal) => {
            let counted = if counter.is_some() { limits::of_refused(app, &refusal, address).await } else { Ok(None) };
            let refusal = (!is_open).then(|| refusal.into());
            Entry { refusal, ..Entry::default() }.counted(counted)
        }
    }
}

fn is_public(method: &Method, route: &str) -> bool {
    // Every GET answers HEAD too.
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    PUBLIC.contains(&(method, route))
}
