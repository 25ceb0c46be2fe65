//! Limits over real connections: the server knows who connects, several count together, and the log says when they do
//! not.

use std::time::Duration;

use serde_json::{Value, json};

use super::harness::{Deployment, Server, within};
use crate::harness::PASSWORD;
use crate::harness::redis::RedisServer;

const ON: (&str, &str) = ("RATE_LIMITS_ENABLED", "true");
const SOON: Duration = Duration::from_secs(15);

/// Tries to sign in to an account that does not exist, through a proxy on this machine, and gives the status.
async fn sign_in(server: &Server, client: &str) -> u16 {
    let email = format!("{}@example.com", uuid::Uuid::new_v4().simple());
    let request = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = request.post(format!("{}/api/v1/auth/login", server.url)).header("x-forwarded-for", client);
    let reply = request.json(&json!({ "email": email, "password": PASSWORD })).send().await;
    reply.expect("the server answers").status().as_u16()
}

/// The messages at this level, of a log in JSON.
fn messages(log: &str, level: &str) -> Vec<String> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let lines = lines.filter(|line| line["level"] == level && line["msg"] != "request");
    lines.map(|line| line["msg"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn a_server_knows_who_connects_and_believes_only_its_own_proxy() {
    let deployment = Deployment::new(&[ON]).await;
    let server = deployment.server(&[]).await;
    for expected in [401, 401, 401, 401, 401, 429] {
        assert_eq!(sign_in(&server, "203.0.113.9, 198.51.100.1").await, expected);
    }
    assert_eq!(sign_in(&server, "198.51.100.2").await, 401);

    let alone = deployment.server(&[("TRUSTED_PROXIES", "[]")]).await;
    for n in 0..5 {
        assert_eq!(sign_in(&alone, &format!("198.51.100.{n}")).await, 401);
    }
    assert_eq!(sign_in(&alone, "198.51.100.77").await, 429, "nobody is trusted");
}

#[tokio::test]
async fn three_servers_count_together_and_each_alone_while_redis_is_away_and_say_so_once() {
    let mut redis = RedisServer::start().await;
    let url = redis.url();
    let deployment = Deployment::new(&[ON, ("REDIS_URL", &url), ("REPLICAS", "3"), ("LOG_FORMAT", "json")]).await;
    let servers = [deployment.server(&[]).await, deployment.server(&[]).await, deployment.server(&[]).await];
    let crowd = (0..200).map(|n| sign_in(&servers[n % 3], "198.51.100.1"));
    let statuses = futures_util::future::join_all(crowd).await;
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 5, "{statuses:?}");
    assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");

    redis.kill().await;
    for server in &servers {
        for expected in [401, 401, 401, 401, 401, 429, 429] {
            assert_eq!(sign_in(server, "198.51.100.2").await, expected);
        }
        assert_eq!(server.nobody().get("/healthz/redis").await.ok(503)["status"], "unhealthy");
    }
    redis.start_again().await;
    for server in &servers {
        within(SOON, "Redis is found again", async || server.nobody().get("/healthz/redis").await.status == 200).await;
    }
    for server in servers {
        let log = server.stop().await;
        let lost: Vec<_> = messages(&log, "WARN").into_iter().filter(|msg| msg.contains("Redis")).collect();
        assert_eq!(lost, ["Redis was lost; until it is back, this process counts for itself"], "{log}");
        let back: Vec<_> = messages(&log, "INFO").into_iter().filter(|msg| msg.contains("Redis")).collect();
        assert_eq!(back, ["Redis is back; limits are counted for all processes again"], "{log}");
        assert!(!log.contains("198.51.100"), "no address is in the log:\n{log}");
    }
}

#[tokio::test]
async fn several_processes_without_redis_are_warned_about_at_the_start() {
    let deployment = Deployment::new(&[ON, ("LOG_FORMAT", "json")]).await;
    for (replicas, warned) in [("1", false), ("3", true)] {
        let log = deployment.server(&[("REPLICAS", replicas)]).await.stop().await;
        let warning = messages(&log, "WARN").iter().any(|msg| msg.contains("REPLICAS"));
        assert_eq!(warning, warned, "with REPLICAS={replicas}:\n{log}");
    }
}
