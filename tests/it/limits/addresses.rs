//! Where somebody comes from is what the connection says, unless a proxy that is trusted says otherwise.

use axum::body::Body;
use axum::http::{HeaderValue, Request, header};
use serde_json::json;

use super::{ON, limited, refused_by, sign_in};
use crate::harness::{Installation, PASSWORD, Person, Reply};

/// Tries to sign in with these headers.
async fn sign_in_with(person: &Person, headers: &[(&'static str, &[u8])]) -> Reply {
    let email = format!("{}@example.com", uuid::Uuid::new_v4().simple());
    let body = json!({ "email": email, "password": PASSWORD }).to_string();
    let mut request = Request::post("/api/v1/auth/login").header(header::CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(*name, HeaderValue::from_bytes(value).expect("a header value"));
    }
    person.send(request.body(Body::from(body)).expect("a request")).await
}

#[tokio::test]
async fn claiming_to_come_from_elsewhere_does_not_help() {
    let app = limited().await;
    let attacker = app.nobody().at("203.0.113.66");
    for n in 0..5 {
        let claimed = format!("198.51.100.{n}");
        let headers: [(&str, &[u8]); 2] = [("x-forwarded-for", claimed.as_bytes()), ("x-real-ip", claimed.as_bytes())];
        sign_in_with(&attacker, &headers).await.refused(401, "INVALID_CREDENTIALS");
    }
    let reply =
        sign_in_with(&attacker, &[("x-forwarded-for", b"198.51.100.77"), ("x-real-ip", b"198.51.100.77")]).await;
    refused_by(reply, 5, 60);
}

#[tokio::test]
async fn behind_trusted_proxies_each_client_counts_for_themselves() {
    let app = Installation::with(&[ON, ("TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1")]).await;
    let proxy = app.nobody().at("10.0.0.1");
    for n in 0..10 {
        let chain = format!("1.2.3.4, 198.51.100.{n}, 10.9.9.9");
        sign_in_with(&proxy, &[("x-forwarded-for", chain.as_bytes())]).await.refused(401, "INVALID_CREDENTIALS");
    }
    for n in 0..5 {
        // What the client claims stands left of what the proxy saw.
        let chain = format!("192.0.2.{n}, 198.51.100.200");
        sign_in_with(&proxy, &[("x-forwarded-for", chain.as_bytes())]).await.refused(401, "INVALID_CREDENTIALS");
    }
    refused_by(sign_in_with(&proxy, &[("x-forwarded-for", b"192.0.2.9, 198.51.100.200")]).await, 5, 60);
    refused_by(sign_in_with(&app.nobody().at("127.0.0.1"), &[("x-real-ip", b"198.51.100.200")]).await, 5, 60);
    refused_by(sign_in(&app.nobody().at("198.51.100.200")).await, 5, 60);
}

#[tokio::test]
async fn garbage_in_these_headers_breaks_nothing_and_hides_nobody() {
    let app = Installation::with(&[ON, ("TRUSTED_PROXIES", "10.0.0.0/8")]).await;
    let proxy = app.nobody().at("10.0.0.1");
    let long = vec![b','; 8000];
    let many = "10.1.1.1,".repeat(900);
    let garbage: [&[u8]; 5] = [b"", b"\xff\xfe", b"198.51.100.1, %00", &long, b"[::1"];
    for value in garbage {
        let headers: [(&str, &[u8]); 2] = [("x-forwarded-for", value), ("x-real-ip", value)];
        sign_in_with(&proxy, &headers).await.refused(401, "INVALID_CREDENTIALS");
    }
    refused_by(sign_in_with(&proxy, &[("x-forwarded-for", b"nonsense")]).await, 5, 60);
    sign_in_with(&proxy, &[("x-forwarded-for", many.as_bytes())]).await.refused(429, "RATE_LIMITED");
}

#[tokio::test]
async fn a_subscriber_with_many_addresses_counts_as_one() {
    let app = limited().await;
    for n in 0..5 {
        sign_in(&app.nobody().at(&format!("2001:db8:0:1::{n}"))).await.refused(401, "INVALID_CREDENTIALS");
    }
    refused_by(sign_in(&app.nobody().at("2001:db8:0:1:ffff::1")).await, 5, 60);
    sign_in(&app.nobody().at("2001:db8:0:2::1")).await.refused(401, "INVALID_CREDENTIALS");
}

#[tokio::test]
async fn networks_that_are_none_are_refused_at_the_start() {
    for (value, valid) in [
        ("10.0.0.0/8,fd00::/8", true),
        (r#"["192.0.2.1"]"#, true),
        ("[]", true),
        ("10.0.0.0/33", false),
        ("example.com", false),
    ] {
        let config = kijko_core::Config::from_values(&[("TRUSTED_PROXIES", value)]);
        assert_eq!(config.is_ok(), valid, "{value}");
    }
}
