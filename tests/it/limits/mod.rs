//! Nobody may ask more often than the table of limits says, to the exact count, wherever they say they come from and
//! however many processes serve them; and nobody who keeps within it is refused because of somebody else.

use serde_json::{Value, json};

use crate::harness::{Installation, PASSWORD, Person, Reply};

mod addresses;
mod counting;
mod locks;
mod shared;
mod timing;

const ON: (&str, &str) = ("RATE_LIMITS_ENABLED", "true");

/// With the limits as they are in operation.
async fn limited() -> Installation {
    Installation::with(&[ON]).await
}

/// Tries to sign in to an account that does not exist, another one each time.
async fn sign_in(person: &Person) -> Reply {
    let email = format!("{}@example.com", uuid::Uuid::new_v4().simple());
    person.post("/api/v1/auth/login", json!({ "email": email, "password": PASSWORD })).await
}

/// The refusal by this limit, told in the body and in the headers; gives the seconds to wait.
#[track_caller]
fn refused_by(reply: Reply, limit: u64, window_seconds: u64) -> u64 {
    let header = |name: &str| {
        let text = reply.header(name).unwrap_or_else(|| panic!("{name} is missing in {:?}", reply.headers));
        text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is a number, not {text}"))
    };
    let wait = header("retry-after");
    assert_eq!((header("x-ratelimit-limit"), header("x-ratelimit-remaining")), (limit, 0), "{:?}", reply.headers);
    assert!((1..=window_seconds).contains(&wait), "{wait} seconds is no time to wait in {window_seconds}");
    let body = reply.refused(429, "RATE_LIMITED");
    assert_eq!(body["details"], json!({ "limit": limit, "windowSeconds": window_seconds, "retryAfter": wait }));
    wait
}

/// What the headers say of a reply that was let in: limit and remaining.
fn standing(reply: &Reply) -> (&str, &str) {
    let header = |name| reply.header(name).unwrap_or("absent");
    (header("x-ratelimit-limit"), header("x-ratelimit-remaining"))
}

/// Sends many requests at the same time from several threads, and counts the replies by status.
async fn crowd<F>(requests: impl IntoIterator<Item = F>) -> Vec<(u16, usize)>
where
    F: Future<Output = Reply> + Send + 'static,
{
    let tasks: Vec<_> = requests.into_iter().map(tokio::spawn).collect();
    let mut counts = std::collections::BTreeMap::new();
    for task in tasks {
        let status = task.await.expect("no request panics").status.as_u16();
        *counts.entry(status).or_default() += 1;
    }
    counts.into_iter().collect()
}

/// The health of Redis as the probe tells it: status of the reply, and of Redis.
async fn redis_health(app: &Installation) -> (u16, Value) {
    let reply = app.nobody().get("/healthz/redis").await;
    (reply.status.as_u16(), reply.body["status"].clone())
}
