//! Who is let in: users of the realm, as whom, where, and with which role.

use reqwest::Method;
use serde_json::json;

use crate::harness::browser::Browser;
use crate::harness::keycloak::Realm;
use crate::harness::{Installation, PASSWORD, eventually};
use crate::keycloak::installation;

#[tokio::test]
async fn who_signs_up_is_known_to_both_and_has_an_organisation() {
    let Some(app) = installation(&[]).await else { return };
    let ada = app.sign_up("ada@example.com").await;
    let me = ada.get("/api/v1/auth/me").await.ok(200);
    assert_eq!((&me["email"], &me["roles"]), (&json!("ada@example.com"), &json!(["owner"])));
    assert_eq!(ada.claims()["org_id"], me["org_id"], "the first token already names the organisation");
    let user = app.realm().find_user("ada@example.com").await;
    assert_eq!(user["attributes"]["org_id"][0], me["org_id"], "the realm was told");
    assert_eq!(app.count(&format!("users WHERE keycloak_sub = '{}'", user["id"].as_str().unwrap())).await, 1);
    assert_eq!(app.count("users WHERE password_hash IS NOT NULL").await, 0, "Kijko keeps no password");
}

#[tokio::test]
async fn who_is_first_seen_by_their_token_is_let_in_with_an_organisation_of_their_own() {
    let Some(app) = installation(&[]).await else { return };
    let subject = app.realm().user("ada@example.com", json!({ "emailVerified": true })).await;
    let tokens = app.realm().password_grant("ada@example.com").await;
    let ada = app.with_token(tokens["access_token"].as_str().unwrap());
    let replies = futures_util::future::join_all((0..8).map(|_| ada.get("/api/v1/auth/me"))).await;
    let seen: Vec<_> = replies.into_iter().map(|reply| reply.ok(200)).collect();
    assert!(seen.iter().all(|me| me == &seen[0]), "eight first requests make one user: {seen:?}");
    assert_eq!(
        app.count(&format!("users WHERE keycloak_sub = '{subject}' AND email_verified_at IS NOT NULL")).await,
        1
    );
    assert_eq!(app.count("organizations").await, 1);
    eventually("the realm is told of the organisation", async || {
        app.realm().find_user("ada@example.com").await["attributes"]["org_id"][0] == seen[0]["org_id"]
    })
    .await;
    ada.create_skill("Summary").await;
}

#[tokio::test]
async fn accounts_are_linked_by_an_address_that_is_proven_on_both_sides_and_by_no_other() {
    let Some(app) = installation(&[]).await else { return };
    let local = |email: &str, verified: &str| {
        let id = uuid::Uuid::new_v4();
        let sql = format!(
            "INSERT INTO users (id, email, email_verified_at, first_name, last_name, created_at, updated_at)
             VALUES ('{id}', '{email}', {verified}, 'Old', 'Account', now(), now())"
        );
        let app = &app;
        async move {
            app.sql(&sql).await;
            id.to_string()
        }
    };
    let (realm_proven, realm_not) = (json!({ "emailVerified": true }), json!({ "emailVerified": false }));
    let table = [
        ("both@example.com", "now()", &realm_proven, true),
        ("only-here@example.com", "now()", &realm_not, false),
        ("only-there@example.com", "NULL", &realm_proven, false),
        ("neither@example.com", "NULL", &realm_not, false),
    ];
    for (email, verified, at_realm, linked) in table {
        let id = local(email, verified).await;
        app.realm().user(email, at_realm.clone()).await;
        let tokens = app.realm().password_grant(email).await;
        let reply = app.with_token(tokens["access_token"].as_str().unwrap()).get("/api/v1/auth/me").await;
        if linked {
            assert_eq!(reply.ok(200)["id"], id, "{email}");
        } else {
            reply.refused(409, "ACCOUNT_LINK_REQUIRED");
            let body = json!({ "email": email, "password": PASSWORD });
            app.nobody().post("/api/v1/auth/login", body).await.refused(409, "ACCOUNT_LINK_REQUIRED");
        }
    }
    assert_eq!(app.count("users WHERE keycloak_sub IS NOT NULL").await, 1);
}

#[tokio::test]
async fn the_membership_decides_the_role_and_the_realm_only_who_is_staff() {
    let Some(app) = installation(&[]).await else { return };
    let ada = app.sign_up("ada@example.com").await;
    let subject = app.realm().find_user("ada@example.com").await["id"].as_str().unwrap().to_owned();
    let role = app.realm().admin(Method::GET, "/roles/admin", None).await;
    app.realm().admin(Method::POST, &format!("/users/{subject}/role-mappings/realm"), Some(json!([role]))).await;
    app.sql("UPDATE organization_members SET role = 'viewer'").await;
    let again = app.signed_in_again(&ada).await;
    let me = again.get("/api/v1/auth/me").await.ok(200);
    assert_eq!(me["roles"], json!(["viewer", "platform_admin"]));
    again.post("/api/v1/skills", crate::harness::skill("No")).await.refused(403, "FORBIDDEN");
}

#[tokio::test]
async fn a_token_for_an_organisation_that_its_holder_is_not_in_opens_nothing() {
    let Some(app) = installation(&[]).await else { return };
    let (ada, eve) = (app.sign_up("ada@example.com").await, app.sign_up("eve@example.com").await);
    for org_id in [ada.organization_id().as_str(), "11111111-1111-4111-8111-111111111111"] {
        let mut user = app.realm().find_user("eve@example.com").await;
        user["attributes"]["org_id"] = json!([org_id]);
        let path = format!("/users/{}", user["id"].as_str().unwrap());
        app.realm().admin(Method::PUT, &path, Some(user)).await;
        let tokens = app.realm().password_grant("eve@example.com").await;
        let crossed = app.with_token(tokens["access_token"].as_str().unwrap());
        crossed.get("/api/v1/skills").await.refused(403, "NO_ORGANIZATION");
        assert_eq!(crossed.get("/api/v1/auth/me").await.ok(200)["org_id"], "00000000-0000-0000-0000-000000000000");
    }
    // Who signs in here gets a token for where they do belong.
    let body = json!({ "email": "eve@example.com", "password": PASSWORD });
    let tokens = app.nobody().post("/api/v1/auth/login", body).await.ok(200);
    let home = app.with_token(tokens["access_token"].as_str().unwrap());
    assert_eq!(home.get("/api/v1/auth/me").await.ok(200)["org_id"], eve.organization_id());
}

#[tokio::test]
async fn tokens_of_another_realm_client_or_kind_are_refused_with_the_reason() {
    let Some(app) = installation(&[]).await else { return };
    let other = Installation::with_realm(Realm::beside(app.realm()).await, &[]).await;
    let foreign = other.sign_up("ada@example.com").await;
    let ada = app.sign_up("ada@example.com").await;
    let client = json!({
        "clientId": "another", "enabled": true, "publicClient": true, "directAccessGrantsEnabled": true,
        "redirectUris": [],
    });
    app.realm().admin(Method::POST, "/clients", Some(client)).await;
    let password = [("grant_type", "password"), ("username", "ada@example.com"), ("password", PASSWORD)];
    let mut of_another = password.to_vec();
    of_another.extend([("client_id", "another"), ("client_secret", "")]);
    let of_another = app.realm().tokens(&of_another).await;
    let own = app.realm().tokens(&password).await;
    let service = app.realm().tokens(&[("grant_type", "client_credentials")]).await;
    let token = |reply: &serde_json::Value, member: &str| reply[member].as_str().unwrap().to_owned();
    let table = [
        ("another realm", foreign.access_token().to_owned(), "invalid"),
        ("another client", token(&of_another, "access_token"), "invalid"),
        ("an ID token", token(&own, "id_token"), "invalid"),
        ("a refresh token of the realm", token(&own, "refresh_token"), "invalid"),
        ("a service account", token(&service, "access_token"), "invalid"),
        ("our own refresh token", ada.refresh_token().to_owned(), "malformed"),
    ];
    for (what, token, reason) in table {
        let reply = app.with_token(&token).get("/api/v1/auth/me").await;
        let text = reply.text.clone();
        assert_eq!(reply.refused(401, "UNAUTHENTICATED")["details"]["reason"], reason, "{what}: {text}");
    }
    app.with_token(&token(&own, "access_token")).get("/api/v1/auth/me").await.ok(200);
}

#[tokio::test]
async fn an_expired_token_is_refused_after_half_a_minute_of_grace() {
    let Some(app) = installation(&[]).await else { return };
    let ada = app.sign_up("ada@example.com").await;
    app.advance(300);
    ada.get("/api/v1/auth/me").await.ok(200);
    app.advance(31);
    assert_eq!(ada.get("/api/v1/auth/me").await.refused(401, "UNAUTHENTICATED")["details"]["reason"], "expired");
}

#[tokio::test]
async fn passwords_are_refused_where_the_direct_grant_is_off() {
    let Some(app) = installation(&[("KEYCLOAK_DIRECT_GRANT", "false")]).await else { return };
    let body = json!({ "email": "ada@example.com", "password": PASSWORD, "first_name": "Ada", "last_name": "L" });
    app.nobody().post("/api/v1/auth/signup", body.clone()).await.refused(403, "AUTH_METHOD_DISABLED");
    app.nobody().post("/api/v1/auth/login", body).await.refused(403, "AUTH_METHOD_DISABLED");
    assert_eq!(app.realm().find_user("ada@example.com").await, json!(null), "nothing was made");
}

/// Passwords and addresses are the realm's, whose own pages reset and confirm them.
#[tokio::test]
async fn no_links_are_mailed_and_none_is_taken_where_the_realm_has_its_own() {
    let Some(app) = installation(&[]).await else { return };
    app.sign_up("ada@example.com").await;
    for address in ["ada@example.com", "nobody@example.com"] {
        for path in ["password/forgot", "magic-link"] {
            let reply = app.nobody().post(&format!("/api/v1/auth/{path}"), json!({ "email": address })).await;
            reply.refused(403, "AUTH_METHOD_DISABLED");
        }
    }
    let token = "x".repeat(43);
    for (path, body) in [
        ("password/reset", json!({ "token": token, "new_password": "A new passw0rd" })),
        ("magic-link/verify", json!({ "token": token })),
        ("email/verify", json!({ "token": token })),
    ] {
        let reply = app.nobody().post(&format!("/api/v1/auth/{path}"), body).await;
        reply.refused(403, "AUTH_METHOD_DISABLED");
    }
    assert_eq!((app.count("auth_tickets").await, app.count("mail_outbox").await), (0, 0));
}

#[tokio::test]
async fn the_server_says_which_mode_it_is_in_and_publishes_no_keys_of_its_own() {
    let Some(app) = installation(&[]).await else { return };
    let nobody = app.nobody();
    nobody.get("/.well-known/jwks.json").await.refused(404, "NOT_FOUND");
    nobody.get("/.well-known/openid-configuration").await.refused(404, "NOT_FOUND");
    assert_eq!(nobody.get("/info").await.ok(200)["auth_mode"], "keycloak");
    let checks = nobody.get("/health/ready").await.ok(200)["checks"].clone();
    assert_eq!(checks["auth"], json!({ "status": "healthy", "mode": "keycloak" }));
    assert_eq!(checks["keycloak"]["status"], "healthy");
    let built_in = Installation::new().await;
    let checks = built_in.nobody().get("/health/ready").await.ok(200)["checks"].clone();
    assert_eq!((&checks["auth"]["mode"], &checks["keycloak"]["status"]), (&json!("builtin"), &json!("disabled")));
}

#[tokio::test]
async fn a_user_cannot_choose_their_own_organisation_at_the_realm() {
    let Some(realm) = Realm::new().await else { return };
    let profile = realm.admin(Method::GET, "/users/profile", None).await;
    let attribute = profile["attributes"].as_array().unwrap().iter().find(|a| a["name"] == "org_id").unwrap();
    assert_eq!(attribute["permissions"], json!({ "view": ["admin"], "edit": ["admin"] }));
}

#[tokio::test]
async fn the_realm_gives_no_code_without_pkce_and_none_to_an_address_that_is_not_on_its_list() {
    let Some(realm) = Realm::new().await else { return };
    let start = |redirect: &str, more: &str| {
        let base = format!("{}/realms/{}/protocol/openid-connect/auth", realm.gate().url, realm.name);
        format!("{base}?client_id=kijko-backend&response_type=code&scope=openid&state=s&redirect_uri={redirect}{more}")
    };
    let allowed = "http%3A%2F%2Flocalhost%3A3000%2Fauth%2Fcallback";
    let back = Browser::new().sign_in(&start(allowed, ""), &[]).await;
    assert!(back.contains("error=invalid_request") && !back.contains("code="), "{back}");
    let plain = "&code_challenge_method=plain&code_challenge=0123456789012345678901234567890123456789012";
    let back = Browser::new().sign_in(&start(allowed, plain), &[]).await;
    assert!(back.contains("error=invalid_request"), "only S256: {back}");
    let evil = start(
        "https%3A%2F%2Fevil.example.com%2F",
        "&code_challenge_method=S256&code_challenge=0123456789012345678901234567890123456789012",
    );
    let page = reqwest::get(evil).await.expect("Keycloak answers");
    assert_eq!(page.status(), 400, "an address that is not on the list is told nothing");
}
