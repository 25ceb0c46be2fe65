//! A link that was mailed is good for one thing, once, for a while, and for nobody whose address it did not go to.

use serde_json::json;

use crate::harness::{Installation, Reply};

const ADA: &str = "ada@example.com";

async fn verify(app: &Installation, token: &str) -> Reply {
    app.nobody().post("/api/v1/auth/email/verify", json!({ "token": token })).await
}

#[tokio::test]
async fn an_address_is_confirmed_by_the_link_that_was_mailed_to_it() {
    let app = Installation::new().await;
    let ada = app.sign_up(ADA).await;
    assert_eq!(ada.get("/api/v1/auth/me").await.ok(200)["email_verified"], false);
    let token = app.mailed_token(ADA).await;
    verify(&app, &token).await.ok(204);
    assert_eq!(ada.get("/api/v1/auth/me").await.ok(200)["email_verified"], true, "at once");
    assert_eq!(app.signed_in_again(&ada).await.claims()["email_verified"], true);
    assert_eq!(app.count("audit_logs WHERE event_type = 'user.profile_updated'").await, 1);
    verify(&app, &token).await.refused(401, "LINK_INVALID");
}

#[tokio::test]
async fn a_confirmation_lives_a_day() {
    let app = Installation::new().await;
    app.sign_up(ADA).await;
    let token = app.mailed_token(ADA).await;
    app.advance(24 * 3600);
    verify(&app, &token).await.refused(401, "LINK_INVALID");
    for nonsense in ["", "made up", &token[1..], &"x".repeat(10_000)] {
        verify(&app, nonsense).await.refused(401, "LINK_INVALID");
    }
    assert_eq!(app.count("users WHERE email_verified_at IS NOT NULL").await, 0);
}

#[tokio::test]
async fn of_many_who_use_a_link_at_once_one_wins() {
    let app = Installation::new().await;
    app.sign_up(ADA).await;
    let token = app.mailed_token(ADA).await;
    let replies = futures_util::future::join_all((0..10).map(|_| verify(&app, &token))).await;
    let mut statuses: Vec<u16> = replies.iter().map(|reply| reply.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 401, 401, 401, 401, 401, 401, 401, 401, 401]);
}
