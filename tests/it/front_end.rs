//! The front end stays signed in as long as it should, the way it really behaves: every 401 makes it refresh once and
//! try once more, a refresh that fails signs the person out, and so does a page that loads without `me`.

use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Installation, Reply};

/// A tab. Tabs that share their storage are tabs of one browser.
#[derive(Clone)]
struct Tab<'a> {
    app: &'a Installation,
    storage: Arc<Mutex<Option<Value>>>,
}

impl<'a> Tab<'a> {
    fn signed_in(app: &'a Installation, tokens: Value) -> Self {
        Self { app, storage: Arc::new(Mutex::new(Some(tokens))) }
    }

    fn tokens(&self) -> Option<Value> {
        self.storage.lock().unwrap().clone()
    }

    fn is_signed_in(&self) -> bool {
        self.tokens().is_some()
    }

    async fn call(&self, tokens: &Value, path: &str) -> Reply {
        self.app.with_token(tokens["access_token"].as_str().unwrap()).get(path).await
    }

    async fn refresh(&self, tokens: &Value) -> Option<Value> {
        let body = json!({ "refresh_token": tokens["refresh_token"] });
        let reply = self.app.nobody().post("/api/v1/auth/refresh", body).await;
        // What a reply lacks, the front end stores as the text `undefined`.
        reply.status.is_success().then(|| {
            json!({ "access_token": reply.body["access_token"].as_str().unwrap_or("undefined"),
                    "refresh_token": reply.body["refresh_token"].as_str().unwrap_or("undefined") })
        })
    }

    async fn fetch(&self, path: &str) -> Reply {
        let tokens = self.tokens().unwrap_or_else(|| json!({ "access_token": "none", "refresh_token": "none" }));
        let reply = self.call(&tokens, path).await;
        if reply.status != 401 || !self.is_signed_in() {
            return reply;
        }
        let renewed = self.refresh(&tokens).await;
        self.storage.lock().unwrap().clone_from(&renewed);
        match renewed {
            Some(tokens) => self.call(&tokens, path).await,
            None => reply,
        }
    }

    async fn load(&self) {
        if !self.fetch("/api/v1/auth/me").await.status.is_success() {
            *self.storage.lock().unwrap() = None;
        }
    }
}

const ACCESS_TOKEN_TTL: i64 = 1800;

async fn signed_in(app: &Installation) -> Value {
    let ada = app.owner().await;
    json!({ "access_token": ada.access_token(), "refresh_token": ada.refresh_token() })
}

#[tokio::test]
async fn parallel_calls_with_an_expired_token_all_succeed() {
    let app = Installation::new().await;
    let tab = Tab::signed_in(&app, signed_in(&app).await);
    for _ in 0..3 {
        app.advance(ACCESS_TOKEN_TTL + 1);
        let paths = ["/api/v1/skills", "/api/v1/executions", "/api/v1/auth/me"];
        for reply in join_all(paths.iter().cycle().take(6).map(|path| tab.fetch(path))).await {
            reply.ok(200);
        }
        assert!(tab.is_signed_in(), "six calls that met a 401 at the same moment signed the person out");
    }
}

#[tokio::test]
async fn tabs_that_refresh_one_after_the_other_keep_each_other_signed_in() {
    let app = Installation::new().await;
    let tokens = signed_in(&app).await;
    // Each read the storage before the other wrote it.
    let tabs = [Tab::signed_in(&app, tokens.clone()), Tab::signed_in(&app, tokens)];
    for lag in [0, 5, 29, 30] {
        app.advance(ACCESS_TOKEN_TTL + 1);
        tabs[0].load().await;
        app.advance(lag);
        tabs[1].load().await;
        for tab in &tabs {
            assert!(tab.is_signed_in(), "a tab that refreshed {lag} s after the other lost its session");
            tab.fetch("/api/v1/skills").await.ok(200);
        }
        assert_eq!(tabs[0].tokens(), tabs[1].tokens(), "both hold the same pair again");
    }
}

#[tokio::test]
async fn a_reply_that_got_lost_on_a_slow_network_can_be_asked_for_again() {
    let app = Installation::new().await;
    let tab = Tab::signed_in(&app, signed_in(&app).await);
    app.advance(ACCESS_TOKEN_TTL + 1);
    let before = tab.tokens().unwrap();
    let lost = tab.refresh(&before).await.expect("the server exchanged the token");
    // The browser gave up waiting, and its person loads the page again.
    app.advance(25);
    tab.load().await;
    assert!(tab.is_signed_in(), "the retry of a refresh whose reply was lost signed the person out");
    assert_eq!(tab.tokens().unwrap()["refresh_token"], lost["refresh_token"]);
    tab.fetch("/api/v1/skills").await.ok(200);
}

#[tokio::test]
async fn a_refusal_is_no_reason_to_refresh_and_an_outage_does_not_lose_the_session() {
    let app = Installation::new().await;
    let tokens = signed_in(&app).await;
    let tab = Tab::signed_in(&app, tokens.clone());
    tab.fetch("/api/v1/skills/11111111-1111-4111-8111-111111111111").await.refused(404, "SKILL_NOT_FOUND");
    assert_eq!(tab.tokens().unwrap(), tokens, "nothing but a 401 makes the front end refresh");
    tab.load().await;
    let database = &app.database;
    app.sql(&format!("ALTER DATABASE \"{database}\" CONNECTION LIMIT 0")).await;
    app.sql(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'kijko_app' AND datname = '{database}'"
    ))
    .await;
    // Long enough for everything that is remembered to be asked for anew.
    app.advance(31);
    let asked = std::time::Instant::now();
    tab.load().await;
    assert!(asked.elapsed().as_secs() < 6, "a page waits too long for a database that is away: {:?}", asked.elapsed());
    app.sql(&format!("ALTER DATABASE \"{database}\" CONNECTION LIMIT -1")).await;
    assert!(tab.is_signed_in(), "`me` must answer from memory while the database is away for a moment");
    tab.fetch("/api/v1/auth/me").await.ok(200);
}

#[tokio::test]
async fn a_stolen_token_that_was_already_exchanged_ends_the_session_for_thief_and_owner() {
    let app = Installation::new().await;
    let tokens = signed_in(&app).await;
    let (owner, thief) = (Tab::signed_in(&app, tokens.clone()), Tab::signed_in(&app, tokens));
    app.advance(ACCESS_TOKEN_TTL + 1);
    owner.load().await;
    app.advance(31);
    thief.load().await;
    assert!(!thief.is_signed_in(), "the thief got in with a token that was exchanged 31 s before");
    owner.load().await;
    assert!(!owner.is_signed_in(), "nobody knows who of the two is the thief, so the whole family has to end");
}
