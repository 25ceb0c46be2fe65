//! Signing up, in and out: whoever holds a token is who they were when they got it, and only until it ends.

use serde_json::json;

use crate::harness::browser::{Browser, finish, returned, start};
use crate::harness::social::{ADA, GithubPerson, Providers};
use crate::harness::{Installation, Mode, PASSWORD};

/// AUTH-01 to AUTH-08 hold whoever signs people in, so each of these is run with the built-in provider and with a realm
/// of Keycloak.
macro_rules! in_both_modes {
    ($($name:ident,)*) => {
        mod builtin {
            $(#[tokio::test]
            async fn $name() {
                super::in_mode(super::Mode::Builtin, super::$name).await;
            })*
        }
        mod keycloak {
            $(#[tokio::test]
            async fn $name() {
                super::in_mode(super::Mode::Keycloak, super::$name).await;
            })*
        }
    };
}

async fn in_mode(mode: Mode, test: impl AsyncFnOnce(Installation)) {
    if let Some(app) = Installation::in_mode(mode, &[]).await {
        test(app).await;
    }
}

in_both_modes! {
    signing_up_gives_a_session_and_an_organisation_of_ones_own,
    an_address_can_sign_up_once_also_in_a_race,
    unknown_addresses_and_wrong_passwords_sound_the_same,
    a_disabled_account_cannot_sign_in_and_is_out_within_half_a_minute,
    a_refresh_token_works_once_and_gives_a_new_pair,
    many_tabs_that_refresh_at_once_all_get_the_same_successor,
    refresh_tokens_end_with_time_and_with_membership,
    an_expired_access_token_is_replaced_through_refresh,
    logging_out_ends_the_session_at_once_and_everywhere,
    an_expired_access_token_is_good_enough_to_log_out,
    a_token_survives_a_restart_and_works_on_every_process,
    people_sign_in_with_google_and_github_and_with_nobody_else,
}

async fn signing_up_gives_a_session_and_an_organisation_of_ones_own(app: Installation) {
    let body = json!({ "email": " Ada@Example.COM ", "password": PASSWORD, "first_name": "Ada", "last_name": "L" });
    let tokens = app.nobody().post("/api/v1/auth/signup", body).await.ok(201);
    // The realm has its own opinion, and keeps the passwords.
    let (life, hashes) = if app.mode() == Mode::Builtin { (1800, 1) } else { (300, 0) };
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(life)));
    let me = app.with_token(tokens["access_token"].as_str().unwrap()).get("/api/v1/auth/me").await.ok(200);
    assert_eq!(me["email"], "ada@example.com");
    assert_eq!((&me["roles"], &me["plan"]), (&json!(["owner"]), &json!("free")));
    assert_ne!(me["org_id"], me["id"], "the organisation has an id of its own");
    assert_eq!(app.count("organizations WHERE name = 'Ada''s workspace'").await, 1);
    assert_eq!(app.count("users WHERE password_hash LIKE '$argon2id$%'").await, hashes);
}

async fn an_address_can_sign_up_once_also_in_a_race(app: Installation) {
    let body = json!({ "email": "ada@example.com", "password": PASSWORD, "first_name": "A", "last_name": "L" });
    let nobody = app.nobody();
    let attempts = (0..8).map(|_| nobody.post("/api/v1/auth/signup", body.clone()));
    let statuses: Vec<u16> =
        futures_util::future::join_all(attempts).await.iter().map(|reply| reply.status.as_u16()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 7, "{statuses:?}");
    nobody.post("/api/v1/auth/signup", body).await.refused_field(409, "EMAIL_TAKEN", "email");
    assert_eq!(app.count("organizations").await, 1, "the losers leave nothing behind");
}

#[tokio::test]
async fn a_closed_installation_lets_nobody_in() {
    let app = Installation::with(&[("SIGNUP_ENABLED", "false")]).await;
    let body = json!({ "email": "ada@example.com", "password": PASSWORD, "first_name": "A", "last_name": "L" });
    app.nobody().post("/api/v1/auth/signup", body).await.refused(403, "SIGNUP_DISABLED");
}

async fn unknown_addresses_and_wrong_passwords_sound_the_same(app: Installation) {
    app.sign_up("ada@example.com").await;
    let login = |email: &str, password: &str| {
        let body = json!({ "email": email, "password": password });
        let nobody = app.nobody();
        async move { nobody.post("/api/v1/auth/login", body).await }
    };
    login("ADA@example.com", PASSWORD).await.ok(200);
    let mut wrong = login("ada@example.com", "wrongpass1").await.refused(401, "INVALID_CREDENTIALS");
    let mut unknown = login("eve@example.com", PASSWORD).await.refused(401, "INVALID_CREDENTIALS");
    for body in [&mut wrong, &mut unknown] {
        body["requestId"] = json!("the same");
    }
    assert_eq!(wrong, unknown);
    crate::harness::eventually("the failure is noted", async || {
        app.count("audit_logs WHERE event_type = 'security.login_failed'").await == 1
    })
    .await;
    assert_eq!(app.count("audit_logs WHERE event_type = 'user.login'").await, 2);
}

async fn a_disabled_account_cannot_sign_in_and_is_out_within_half_a_minute(app: Installation) {
    let ada = app.sign_up("ada@example.com").await;
    ada.get("/api/v1/auth/me").await.ok(200);
    app.sql("UPDATE users SET disabled_at = now()").await;
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    app.nobody().post("/api/v1/auth/login", body).await.refused(403, "ACCOUNT_DISABLED");
    app.advance(31);
    assert_eq!(ada.get("/api/v1/auth/me").await.refused(401, "UNAUTHENTICATED")["details"]["reason"], "revoked");
}

async fn a_refresh_token_works_once_and_gives_a_new_pair(app: Installation) {
    let ada = app.owner().await;
    let refresh = |token: String| {
        let nobody = app.nobody();
        async move { nobody.post("/api/v1/auth/refresh", json!({ "refresh_token": token })).await }
    };
    let second = refresh(ada.refresh_token().into()).await.ok(200);
    assert_ne!(second["refresh_token"], ada.refresh_token());
    app.with_token(second["access_token"].as_str().unwrap()).get("/api/v1/auth/me").await.ok(200);

    app.advance(20);
    let again = refresh(ada.refresh_token().into()).await.ok(200);
    assert_eq!(again, second, "two tabs that refresh at the same time get the same pair");

    app.advance(11);
    refresh(ada.refresh_token().into()).await.refused(401, "REFRESH_TOKEN_REUSED");
    let stolen = second["refresh_token"].as_str().unwrap().to_owned();
    refresh(stolen).await.refused(401, "REFRESH_TOKEN_INVALID");
    let ended = ada.get("/api/v1/auth/me").await.refused(401, "UNAUTHENTICATED");
    assert_eq!(ended["details"]["reason"], "revoked", "the whole family is out");
    assert_eq!(app.count("audit_logs WHERE event_type = 'security.session_terminated'").await, 1);
}

async fn many_tabs_that_refresh_at_once_all_get_the_same_successor(app: Installation) {
    let ada = app.owner().await;
    let nobody = app.nobody();
    let body = json!({ "refresh_token": ada.refresh_token() });
    let replies =
        futures_util::future::join_all((0..10).map(|_| nobody.post("/api/v1/auth/refresh", body.clone()))).await;
    let pairs: Vec<_> = replies.into_iter().map(|reply| reply.ok(200)).collect();
    assert!(pairs.iter().all(|pair| pair == &pairs[0]), "one successor, however many ask");
    assert_eq!(app.count("refresh_tokens").await, 2);
}

async fn refresh_tokens_end_with_time_and_with_membership(app: Installation) {
    let (ada, bob) = (app.owner().await, app.owner().await);
    let refresh = |token: &str| {
        let (nobody, body) = (app.nobody(), json!({ "refresh_token": token }));
        async move { nobody.post("/api/v1/auth/refresh", body).await }
    };
    refresh("made up").await.refused(401, "REFRESH_TOKEN_INVALID");
    let id = bob.get("/api/v1/auth/me").await.ok(200)["id"].as_str().unwrap().to_owned();
    app.sql(&format!("UPDATE organization_members SET status = 'inactive' WHERE user_id = '{id}'")).await;
    refresh(bob.refresh_token()).await.refused(401, "REFRESH_TOKEN_INVALID");
    app.advance(31);
    bob.get("/api/v1/skills").await.refused(403, "NO_ORGANIZATION");
    assert_eq!(bob.get("/api/v1/auth/me").await.ok(200)["org_id"], "00000000-0000-0000-0000-000000000000");
    app.advance(7 * 86_400);
    refresh(ada.refresh_token()).await.refused(401, "REFRESH_TOKEN_INVALID");
}

async fn an_expired_access_token_is_replaced_through_refresh(app: Installation) {
    let ada = app.owner().await;
    app.advance(1900);
    assert_eq!(ada.get("/api/v1/auth/me").await.refused(401, "UNAUTHENTICATED")["details"]["reason"], "expired");
    let body = json!({ "refresh_token": ada.refresh_token() });
    let renewed = app.nobody().post("/api/v1/auth/refresh", body).await.ok(200);
    for (member, old) in [("access_token", ada.access_token()), ("refresh_token", ada.refresh_token())] {
        assert!(renewed[member].as_str().is_some_and(|new| new != old), "a new {member}: {renewed}");
    }
}

#[tokio::test]
async fn an_access_token_expires_after_half_an_hour() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    app.advance(1799);
    ada.get("/api/v1/auth/me").await.ok(200);
    app.advance(1);
    assert_eq!(ada.get("/api/v1/auth/me").await.refused(401, "UNAUTHENTICATED")["details"]["reason"], "expired");
}

async fn logging_out_ends_the_session_at_once_and_everywhere(here: Installation) {
    let there = Installation::beside(&here, &[]).await;
    let ada = here.owner().await;
    let ada_there = there.with_token(ada.access_token());
    ada_there.get("/api/v1/auth/me").await.ok(200);

    ada.call("POST".parse().unwrap(), "/api/v1/auth/logout", None).await.ok(204);
    assert_eq!(ada.get("/api/v1/auth/me").await.refused(401, "UNAUTHENTICATED")["details"]["reason"], "revoked");
    let body = json!({ "refresh_token": ada.refresh_token() });
    here.nobody().post("/api/v1/auth/refresh", body.clone()).await.refused(401, "REFRESH_TOKEN_INVALID");
    crate::harness::eventually("the other process hears of it", async || {
        ada_there.get("/api/v1/auth/me").await.status == 401
    })
    .await;

    ada.post("/api/v1/auth/logout", json!({})).await.ok(204);
    here.nobody().post("/api/v1/auth/logout", body).await.ok(204);
    here.nobody().post("/api/v1/auth/logout", json!({})).await.refused(401, "UNAUTHENTICATED");
    assert_eq!(here.count("audit_logs WHERE event_type = 'user.logout'").await, 1);
}

async fn an_expired_access_token_is_good_enough_to_log_out(app: Installation) {
    let ada = app.owner().await;
    app.advance(3600);
    ada.post("/api/v1/auth/logout", json!({})).await.ok(204);
    assert_eq!(app.count("user_sessions WHERE revoke_reason = 'logout'").await, 1);
}

#[tokio::test]
async fn tokens_verify_with_the_published_keys() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let keys = app.nobody().get("/.well-known/jwks.json").await.ok(200);
    let jwk = serde_json::from_value(keys["keys"][0].clone()).expect("a JSON Web Key");
    let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).expect("a usable key");
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    let metadata = app.nobody().get("/.well-known/openid-configuration").await.ok(200);
    validation.set_issuer(&[metadata["issuer"].as_str().unwrap()]);
    validation.set_audience(&["kijko-backend"]);
    let token = jsonwebtoken::decode::<serde_json::Value>(ada.access_token(), &key, &validation).expect("it verifies");
    assert_eq!(token.claims["org_id"], ada.organization_id());
    assert!(keys["keys"][0].get("d").is_none(), "the private part stays private");
}

async fn a_token_survives_a_restart_and_works_on_every_process(here: Installation) {
    let ada = here.owner().await;
    let skill = ada.create_skill("Summary").await;
    let there = Installation::beside(&here, &[]).await;
    there.with_token(ada.access_token()).get(&format!("/api/v1/skills/{skill}")).await.ok(200);
}

async fn people_sign_in_with_google_and_github_and_with_nobody_else(app: Installation) {
    let providers = Providers::start().await;
    let app = providers.serve(&app).await;
    // Two people, so that each is let in without a look at the other.
    let emails = json!([{ "email": "bob@example.com", "primary": true, "verified": true }]);
    providers.github.be(GithubPerson { name: Some("Bob Byron"), emails, ..GithubPerson::default() });
    for (provider, email, first_name) in [("google", ADA, "Ada"), ("github", "bob@example.com", "Bob")] {
        let sign_in = async || returned(&Browser::new().sign_in(&start(&app, provider).await, &[]).await);
        let back = sign_in().await;
        let tokens = finish(&app, &back).await.ok(200);
        assert!(tokens["refresh_token"].is_string() && tokens["token_type"] == "Bearer", "{tokens}");
        let me = app.with_token(tokens["access_token"].as_str().unwrap()).get("/api/v1/auth/me").await.ok(200);
        assert_eq!((&me["email"], &me["first_name"]), (&json!(email), &json!(first_name)));
        assert_eq!(me["roles"], json!(["owner"]), "of an organisation of their own");
        finish(&app, &back).await.refused(400, "OAUTH_STATE_INVALID");

        let again = finish(&app, &sign_in().await).await.ok(200);
        let who = app.with_token(again["access_token"].as_str().unwrap()).get("/api/v1/auth/me").await.ok(200);
        assert_eq!((&who["id"], &who["org_id"]), (&me["id"], &me["org_id"]), "the same person comes back");
        let theirs = format!("login_history WHERE user_id = '{}' AND auth_method = 'sso'", me["id"].as_str().unwrap());
        assert_eq!(app.count(&format!("{theirs} AND status = 'success'")).await, 2);
    }
    assert_eq!(app.count("users").await, 2);
    for other in ["twitter", "facebook", "Google", "google%20"] {
        let path = format!("/api/v1/auth/oauth/{other}");
        app.nobody().get(&path).await.refused(400, "UNSUPPORTED_PROVIDER");
    }
}
