//! Keycloak changes its keys, is slow, or is away: whoever is signed in does not notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};

use crate::harness::gate::GateIs;
use crate::harness::keycloak::{Alone, Realm};
use crate::harness::{Installation, PASSWORD, eventually};
use crate::keycloak::installation;

/// A token with this key id, and a signature that no key made.
fn made_up(kid: &str, claims: &Value) -> String {
    let part = |value: &Value| BASE64.encode(value.to_string());
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": kid });
    format!("{}.{}.{}", part(&header), part(claims), BASE64.encode([7; 256]))
}

async fn sign_in(app: &Installation) -> crate::harness::Reply {
    app.nobody().post("/api/v1/auth/login", json!({ "email": "ada@example.com", "password": PASSWORD })).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_realm_rotates_its_key_while_people_work_and_nobody_notices() {
    let Some(app) = installation(&[]).await else { return };
    let ada = app.sign_up("ada@example.com").await;
    let there = Installation::beside(&app, &[]).await;
    there.with_token(ada.access_token()).get("/api/v1/auth/me").await.ok(200);
    let before = app.realm().gate().fetched_keys();
    let (over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let working = {
        let (ada, over, calls) = (there.with_token(ada.access_token()), over.clone(), calls.clone());
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                ada.get("/api/v1/skills").await.ok(200);
                calls.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    };
    app.realm().rotate_key().await;
    // The old token goes on, and the new one is known at once, also to a process that never saw its key.
    let tokens = app.realm().password_grant("ada@example.com").await;
    let token = tokens["access_token"].as_str().unwrap();
    let kid = |token: &str| BASE64.decode(token.split('.').next().unwrap()).unwrap();
    assert_ne!(kid(token), kid(ada.access_token()), "the realm signs with another key now");
    let at_once = futures_util::future::join_all((0..20).map(|_| {
        let ada = there.with_token(token);
        async move { ada.get("/api/v1/auth/me").await }
    }));
    for reply in at_once.await {
        reply.ok(200);
    }
    assert_eq!(app.realm().gate().fetched_keys() - before, 1, "one look for twenty requests");
    app.signed_in_again(&ada).await.get("/api/v1/auth/me").await.ok(200);
    let done = calls.load(Ordering::Relaxed);
    eventually("the work goes on", async || calls.load(Ordering::Relaxed) > done).await;
    over.store(true, Ordering::Relaxed);
    working.await.expect("no call failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_unknown_keys_at_once_cost_one_look_in_ten_seconds() {
    let Some(app) = installation(&[]).await else { return };
    let ada = app.sign_up("ada@example.com").await;
    let gate = app.realm().gate();
    let before = gate.fetched_keys();
    let claims = ada.claims();
    let storm = |round: u32| {
        let calls = (0..1000).map(|number| {
            let liar = app.with_token(&made_up(&format!("{round}-{number}"), &claims));
            async move { liar.get("/api/v1/auth/me").await.refused(401, "UNAUTHENTICATED") }
        });
        futures_util::future::join_all(calls.collect::<Vec<_>>())
    };
    for refusal in storm(1).await {
        assert_eq!(refusal["details"]["reason"], "invalid");
    }
    assert_eq!(gate.fetched_keys() - before, 1, "a thousand key ids that nobody has heard of");
    app.advance(11);
    storm(2).await;
    assert_eq!(gate.fetched_keys() - before, 2, "ten seconds later, once more");
    // A signature that does not fit its key is the same kind of lie.
    app.advance(11);
    let header: Value =
        serde_json::from_slice(&BASE64.decode(ada.access_token().split('.').next().unwrap()).unwrap()).unwrap();
    for _ in 0..20 {
        let liar = app.with_token(&made_up(header["kid"].as_str().unwrap(), &claims));
        liar.get("/api/v1/auth/me").await.refused(401, "UNAUTHENTICATED");
    }
    assert_eq!(gate.fetched_keys() - before, 3);
    ada.get("/api/v1/auth/me").await.ok(200);
}

#[tokio::test]
async fn keys_that_were_fetched_once_stay_in_use_while_newer_ones_cannot_be_had() {
    let Some(app) = installation(&[]).await else { return };
    let ada = app.sign_up("ada@example.com").await;
    let eve = made_up("unknown", &ada.claims());
    for state in [GateIs::Broken, GateIs::Hanging] {
        app.advance(31);
        app.realm().gate().turn(state);
        let liar = app.with_token(&eve);
        // Who insists waits for the realm; who is known does not.
        let (known, refused) = tokio::join!(
            tokio::time::timeout(Duration::from_secs(3), ada.get("/api/v1/auth/me")),
            liar.get("/api/v1/auth/me")
        );
        known.expect("whoever is known does not wait for a realm that hangs").ok(200);
        refused.refused(401, "UNAUTHENTICATED");
        sign_in(&app).await.refused(503, "AUTH_UNAVAILABLE");
        let body = json!({ "refresh_token": ada.refresh_token() });
        app.nobody().post("/api/v1/auth/refresh", body).await.refused(503, "AUTH_UNAVAILABLE");
    }
    app.realm().gate().turn(GateIs::Open);
    app.signed_in_again(&ada).await.get("/api/v1/auth/me").await.ok(200);
}

#[tokio::test]
async fn without_any_key_nobody_can_be_told_and_the_server_starts_all_the_same() {
    let Some(first) = installation(&[]).await else { return };
    let ada = first.sign_up("ada@example.com").await;
    first.realm().gate().turn(GateIs::Broken);
    let app = Installation::beside(&first, &[]).await;
    app.with_token(ada.access_token()).get("/api/v1/auth/me").await.refused(503, "AUTH_UNAVAILABLE");
    let readiness = app.nobody().get("/health/ready").await.ok(200);
    assert_eq!(readiness["checks"]["keycloak"], json!({ "status": "degraded", "jwks_cached": false }));
    first.realm().gate().turn(GateIs::Open);
    eventually("the keys are fetched when somebody needs them", async || {
        app.with_token(ada.access_token()).get("/api/v1/auth/me").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn keycloak_stops_and_starts_again_and_only_signing_in_waits_for_it() {
    let Some(alone) = Alone::with_keycloak().await else { return };
    let app = Installation::with_realm(Realm::alone(&alone).await, &[]).await;
    let ada = app.sign_up("ada@example.com").await;
    alone.stop().await;
    ada.create_skill("Written while Keycloak is away").await;
    sign_in(&app).await.refused(503, "AUTH_UNAVAILABLE");
    let new = json!({ "email": "eve@example.com", "password": PASSWORD, "first_name": "Eve", "last_name": "E" });
    app.nobody().post("/api/v1/auth/signup", new).await.refused(503, "AUTH_UNAVAILABLE");
    let body = json!({ "refresh_token": ada.refresh_token() });
    app.nobody().post("/api/v1/auth/refresh", body).await.refused(503, "AUTH_UNAVAILABLE");
    eventually("readiness says so, and stays ready", async || {
        let readiness = app.nobody().get("/health/ready").await.ok(200);
        readiness["checks"]["keycloak"] == json!({ "status": "degraded", "jwks_cached": true })
    })
    .await;
    alone.start().await;
    eventually("signing in works again by itself", async || sign_in(&app).await.status == 200).await;
    app.signed_in_again(&ada).await.get("/api/v1/auth/me").await.ok(200);
}
