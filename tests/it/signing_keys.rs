//! The keys that sign access tokens are rotated while people work: nobody is signed out, every process follows by
//! itself, and a token of a key that is gone is worth nothing.

use base64::Engine;
use kijko_core::services::identity::Operator;
use kijko_core::services::signing_keys;
use kijko_core::{Code, Error};
use serde_json::Value;

use crate::harness::{Installation, Person, eventually};

const KEY: &str = include_str!("fixtures/signing_key.pem");
const OTHER_KEY: &str = include_str!("fixtures/other_signing_key.pem");

fn operator() -> Operator {
    Operator { name: "a test".into(), reason: "it is time".into() }
}

fn kid(person: &Person) -> String {
    let header = person.access_token().split('.').next().expect("a token has a header");
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).expect("base64");
    serde_json::from_slice::<Value>(&header).expect("JSON")["kid"].as_str().expect("a key id").to_owned()
}

async fn published(app: &Installation) -> Vec<String> {
    let keys = app.nobody().get("/.well-known/jwks.json").await.ok(200);
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_new_key_signs_and_the_old_one_verifies_until_its_last_token_expired() {
    let here = Installation::new().await;
    let there = Installation::beside(&here, &[]).await;
    let ada = here.owner().await;
    let rotated = signing_keys::rotate(&here.app, &operator(), false).await.expect("it rotates");
    assert!(rotated.previous_verifies_until.is_some());

    let bob = here.owner().await;
    assert_ne!(kid(&bob), kid(&ada), "the new key signs");
    assert_eq!(published(&here).await, [kid(&bob), kid(&ada)]);
    // At once, also where the announcement may not have arrived: an unknown key is looked for.
    for person in [&bob, &ada] {
        here.with_token(person.access_token()).get("/api/v1/auth/me").await.ok(200);
        there.with_token(person.access_token()).get("/api/v1/auth/me").await.ok(200);
    }
    eventually("the other process signs with the new key", async || kid(&there.owner().await) == kid(&bob)).await;

    let again = signing_keys::rotate(&here.app, &operator(), false).await;
    let Err(Error::Conflict { code: Code::Conflict, details: Some(details), .. }) = again else {
        panic!("two keys may be published, not three: {again:?}")
    };
    assert!(details["previousKeyVerifiesUntil"].is_string(), "it says how long to wait: {details}");

    for app in [&here, &there] {
        app.advance(1800 + 121);
    }
    signing_keys::rotate(&here.app, &operator(), false).await.expect("the first one is gone");
    assert_eq!(here.count("signing_keys").await, 2, "a private key that is not needed is deleted");
    assert_eq!(here.count("signing_keys WHERE note = 'a test: it is time'").await, 2, "who made it and why");
    let keys = published(&here).await;
    assert!(keys.contains(&kid(&bob)) && !keys.contains(&kid(&ada)), "{keys:?}");
}

#[tokio::test]
async fn a_key_that_somebody_may_know_is_ended_at_once_and_everywhere() {
    let here = Installation::new().await;
    let there = Installation::beside(&here, &[]).await;
    let ada = here.owner().await;
    let ada_there = there.with_token(ada.access_token());
    ada_there.get("/api/v1/auth/me").await.ok(200);
    signing_keys::rotate(&here.app, &operator(), true).await.expect("it rotates");
    eventually("the other process refuses the old key", async || ada_there.get("/api/v1/auth/me").await.status == 401)
        .await;
    eventually("this one too", async || ada.get("/api/v1/auth/me").await.status == 401).await;
    assert_eq!(ada.get("/api/v1/auth/me").await.refused(401, "UNAUTHENTICATED")["details"]["reason"], "invalid");
    assert_eq!((published(&here).await.len(), here.count("signing_keys").await), (1, 1));
    let ada = here.signed_in_again(&ada).await;
    ada.get("/api/v1/auth/me").await.ok(200);
    // An emergency does not wait for the last rotation.
    signing_keys::rotate(&here.app, &operator(), false).await.expect("it rotates");
    signing_keys::rotate(&here.app, &operator(), true).await.expect("it rotates");
}

#[tokio::test]
async fn no_request_fails_while_keys_are_rotated() {
    let here = Installation::new().await;
    let there = Installation::beside(&here, &[]).await;
    let ada = here.owner().await;
    let work = async {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..30 {
            // Signed by one process, verified by the other.
            let person = here.signed_in_again(&ada).await;
            seen.insert(kid(&person));
            there.with_token(person.access_token()).get("/api/v1/auth/me").await.ok(200);
            there.with_token(ada.access_token()).get("/api/v1/auth/me").await.ok(200);
        }
        seen
    };
    let rotation = async {
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        signing_keys::rotate(&here.app, &operator(), false).await.expect("it rotates");
    };
    let (_, ()) = tokio::join!(work, rotation);
    here.advance(31);
    assert_ne!(kid(&here.owner().await), kid(&ada));
}

#[tokio::test]
async fn tokens_with_made_up_keys_are_refused_however_many_come() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let rest = ada.access_token().split_once('.').unwrap().1.to_owned();
    let encode = |text: String| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let attempts = (0..1000).map(|n| {
        let header = encode(format!(r#"{{"alg":"RS256","kid":"made up {n}"}}"#));
        let person = app.with_token(&format!("{header}.{rest}"));
        async move { person.get("/api/v1/auth/me").await }
    });
    for reply in futures_util::future::join_all(attempts).await {
        assert_eq!(reply.refused(401, "UNAUTHENTICATED")["details"]["reason"], "invalid");
    }
    app.app.close().await;
    // A start reads them a few times, too.
    let looked = reads(&app).await;
    assert!(looked < 20, "1000 made-up keys made us read the keys {looked} times");
}

/// How often the table of keys was read, as PostgreSQL counts it once connections are closed.
async fn reads(app: &Installation) -> i64 {
    app.sql("SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()").await;
    let sql =
        "SELECT (seq_scan + coalesce(idx_scan, 0))::bigint FROM pg_stat_user_tables WHERE relname = 'signing_keys'";
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    sqlx::query_scalar(sql).fetch_one(&app.superuser).await.expect("the table is counted")
}

#[tokio::test]
async fn keys_from_the_settings_are_rotated_there() {
    let before = Installation::with(&[("JWT_SIGNING_KEY", KEY)]).await;
    let ada = before.owner().await;
    let settings = [("JWT_SIGNING_KEY", OTHER_KEY), ("JWT_SIGNING_KEY_PREVIOUS", KEY)];
    let after = Installation::beside(&before, &settings).await;
    let bob = after.owner().await;
    assert_ne!(kid(&ada), kid(&bob));
    after.with_token(ada.access_token()).get("/api/v1/auth/me").await.ok(200);
    assert_eq!(published(&after).await, [kid(&bob), kid(&ada)]);
    let refused = signing_keys::rotate(&after.app, &operator(), false).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "the settings would win: {refused:?}");
    let alone = Installation::beside(&before, &[("JWT_SIGNING_KEY", OTHER_KEY)]).await;
    let reply = alone.with_token(ada.access_token()).get("/api/v1/auth/me").await;
    assert_eq!(reply.refused(401, "UNAUTHENTICATED")["details"]["reason"], "invalid");
}
