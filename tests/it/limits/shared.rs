//! Several processes count together in Redis. When it goes, each goes on by itself and says so; when it comes back,
//! they find together again.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{ON, crowd, redis_health, refused_by, sign_in, standing};
use crate::harness::redis::RedisServer;
use crate::harness::{Installation, eventually};

/// So many installations on one database and one Redis.
async fn together(redis: &RedisServer, how_many: usize) -> Vec<Installation> {
    let url = redis.url();
    let settings = [ON, ("REDIS_URL", url.as_str())];
    let mut all = vec![Installation::with(&settings).await];
    while all.len() < how_many {
        let next = Installation::beside(&all[0], &settings).await;
        all.push(next);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_at_once_on_three_processes_get_exactly_what_the_limit_says() {
    let redis = RedisServer::start().await;
    let apps = together(&redis, 3).await;
    let attempts = (0..200).map(|n| {
        let nobody = apps[n % 3].nobody();
        async move { sign_in(&nobody).await }
    });
    assert_eq!(crowd(attempts).await, [(401, 5), (429, 195)]);
    let requests = (0..200).map(|n| {
        let nobody = apps[n % 3].nobody();
        async move { nobody.get("/").await }
    });
    assert_eq!(crowd(requests).await, [(200, 60), (429, 140)]);
    let ada = apps[0].owner().await;
    let requests = (0..200).map(|n| {
        let ada = apps[n % 3].with_token(ada.access_token());
        async move { ada.get("/api/v1/skills").await }
    });
    assert_eq!(crowd(requests).await, [(200, 60), (429, 140)]);
}

#[tokio::test]
async fn the_shared_window_slides_too() {
    let redis = RedisServer::start().await;
    let apps = together(&redis, 2).await;
    for n in 0..5 {
        sign_in(&apps[n % 2].nobody()).await.refused(401, "INVALID_CREDENTIALS");
        redis.age(10).await;
    }
    for _ in 0..20 {
        let wait = refused_by(sign_in(&apps[0].nobody()).await, 5, 60);
        assert!((5..=10).contains(&wait), "the first leaves in ten seconds, not in {wait}");
    }
    redis.age(10).await;
    let reply = sign_in(&apps[1].nobody()).await;
    assert_eq!((reply.status.as_u16(), standing(&reply)), (401, ("5", "0")), "what was refused was not counted");
    refused_by(sign_in(&apps[0].nobody()).await, 5, 60);
    redis.age(61).await;
    let reply = sign_in(&apps[0].nobody()).await;
    assert_eq!(standing(&reply), ("5", "4"), "all have left");
}

#[tokio::test]
async fn thousands_that_leave_at_once_leave_all() {
    let redis = RedisServer::start().await;
    let apps = together(&redis, 1).await;
    apps[0].nobody().get("/").await.ok(200);
    let script = "local now = redis.call('TIME')[1] * 1000
        for _, key in ipairs(redis.call('KEYS', 'kijko:limit:{anonymous*')) do
            for i = 1, 777 do redis.call('LPUSH', key, now - 4000000) end
        end";
    redis.cli(&["EVAL", script, "0"]).await;
    assert_eq!(standing(&apps[0].nobody().get("/").await), ("60", "58"));
}

#[tokio::test]
async fn what_redis_holds_expires_and_names_no_address_of_a_person() {
    let redis = RedisServer::start().await;
    let apps = together(&redis, 1).await;
    let ada = apps[0].sign_up("ada@example.com").await;
    ada.get("/api/v1/skills").await.ok(200);
    apps[0].nobody().get("/").await.ok(200);
    let body = json!({ "email": "ada@example.com", "password": "wrongpass1" });
    apps[0].nobody().post("/api/v1/auth/login", body).await.refused(401, "INVALID_CREDENTIALS");
    let keys = redis.cli(&["KEYS", "*"]).await;
    assert!(keys.lines().count() >= 5, "too few keys: was the limiter asked? {keys}");
    for key in keys.lines() {
        assert!(key.starts_with("kijko:limit:{"), "{key} could be somebody else's");
        assert!(!key.contains('@') && !key.contains("example"), "{key} tells whose account it is");
        let ttl: i64 = redis.cli(&["PTTL", key]).await.parse().expect("a number");
        let window: i64 = key.rsplit(':').next().unwrap().parse().expect("the window in seconds");
        assert!((1..=window * 1000).contains(&ttl), "{key} expires in {ttl} ms");
    }
}

#[tokio::test]
async fn when_redis_dies_the_service_goes_on_and_finds_back() {
    let mut redis = RedisServer::start().await;
    let apps = together(&redis, 2).await;
    assert_eq!(redis_health(&apps[0]).await, (200, json!("healthy")));
    assert_eq!(apps[0].nobody().get("/health/ready").await.ok(200)["checks"]["redis"]["status"], "healthy");
    for _ in 0..5 {
        sign_in(&apps[0].nobody()).await.refused(401, "INVALID_CREDENTIALS");
    }
    refused_by(sign_in(&apps[1].nobody()).await, 5, 60);

    redis.kill().await;
    for app in &apps {
        for _ in 0..5 {
            sign_in(&app.nobody()).await.refused(401, "INVALID_CREDENTIALS");
        }
        refused_by(sign_in(&app.nobody()).await, 5, 60);
        app.nobody().get("/").await.ok(200);
        assert_eq!(redis_health(app).await, (503, json!("unhealthy")));
        assert_eq!(app.nobody().get("/health/ready").await.ok(503)["checks"]["redis"]["status"], "unhealthy");
        app.nobody().get("/health").await.ok(200);
    }

    redis.start_again().await;
    for app in &apps {
        eventually("Redis is found again", async || redis_health(app).await == (200, json!("healthy"))).await;
    }
    // It came back empty, and counts for both.
    for n in 0..5 {
        sign_in(&apps[n % 2].nobody()).await.refused(401, "INVALID_CREDENTIALS");
    }
    refused_by(sign_in(&apps[0].nobody()).await, 5, 60);
    refused_by(sign_in(&apps[1].nobody()).await, 5, 60);
}

#[tokio::test]
async fn a_redis_that_hangs_costs_one_request_a_moment_and_nobody_else_anything() {
    let redis = RedisServer::start().await;
    let apps = together(&redis, 1).await;
    let nobody = apps[0].nobody();
    nobody.get("/").await.ok(200);
    redis.freeze().await;
    let started = Instant::now();
    nobody.get("/").await.ok(200);
    assert!(started.elapsed() < Duration::from_secs(2), "the first waited for {:?}", started.elapsed());
    let started = Instant::now();
    for _ in 0..30 {
        nobody.get("/").await.ok(200);
    }
    assert!(started.elapsed() < Duration::from_secs(1), "thirty more waited for {:?}", started.elapsed());
    assert_eq!(redis_health(&apps[0]).await, (503, json!("unhealthy")));
    redis.thaw().await;
    eventually("Redis is found again", async || redis_health(&apps[0]).await == (200, json!("healthy"))).await;
}

#[tokio::test]
async fn without_redis_at_the_start_it_is_found_later() {
    let mut redis = RedisServer::start().await;
    redis.kill().await;
    let apps = together(&redis, 1).await;
    assert_eq!(redis_health(&apps[0]).await, (503, json!("unhealthy")));
    for _ in 0..5 {
        sign_in(&apps[0].nobody()).await.refused(401, "INVALID_CREDENTIALS");
    }
    refused_by(sign_in(&apps[0].nobody()).await, 5, 60);
    redis.start_again().await;
    eventually("Redis is found", async || redis_health(&apps[0]).await == (200, json!("healthy"))).await;
}

#[tokio::test]
async fn without_a_redis_configured_there_is_nothing_to_be_ill() {
    let app = Installation::new().await;
    assert_eq!(app.nobody().get("/healthz/redis").await.ok(200), json!({ "status": "disabled" }));
    for (url, valid) in [
        ("redis://localhost:6379", true),
        ("rediss://:secret@redis.example.com:6380/2", true),
        ("unix:///run/redis.sock", true),
        ("http://localhost", false),
        ("localhost", false),
    ] {
        let config = kijko_core::Config::from_values(&[("REDIS_URL", url)]);
        assert_eq!(config.is_ok(), valid, "{url}");
    }
}
