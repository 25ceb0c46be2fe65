//! Handing an organisation over asks once more who one is: the realm, by the password or by a sign-in of just now.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::browser::{Browser, finish, returned, start};
use crate::harness::{Installation, PASSWORD, Person, eventually};
use crate::keycloak::installation;

const TRANSFER: &str = "/api/v1/team/transfer-ownership";

/// Adds a member to the organisation of the owner; gives what asks to hand it over to them.
async fn heir(app: &Installation, owner: &Person, password: &str) -> Value {
    let id = uuid::Uuid::new_v4();
    let organization = owner.claims()["org_id"].as_str().unwrap().to_owned();
    app.sql(&format!(
        "INSERT INTO users (id, email, first_name, last_name, created_at, updated_at)
         VALUES ('{id}', 'heir-{id}@example.com', 'An', 'Heir', now(), now())"
    ))
    .await;
    app.sql(&format!(
        "INSERT INTO organization_members (organization_id, user_id, role, joined_at)
         VALUES ('{organization}', '{id}', 'admin', now())"
    ))
    .await;
    app.sql(&format!("UPDATE organizations SET plan = 'teams' WHERE id = '{organization}'")).await;
    let members = owner.get("/api/v1/team/members").await.ok(200);
    let heir = members.as_array().unwrap().iter().find(|member| member["userId"] == id.to_string()).unwrap();
    json!({ "memberId": heir["id"], "password": password })
}

#[tokio::test]
async fn where_passwords_go_through_kijko_the_realm_is_asked_about_it() {
    let Some(app) = installation(&[]).await else { return };
    let owner = app.sign_up("ada@example.com").await;
    let right = heir(&app, &owner, PASSWORD).await;
    let mut wrong = right.clone();
    wrong["password"] = json!("wrong password");
    owner.post(TRANSFER, wrong.clone()).await.refused(403, "REAUTHENTICATION_FAILED");
    assert_eq!(app.count("login_locks WHERE failures = 1").await, 1, "guessing locks the account");
    owner.post(TRANSFER, right).await.ok(200);
    assert_eq!(owner.get("/api/v1/auth/me").await.ok(200)["roles"], json!(["admin"]));
    let user = app.realm().find_user("ada@example.com").await["id"].as_str().unwrap().to_owned();
    eventually("the realm keeps no session for the question", async || {
        let sessions = app.realm().admin(Method::GET, &format!("/users/{user}/sessions"), None).await;
        sessions.as_array().unwrap().len() == 1
    })
    .await;
}

#[tokio::test]
async fn where_the_realm_alone_sees_passwords_a_sign_in_of_the_last_five_minutes_counts() {
    let Some(app) = installation(&[("KEYCLOAK_DIRECT_GRANT", "false")]).await else { return };
    app.realm().user("ada@example.com", json!({ "emailVerified": true })).await;
    let browser = Browser::new();
    let login = [("username", "ada@example.com"), ("password", PASSWORD)];
    let sign_in = async |fields: &[(&str, &str)]| {
        let back = returned(&browser.sign_in(&start(&app, "keycloak").await, fields).await);
        app.with_token(finish(&app, &back).await.ok(200)["access_token"].as_str().unwrap())
    };
    let owner = sign_in(&login).await;
    let transfer = heir(&app, &owner, "whatever the form sends").await;

    // The token is still good for half a minute; the sign-in is too old, and a browser that the realm still knows is
    // let in without being asked, which proves nothing.
    app.advance(302);
    owner.post(TRANSFER, transfer.clone()).await.refused(403, "REAUTHENTICATION_FAILED");
    assert_eq!(app.count("login_locks").await, 0, "nobody guessed anything");
    owner.post("/api/v1/auth/logout", json!({})).await.ok(204);
    app.advance(-302);
    let again = sign_in(&login).await;
    again.post(TRANSFER, transfer).await.ok(200);
    assert_eq!(again.get("/api/v1/auth/me").await.ok(200)["roles"], json!(["admin"]));
}

/// A token that was fetched past Kijko: it opens nothing that asks for a proof.
#[tokio::test]
async fn a_sign_in_that_was_not_made_here_proves_nothing() {
    let Some(app) = installation(&[("KEYCLOAK_DIRECT_GRANT", "false")]).await else { return };
    app.realm().user("ada@example.com", json!({ "emailVerified": true })).await;
    let first = app.realm().password_grant("ada@example.com").await;
    let seen = app.with_token(first["access_token"].as_str().unwrap());
    seen.get("/api/v1/auth/me").await.ok(200);
    let organization = seen.get("/api/v1/auth/me").await.ok(200)["org_id"].clone();
    eventually("the realm is told of the organisation", async || {
        app.realm().find_user("ada@example.com").await["attributes"]["org_id"][0] == organization
    })
    .await;
    let tokens = app.realm().password_grant("ada@example.com").await;
    let owner = app.with_token(tokens["access_token"].as_str().unwrap());
    let transfer = heir(&app, &owner, PASSWORD).await;
    owner.post(TRANSFER, transfer).await.refused(403, "REAUTHENTICATION_FAILED");
}
