//! What is counted, and what the replies say of it.

use serde_json::json;

use super::{crowd, limited, refused_by, sign_in, standing};
use crate::harness::Installation;

#[tokio::test]
async fn the_sixth_sign_in_of_a_minute_from_one_address_is_refused() {
    let app = limited().await;
    let nobody = app.nobody();
    for left in ["4", "3", "2", "1", "0"] {
        let reply = sign_in(&nobody).await;
        assert_eq!((reply.status.as_u16(), standing(&reply)), (401, ("5", left)));
        app.advance(1);
    }
    assert_eq!(refused_by(sign_in(&nobody).await, 5, 60), 55);
    sign_in(&nobody.at("192.0.2.2")).await.refused(401, "INVALID_CREDENTIALS");
    nobody.get("/").await.ok(200);
    app.advance(55);
    sign_in(&nobody).await.refused(401, "INVALID_CREDENTIALS");
}

#[tokio::test]
async fn the_window_slides_and_what_is_refused_is_not_counted() {
    let app = limited().await;
    let nobody = app.nobody();
    for _ in 0..5 {
        sign_in(&nobody).await.refused(401, "INVALID_CREDENTIALS");
        app.advance(10);
    }
    for _ in 0..50 {
        assert_eq!(refused_by(sign_in(&nobody).await, 5, 60), 10, "trying again and again changes nothing");
    }
    app.advance(10);
    sign_in(&nobody).await.refused(401, "INVALID_CREDENTIALS");
    assert_eq!(refused_by(sign_in(&nobody).await, 5, 60), 10, "one has left, and one came in its place");
}

#[tokio::test]
async fn the_reset_is_the_moment_when_the_next_request_is_free() {
    let app = limited().await;
    let nobody = app.nobody();
    let reset = |reply: &crate::harness::Reply| reply.header("x-ratelimit-reset").unwrap().parse::<i64>().unwrap();
    let first = nobody.get("/").await;
    assert_eq!(standing(&first), ("60", "59"), "the minute has the least room");
    app.advance(20);
    let second = nobody.get("/").await;
    assert_eq!((standing(&second), reset(&second)), (("60", "58"), reset(&first)));
    app.advance(40);
    let third = nobody.get("/").await;
    assert_eq!((standing(&third), reset(&third)), (("60", "58"), reset(&first) + 20), "the first has left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_at_once_get_exactly_what_the_limit_says() {
    let app = limited().await;
    let attempts = (0..200).map(|_| {
        let nobody = app.nobody();
        async move { sign_in(&nobody).await }
    });
    assert_eq!(crowd(attempts).await, [(401, 5), (429, 195)]);
    let requests = (0..200).map(|_| {
        let nobody = app.nobody();
        async move { nobody.get("/").await }
    });
    assert_eq!(crowd(requests).await, [(200, 60), (429, 140)]);
    let ada = app.owner().await;
    let requests = (0..200).map(|_| {
        let ada = ada.clone();
        async move { ada.get("/api/v1/skills").await }
    });
    assert_eq!(crowd(requests).await, [(200, 60), (429, 140)]);
}

#[tokio::test]
async fn probes_and_the_question_who_i_am_are_never_limited() {
    let app = limited().await;
    let ada = app.owner().await;
    for _ in 0..150 {
        for path in ["/health", "/healthz", "/healthz/redis", "/healthz/vault", "/info"] {
            let reply = app.nobody().get(path).await;
            assert_eq!((reply.status.as_u16(), standing(&reply)), (200, ("absent", "absent")), "{path}");
        }
        let me = ada.get("/api/v1/auth/me").await;
        assert_eq!((me.status.as_u16(), standing(&me)), (200, ("absent", "absent")));
        app.with_token("junk").get("/api/v1/auth/me").await.refused(401, "UNAUTHENTICATED");
    }
}

#[tokio::test]
async fn anonymous_requests_share_one_limit_also_where_nothing_is() {
    let app = limited().await;
    let nobody = app.nobody();
    for _ in 0..12 {
        nobody.get("/.well-known/jwks.json").await.ok(200);
        nobody.get("/openapi.json").await.ok(200);
        nobody.get("/nothing/here").await.refused(404, "NOT_FOUND");
        nobody.get("/api/v1/skills").await.refused(401, "UNAUTHENTICATED");
        nobody.put("/api/v1/auth/login", json!({})).await.refused(401, "UNAUTHENTICATED");
    }
    for path in ["/", "/openapi.json", "/docs/", "/nothing/here", "/api/v1/skills"] {
        refused_by(nobody.get(path).await, 60, 60);
    }
    sign_in(&nobody).await.refused(401, "INVALID_CREDENTIALS");
}

#[tokio::test]
async fn the_hour_has_a_limit_of_its_own() {
    let app = limited().await;
    let nobody = app.nobody();
    for _ in 0..16 {
        for _ in 0..60 {
            nobody.get("/").await.ok(200);
        }
        app.advance(60);
    }
    for left in (0..40).rev() {
        // The minute has 20 more than that: from the start, the hour is nearer.
        assert_eq!(standing(&nobody.get("/").await), ("1000", left.to_string().as_str()));
    }
    assert_eq!(refused_by(nobody.get("/").await, 1000, 3600), 3600 - 16 * 60);
    app.advance(3600 - 16 * 60);
    nobody.get("/").await.ok(200);
}

#[tokio::test]
async fn junk_tokens_count_for_their_address_and_leave_the_others_there_alone() {
    let app = limited().await;
    let ada = app.owner().await;
    for _ in 0..60 {
        app.with_token("not.a.token").get("/api/v1/skills").await.refused(401, "UNAUTHENTICATED");
    }
    refused_by(app.with_token("not.a.token").get("/api/v1/skills").await, 60, 60);
    refused_by(app.nobody().get("/").await, 60, 60);
    let reply = ada.get("/api/v1/skills").await;
    assert_eq!((reply.status.as_u16(), standing(&reply)), (200, ("60", "59")), "who signed in is not concerned");
    ada.get("/nothing/here").await.refused(404, "NOT_FOUND");
    app.with_token("not.a.token").at("192.0.2.2").get("/api/v1/skills").await.refused(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn an_office_whose_tokens_expire_together_is_told_so_and_can_refresh() {
    let app = limited().await;
    let ada = app.owner().await;
    app.advance(1800);
    for _ in 0..300 {
        ada.get("/api/v1/skills").await.refused(401, "UNAUTHENTICATED");
    }
    refused_by(ada.get("/api/v1/skills").await, 300, 60);
    app.signed_in_again(&ada).await.get("/api/v1/skills").await.ok(200);
}

#[tokio::test]
async fn who_is_signed_in_may_ask_as_often_as_their_plan_says() {
    for (plan, minute) in [("free", 60), ("pro", 300), ("teams", 600), ("enterprise", 1200)] {
        let app = limited().await;
        let (ada, eve) = (app.owner().await, app.stranger().await);
        app.sql(&format!("UPDATE organizations SET plan = '{plan}'")).await;
        for left in (0..minute).rev() {
            let reply = ada.get("/api/v1/skills").await;
            assert_eq!(standing(&reply), (minute.to_string().as_str(), left.to_string().as_str()), "{plan}");
            reply.ok(200);
        }
        refused_by(ada.get("/api/v1/skills").await, minute, 60);
        refused_by(ada.at("192.0.2.2").post("/api/v1/skills", json!({})).await, minute, 60);
        eve.get("/api/v1/skills").await.ok(200);
        app.nobody().get("/").await.ok(200);
    }
}

#[tokio::test]
async fn all_sessions_of_a_person_are_counted_together() {
    let app = limited().await;
    let ada = app.sign_up("ada@example.com").await;
    let body = json!({ "email": "ada@example.com", "password": crate::harness::PASSWORD });
    let tokens = app.nobody().post("/api/v1/auth/login", body).await.ok(200);
    let elsewhere = app.with_token(tokens["access_token"].as_str().unwrap());
    for _ in 0..30 {
        ada.get("/api/v1/skills").await.ok(200);
        elsewhere.get("/api/v1/skills").await.ok(200);
    }
    refused_by(ada.get("/api/v1/skills").await, 60, 60);
    refused_by(elsewhere.get("/api/v1/skills").await, 60, 60);
}

#[tokio::test]
async fn an_account_is_tried_five_times_a_minute_wherever_from_and_whether_or_not_it_exists() {
    let app = limited().await;
    app.sign_up("ada@example.com").await;
    for email in ["ada@example.com", "eve@example.com"] {
        let attempt = |n: u8| {
            let from = app.nobody().at(&format!("198.51.100.{n}"));
            async move { from.post("/api/v1/auth/login", json!({ "email": email, "password": "wrongpass1" })).await }
        };
        for n in 0..5 {
            attempt(n).await.refused(401, "INVALID_CREDENTIALS");
        }
        refused_by(attempt(6).await, 5, 60);
    }
    let shouted = json!({ "email": " ADA@Example.com", "password": "wrongpass1" });
    refused_by(app.nobody().at("198.51.100.9").post("/api/v1/auth/login", shouted).await, 5, 60);
}

#[tokio::test]
async fn each_api_key_is_counted_for_itself() {
    let app = limited().await;
    let ada = app.owner().await;
    let new = json!({ "name": "Script", "expiration": "never", "scopes": ["read"] });
    let mut keys = Vec::new();
    for _ in 0..2 {
        let created = ada.post("/api/v1/security/api-keys", new.clone()).await.ok(201);
        keys.push(app.with_token(created["key"].as_str().unwrap()));
    }
    for _ in 0..60 {
        keys[0].get("/api/v1/skills").await.ok(200);
    }
    refused_by(keys[0].get("/api/v1/skills").await, 60, 60);
    assert_eq!(standing(&keys[1].get("/api/v1/skills").await), ("60", "59"));
    assert_eq!(standing(&ada.get("/api/v1/skills").await), ("60", "57"), "two of hers made the keys");
}

#[tokio::test]
async fn an_address_may_sign_up_ten_times_a_minute() {
    let app = limited().await;
    for _ in 0..10 {
        app.nobody().post("/api/v1/auth/signup", json!({})).await.refused(422, "VALIDATION_ERROR");
    }
    refused_by(app.nobody().post("/api/v1/auth/signup", json!({})).await, 10, 60);
}

#[tokio::test]
async fn a_session_may_refresh_ten_times_a_minute_and_an_office_three_hundred_times() {
    let app = limited().await;
    let (ada, eve, zoe) = (app.owner().await, app.stranger().await, app.owner().await);
    let refresh = |token: &str| {
        let (nobody, body) = (app.nobody(), json!({ "refresh_token": token }));
        async move { nobody.post("/api/v1/auth/refresh", body).await }
    };
    for _ in 0..10 {
        let reply = refresh(ada.refresh_token()).await;
        assert_eq!(reply.header("x-ratelimit-limit"), Some("300"), "among people of one address there is much room");
        reply.ok(200);
    }
    refused_by(refresh(ada.refresh_token()).await, 10, 60);
    refresh(eve.refresh_token()).await.ok(200);
    for _ in 0..288 {
        refresh("made up").await.refused(401, "REFRESH_TOKEN_INVALID");
    }
    refused_by(refresh(zoe.refresh_token()).await, 300, 60);
    app.nobody().get("/").await.ok(200);
    app.advance(60);
    app.signed_in_again(&zoe).await.get("/api/v1/auth/me").await.ok(200);
}

#[tokio::test]
async fn links_are_asked_for_and_redeemed_five_times_a_minute() {
    let app = limited().await;
    // Whether or not these routes exist by now, the limit stands before them.
    for path in ["password/forgot", "password/reset", "magic-link", "magic-link/verify", "email/verify"] {
        let reply = app.nobody().post(&format!("/api/v1/auth/{path}"), json!({})).await;
        assert_ne!(reply.status, 429, "{path}: {}", reply.text);
    }
    refused_by(app.nobody().post("/api/v1/auth/password/forgot", json!({})).await, 5, 60);
}

#[tokio::test]
async fn other_sign_ins_are_begun_twenty_times_and_ended_five_times_a_minute() {
    let app = limited().await;
    for _ in 0..20 {
        assert_ne!(app.nobody().get("/api/v1/auth/oauth/google").await.status, 429);
    }
    refused_by(app.nobody().get("/api/v1/auth/oauth/github").await, 20, 60);
    for _ in 0..5 {
        assert_ne!(app.nobody().post("/api/v1/auth/oauth/callback", json!({})).await.status, 429);
    }
    refused_by(app.nobody().post("/api/v1/auth/oauth/callback", json!({})).await, 5, 60);
}

#[tokio::test]
async fn switched_off_there_are_no_limits_and_no_headers_about_them() {
    let app = Installation::new().await;
    for _ in 0..100 {
        let reply = app.nobody().get("/").await;
        assert_eq!((reply.status.as_u16(), standing(&reply)), (200, ("absent", "absent")));
    }
    let settings = [
        ("KIJKO_ENV", "ai"),
        ("DATABASE_URL", "postgres://kijko_app@localhost/kijko"),
        ("ENCRYPTION_KEY", "a2lqa28gdGVzdHMgdXNlIHRoaXMga2V5IDEyMzQ1Njc="),
        ("PUBLIC_URL", "https://api.example.com"),
        ("RATE_LIMITS_ENABLED", "false"),
    ];
    let error = kijko_core::Config::from_values(&settings).expect_err("production is never without limits");
    assert!(error.to_string().contains("RATE_LIMITS_ENABLED"), "{error}");
}
