//! How long somebody stays in: refresh tokens are ours and stand for the realm's, which never leave the server.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::keycloak::Realm;
use crate::harness::{Installation, eventually};
use crate::keycloak::installation;

async fn refresh(app: &Installation, token: &Value) -> crate::harness::Reply {
    app.nobody().post("/api/v1/auth/refresh", json!({ "refresh_token": token })).await
}

/// How many sessions of this user the realm knows.
async fn sessions_at_realm(app: &Installation, email: &str) -> usize {
    let id = app.realm().find_user(email).await["id"].as_str().unwrap().to_owned();
    app.realm().admin(Method::GET, &format!("/users/{id}/sessions"), None).await.as_array().unwrap().len()
}

#[tokio::test]
async fn tabs_that_refresh_at_once_get_the_same_pair_also_where_the_realm_rotates_its_tokens() {
    let strict = Realm::with(|realm| {
        realm["revokeRefreshToken"] = json!(true);
        realm["refreshTokenMaxReuse"] = json!(0);
    });
    let Some(realm) = strict.await else { return };
    let here = Installation::with_realm(realm, &[]).await;
    let there = Installation::beside(&here, &[]).await;
    let ada = here.sign_up("ada@example.com").await;
    let token = json!(ada.refresh_token());
    let tabs = (0..10).map(|tab| refresh(if tab % 2 == 0 { &here } else { &there }, &token));
    let pairs: Vec<_> = futures_util::future::join_all(tabs).await.into_iter().map(|reply| reply.ok(200)).collect();
    assert!(pairs.iter().all(|pair| pair == &pairs[0]), "one exchange, however many ask, in whichever process");
    assert_eq!(here.count("refresh_tokens").await, 2);
    here.with_token(pairs[0]["access_token"].as_str().unwrap()).get("/api/v1/auth/me").await.ok(200);
    // And on it goes: what the realm rotated was kept.
    refresh(&there, &pairs[0]["refresh_token"]).await.ok(200);
}

#[tokio::test]
async fn a_stolen_token_that_was_rotated_ends_the_family_here_and_at_the_realm() {
    let Some(app) = installation(&[]).await else { return };
    let ada = app.sign_up("ada@example.com").await;
    let second = refresh(&app, &json!(ada.refresh_token())).await.ok(200);
    assert_eq!(sessions_at_realm(&app, "ada@example.com").await, 1);
    app.advance(31);
    refresh(&app, &json!(ada.refresh_token())).await.refused(401, "REFRESH_TOKEN_REUSED");
    refresh(&app, &second["refresh_token"]).await.refused(401, "REFRESH_TOKEN_INVALID");
    assert_eq!(ada.get("/api/v1/auth/me").await.refused(401, "UNAUTHENTICATED")["details"]["reason"], "revoked");
    eventually("the realm ends it too", async || sessions_at_realm(&app, "ada@example.com").await == 0).await;
    assert_eq!(app.count("realm_sessions WHERE sealed IS NOT NULL").await, 0, "the realm's tokens are forgotten");
}

#[tokio::test]
async fn logging_out_ends_the_session_at_the_realm_in_every_process_and_after_a_restart() {
    let Some(here) = installation(&[]).await else { return };
    let there = Installation::beside(&here, &[]).await;
    let ada = here.sign_up("ada@example.com").await;
    let ada_there = there.with_token(ada.access_token());
    ada_there.get("/api/v1/auth/me").await.ok(200);
    ada.call("POST".parse().unwrap(), "/api/v1/auth/logout", None).await.ok(204);
    assert_eq!(ada.get("/api/v1/auth/me").await.refused(401, "UNAUTHENTICATED")["details"]["reason"], "revoked");
    refresh(&here, &json!(ada.refresh_token())).await.refused(401, "REFRESH_TOKEN_INVALID");
    eventually("the other process hears of it", async || ada_there.get("/api/v1/auth/me").await.status == 401).await;
    eventually("the realm ends it too", async || sessions_at_realm(&here, "ada@example.com").await == 0).await;
    let restarted = Installation::beside(&here, &[]).await;
    restarted.with_token(ada.access_token()).get("/api/v1/auth/me").await.refused(401, "UNAUTHENTICATED");
    // Once more, as the front end may.
    ada.post("/api/v1/auth/logout", json!({})).await.ok(204);
}

#[tokio::test]
async fn a_sign_in_that_was_not_made_here_can_be_ended_here() {
    let Some(app) = installation(&[]).await else { return };
    app.realm().user("ada@example.com", json!({})).await;
    let tokens = app.realm().password_grant("ada@example.com").await;
    let ada = app.with_token(tokens["access_token"].as_str().unwrap());
    ada.get("/api/v1/auth/me").await.ok(200);
    app.advance(3600);
    ada.post("/api/v1/auth/logout", json!({})).await.ok(204);
    let restarted = Installation::beside(&app, &[]).await;
    let reply = restarted.with_token(ada.access_token()).get("/api/v1/auth/me").await;
    assert_eq!(reply.refused(401, "UNAUTHENTICATED")["details"]["reason"], "revoked");
    eventually("the realm ends it too", async || sessions_at_realm(&app, "ada@example.com").await == 0).await;
}

#[tokio::test]
async fn going_to_another_organisation_gives_a_token_of_the_realm_for_it() {
    let Some(app) = installation(&[]).await else { return };
    let (ada, eve) = (app.sign_up("ada@example.com").await, app.sign_up("eve@example.com").await);
    let (id, org_id) = (ada.get("/api/v1/auth/me").await.ok(200)["id"].clone(), eve.organization_id());
    let switch = json!({ "org_id": org_id });
    ada.post("/api/v1/auth/organizations/switch", switch.clone()).await.refused(404, "NOT_FOUND");
    app.sql(&format!(
        "INSERT INTO organization_members (organization_id, user_id, role, joined_at)
         VALUES ('{org_id}', '{}', 'viewer', now())",
        id.as_str().unwrap()
    ))
    .await;
    let tokens = ada.post("/api/v1/auth/organizations/switch", switch).await.ok(200);
    let there = app.with_token(tokens["access_token"].as_str().unwrap());
    let me = there.get("/api/v1/auth/me").await.ok(200);
    assert_eq!((&me["org_id"], &me["roles"]), (&json!(org_id), &json!(["viewer"])));
    assert_eq!(there.claims()["org_id"], org_id, "the realm says so itself");
    ada.get("/api/v1/auth/me").await.ok(200);
    refresh(&app, &tokens["refresh_token"]).await.ok(200);
}

#[tokio::test]
async fn whom_the_realm_throws_out_cannot_refresh() {
    let Some(app) = installation(&[]).await else { return };
    let ada = app.sign_up("ada@example.com").await;
    let id = app.realm().find_user("ada@example.com").await["id"].as_str().unwrap().to_owned();
    app.realm().admin(Method::POST, &format!("/users/{id}/logout"), None).await;
    refresh(&app, &json!(ada.refresh_token())).await.refused(401, "REFRESH_TOKEN_INVALID");
    assert_eq!(app.count("user_sessions WHERE revoke_reason = 'realm'").await, 1);
    assert_eq!(ada.get("/api/v1/auth/me").await.refused(401, "UNAUTHENTICATED")["details"]["reason"], "revoked");
}

#[tokio::test]
async fn the_realms_refresh_token_is_kept_sealed_and_given_to_nobody() {
    let Some(app) = installation(&[]).await else { return };
    let ada = app.sign_up("ada@example.com").await;
    assert_eq!(ada.refresh_token().len(), 43, "256 bits of ours, no token of the realm");
    let head = &ada.access_token()[..30];
    let hex: String = head.bytes().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(app.count("realm_sessions WHERE sealed IS NOT NULL").await, 1);
    assert_eq!(app.count(&format!("realm_sessions WHERE encode(sealed, 'hex') LIKE '%{hex}%'")).await, 0);
}
