//! The main way in: the browser goes to the realm's own pages and comes back with a code.

use serde_json::json;

use crate::harness::browser::{Browser, finish, returned, start};
use crate::harness::{Installation, PASSWORD};
use crate::keycloak::installation;

#[tokio::test]
async fn a_browser_signs_in_at_the_realm_and_comes_back_signed_in() {
    let Some(app) = installation(&[("KEYCLOAK_DIRECT_GRANT", "false")]).await else { return };
    app.realm().user("ada@example.com", json!({ "emailVerified": true })).await;
    let url = start(&app, "keycloak").await;
    for part in ["response_type=code", "code_challenge_method=S256", "nonce=", "state=", "scope=openid+email+profile"] {
        assert!(url.contains(part), "{part} is missing in {url}");
    }
    let login = [("username", "ada@example.com"), ("password", PASSWORD)];
    let browser = Browser::new();
    let body = returned(&browser.sign_in(&url, &login).await);
    let tokens = finish(&app, &body).await.ok(200);
    let ada = app.with_token(tokens["access_token"].as_str().unwrap());
    let me = ada.get("/api/v1/auth/me").await.ok(200);
    assert_eq!((&me["email"], &me["roles"]), (&json!("ada@example.com"), &json!(["owner"])));
    assert_eq!(ada.claims()["org_id"], me["org_id"], "the first token already names the organisation");
    assert_eq!(app.count("user_sessions WHERE auth_method = 'sso'").await, 1);
    finish(&app, &body).await.refused(400, "OAUTH_STATE_INVALID");

    // The realm knows the browser and asks nothing; it is the same session, until that is ended.
    let again = returned(&browser.sign_in(&start(&app, "keycloak").await, &[]).await);
    let second = finish(&app, &again).await.ok(200);
    assert_eq!(app.count("user_sessions").await, 1);
    app.with_token(second["access_token"].as_str().unwrap()).post("/api/v1/auth/logout", json!({})).await.ok(204);
    ada.get("/api/v1/auth/me").await.refused(401, "UNAUTHENTICATED");
    let refresh = json!({ "refresh_token": tokens["refresh_token"] });
    app.nobody().post("/api/v1/auth/refresh", refresh).await.refused(401, "REFRESH_TOKEN_INVALID");
    // Logged out means logged out at the realm: the browser is asked again.
    let third = returned(&browser.sign_in(&start(&app, "keycloak").await, &login).await);
    finish(&app, &third).await.ok(200);
    assert_eq!(app.count("user_sessions").await, 2);
}

#[tokio::test]
async fn a_code_is_good_once_for_whoever_began_and_where_they_began() {
    let Some(app) = installation(&[]).await else { return };
    app.realm().user("ada@example.com", json!({})).await;
    let login = [("username", "ada@example.com"), ("password", PASSWORD)];
    let sign_in = async || returned(&Browser::new().sign_in(&start(&app, "keycloak").await, &login).await);

    let mut elsewhere = sign_in().await;
    elsewhere["redirect_uri"] = json!("https://app.kijko.nl/auth/callback");
    finish(&app, &elsewhere).await.refused(400, "OAUTH_STATE_INVALID");

    let mut invented = sign_in().await;
    invented["state"] = json!("invented");
    finish(&app, &invented).await.refused(400, "OAUTH_STATE_INVALID");

    let mut no_code = sign_in().await;
    no_code["code"] = json!("invented");
    finish(&app, &no_code).await.refused(401, "OAUTH_CODE_INVALID");

    // Somebody else's code under one's own state: PKCE and the nonce tell.
    let (mut mine, theirs) = (sign_in().await, sign_in().await);
    mine["code"] = theirs["code"].clone();
    finish(&app, &mine).await.refused(401, "OAUTH_CODE_INVALID");

    let late = sign_in().await;
    app.advance(601);
    finish(&app, &late).await.refused(400, "OAUTH_STATE_INVALID");
}

#[tokio::test]
async fn google_and_github_are_asked_through_the_realm_and_nobody_else_is() {
    let Some(app) = installation(&[]).await else { return };
    for provider in ["google", "github"] {
        let url = start(&app, provider).await;
        assert!(url.starts_with(&app.realm().gate().url), "{url}");
        assert!(url.contains(&format!("kc_idp_hint={provider}")), "{url}");
    }
    let nobody = app.nobody();
    nobody.get("/api/v1/auth/oauth/twitter").await.refused(400, "UNSUPPORTED_PROVIDER");
    let evil = "/api/v1/auth/oauth/keycloak?redirect_uri=https%3A%2F%2Fevil.example.com%2Fauth%2Fcallback";
    nobody.get(evil).await.refused(400, "REDIRECT_NOT_ALLOWED");
    let built_in = Installation::new().await;
    built_in.nobody().get("/api/v1/auth/oauth/keycloak").await.refused(400, "UNSUPPORTED_PROVIDER");
}

#[tokio::test]
async fn people_register_at_the_realm_and_are_let_in() {
    let Some(app) = installation(&[("KEYCLOAK_DIRECT_GRANT", "false")]).await else { return };
    let browser = Browser::new();
    let register = browser.link(&start(&app, "keycloak").await, "registration").await;
    let form = [
        ("email", "ada@example.com"),
        ("firstName", "Ada"),
        ("lastName", "Lovelace"),
        ("password", PASSWORD),
        ("password-confirm", PASSWORD),
    ];
    let tokens = finish(&app, &returned(&browser.sign_in(&register, &form).await)).await.ok(200);
    let me = app.with_token(tokens["access_token"].as_str().unwrap()).get("/api/v1/auth/me").await.ok(200);
    assert_eq!((&me["first_name"], &me["email_verified"]), (&json!("Ada"), &json!(false)));
}
