//! A mail is sent once the change that it tells of is committed, whatever the mail server does meanwhile: it waits while
//! the server is away, goes once, and is given up when nobody will ever take it. The server is aiosmtpd.

use serde_json::json;

use crate::harness::peers::Catcher;
use crate::harness::{Installation, PASSWORD, token_in};

const ADA: &str = "ada@example.com";

async fn installation(port: u16, more: &[(&str, &str)]) -> Installation {
    let url = format!("smtp://127.0.0.1:{port}");
    let from = "Kijko <no-reply@kijko.example>";
    let mut settings =
        vec![("MAIL_PROVIDER", "smtp"), ("SMTP_URL", &*url), ("MAIL_FROM", from), ("SMTP_TIMEOUT_SECS", "1")];
    settings.extend_from_slice(more);
    Installation::with(&settings).await
}

/// As if the time until the next attempt had passed.
async fn try_again(app: &Installation) {
    app.sql("UPDATE graphile_worker._private_jobs SET run_at = now()").await;
    app.run_jobs().await;
}

async fn waiting(app: &Installation) -> i64 {
    app.count("mail_outbox WHERE dead_at IS NULL").await
}

#[tokio::test]
async fn a_mail_arrives_as_plain_text_with_its_sender_subject_and_link() {
    let mut catcher = Catcher::start().await;
    let app = installation(catcher.port, &[("APP_URL", "https://app.kijko.example/")]).await;
    app.sign_up(ADA).await;
    assert_eq!(waiting(&app).await, 1, "nothing is sent in the request");
    app.run_jobs().await;
    let mail = catcher.mail().await;
    assert_eq!((&mail["to"], &mail["headers"]["to"]), (&json!([ADA]), &json!(ADA)));
    assert_eq!(mail["headers"]["from"], "Kijko <no-reply@kijko.example>");
    assert_eq!(mail["headers"]["subject"], "Confirm your e-mail address");
    assert_eq!(mail["headers"]["content-type"], "text/plain; charset=\"utf-8\"");
    let text = mail["text"].as_str().unwrap();
    assert!(text.contains("\nhttps://app.kijko.example/auth/verify-email?token="), "{text}");
    app.nobody().post("/api/v1/auth/email/verify", json!({ "token": token_in(text) })).await.ok(204);
    assert_eq!(app.count("mail_outbox").await, 0, "what was sent is not kept");
    catcher.has_no_more().await;
}

#[tokio::test]
async fn a_mail_waits_while_the_server_is_away_busy_or_silent_and_then_goes_once() {
    let mut catcher = Catcher::start().await;
    let port = catcher.port;
    drop(catcher);
    let app = installation(port, &[]).await;
    app.sign_up(ADA).await;
    app.run_jobs().await;
    assert_eq!(waiting(&app).await, 1, "the server is away");

    catcher = Catcher::start_on(port).await;
    for mode in ["busy", "hang"] {
        catcher.behave(mode).await;
        let started = std::time::Instant::now();
        try_again(&app).await;
        assert!(started.elapsed().as_secs() < 5, "{mode}: nobody waits longer than SMTP_TIMEOUT_SECS");
        assert_eq!(waiting(&app).await, 1, "{mode}");
    }
    assert_eq!(app.count("mail_outbox WHERE attempts = 3").await, 1);
    let kept = "graphile_worker._private_jobs WHERE last_error LIKE '%ada%' OR payload::text LIKE '%ada%'";
    assert_eq!(app.count(kept).await, 0, "what the server says of the recipient is not kept");

    catcher.behave("accept").await;
    try_again(&app).await;
    assert_eq!(catcher.mail().await["to"], json!([ADA]));
    try_again(&app).await;
    assert_eq!((waiting(&app).await, app.count("graphile_worker._private_jobs").await), (0, 0));
    catcher.has_no_more().await;
}

/// Nobody can do better than at least once; so that a receiver can tell, the second has the id of the first.
#[tokio::test]
async fn a_mail_whose_fate_is_unknown_goes_again_under_the_same_id() {
    let mut catcher = Catcher::start().await;
    let app = installation(catcher.port, &[]).await;
    catcher.behave("mute").await;
    app.sign_up(ADA).await;
    app.run_jobs().await;
    let first = catcher.mail().await;
    catcher.behave("accept").await;
    try_again(&app).await;
    let second = catcher.mail().await;
    assert_eq!(first["headers"]["message-id"], second["headers"]["message-id"]);
    assert_eq!(first["text"], second["text"]);
    assert_eq!(waiting(&app).await, 0);
    catcher.has_no_more().await;
}

#[tokio::test]
async fn a_mail_that_nobody_will_ever_take_is_given_up_and_its_content_forgotten() {
    let mut catcher = Catcher::start().await;
    let app = installation(catcher.port, &[]).await;
    catcher.behave("reject").await;
    app.sign_up(ADA).await;
    app.run_jobs().await;
    assert_eq!(app.count("mail_outbox WHERE dead_at IS NOT NULL AND sealed IS NULL AND attempts = 1").await, 1);
    assert_eq!(app.count("graphile_worker._private_jobs").await, 0);

    catcher.behave("busy").await;
    app.sign_up("bob@example.com").await;
    for _ in 0..9 {
        try_again(&app).await;
    }
    assert_eq!(app.count("mail_outbox WHERE dead_at IS NULL AND attempts = 9").await, 1);
    try_again(&app).await;
    assert_eq!(app.count("mail_outbox WHERE dead_at IS NOT NULL AND attempts = 10").await, 1);
    assert_eq!(app.count("graphile_worker._private_jobs").await, 0);
    catcher.has_no_more().await;
}

#[tokio::test]
async fn a_mail_whose_link_has_expired_is_not_sent_any_more() {
    let mut catcher = Catcher::start().await;
    let app = installation(catcher.port, &[]).await;
    catcher.behave("busy").await;
    app.sign_up(ADA).await;
    app.nobody().post("/api/v1/auth/magic-link", json!({ "email": ADA })).await.ok(202);
    app.run_jobs().await;
    try_again(&app).await;
    assert_eq!(waiting(&app).await, 2, "the one that confirms the address, and the one that signs in");
    catcher.behave("accept").await;
    app.advance(16 * 60);
    try_again(&app).await;
    let sent = catcher.mail().await;
    assert_eq!(sent["headers"]["subject"], "Confirm your e-mail address", "that link lives for a day");
    assert_eq!((waiting(&app).await, app.count("mail_outbox").await), (0, 0), "the other one is forgotten");
    catcher.has_no_more().await;
}

#[tokio::test]
async fn a_change_that_fails_sends_no_mail() {
    let app = Installation::new().await;
    app.sign_up(ADA).await;
    let body = json!({ "email": ADA, "password": PASSWORD, "first_name": "Ada", "last_name": "Again" });
    app.nobody().post("/api/v1/auth/signup", body).await.refused(409, "EMAIL_TAKEN");
    assert_eq!(app.mails_to(ADA).await.len(), 1);
}

#[tokio::test]
async fn a_mail_goes_with_the_credentials_of_the_url_and_never_in_clear_when_told_so() {
    let mut catcher = Catcher::start().await;
    let url = format!("smtp://post:letters@127.0.0.1:{}", catcher.port);
    let app = installation(catcher.port, &[("SMTP_URL", &url)]).await;
    app.sign_up(ADA).await;
    app.run_jobs().await;
    assert_eq!(catcher.mail().await["user"], "post");

    // This server has no STARTTLS, so there is nobody to give the mail to.
    let app = installation(catcher.port, &[("SMTP_URL", &format!("{url}?tls=required"))]).await;
    app.sign_up(ADA).await;
    app.run_jobs().await;
    assert_eq!(waiting(&app).await, 1);
    catcher.has_no_more().await;
}

#[tokio::test]
async fn nobody_who_reads_the_database_finds_a_link() {
    let mut app = Installation::new().await;
    app.leave_jobs();
    app.sign_up(ADA).await;
    let found = "mail_outbox WHERE encode(sealed, 'escape') LIKE '%token=%' OR encode(sealed, 'escape') LIKE '%ada%'";
    assert_eq!(app.count(found).await, 0);
    let token = app.mailed_token(ADA).await;
    let in_clear = format!("auth_tickets t WHERE t::text LIKE '%{token}%' OR encode(sealed, 'escape') LIKE '%ada%'");
    assert_eq!((app.count("auth_tickets").await, app.count(&in_clear).await), (1, 0));
}
