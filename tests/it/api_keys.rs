//! An API key is its creator in one organisation, limited to its scopes: it is shown once, reaches no further than it
//! was made for, and ends the moment that it is revoked, expires, or its creator is no longer who they were.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use crate::harness::{Installation, Person, Reply, eventually, skill};

const PATH: &str = "/api/v1/security/api-keys";

fn body(name: &str, scopes: &[&str]) -> Value {
    json!({ "name": name, "expiration": "never", "scopes": scopes })
}

async fn create(person: &Person, scopes: &[&str]) -> Value {
    person.post(PATH, body("CI of the website", scopes)).await.ok(201)
}

/// Whoever holds a new key of this person.
async fn holder(app: &Installation, person: &Person, scopes: &[&str]) -> Person {
    app.with_token(create(person, scopes).await["key"].as_str().expect("a key"))
}

async fn once(person: &Person, key: &str, body: Value) -> Reply {
    let request = Request::builder().method(Method::POST).uri(PATH).header("content-type", "application/json");
    person.send(request.header("idempotency-key", key).body(Body::from(body.to_string())).unwrap()).await
}

#[track_caller]
fn refused_as_key(reply: Reply) {
    assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    assert_eq!(reply.refused(401, "UNAUTHENTICATED")["details"]["reason"], "api_key");
}

#[tokio::test]
async fn whoever_gets_a_new_key_is_told_by_mail_once_and_without_it() {
    let app = Installation::new().await;
    let ada = app.sign_up("ada@example.com").await;
    let created = once(&ada, "the same", body("CI of it", &["read"])).await.ok(201);
    once(&ada, "the same", body("CI of it", &["read"])).await.ok(201);
    ada.post(PATH, body("", &["read"])).await.refused_field(422, "VALIDATION_ERROR", "name");
    let mails = app.mails_to("ada@example.com").await;
    let told: Vec<_> = mails.iter().filter(|mail| mail.subject == "A new API key was made").collect();
    assert_eq!(told.len(), 1, "one key, one mail");
    let key = created["key"].as_str().unwrap();
    assert!(told[0].text.contains(&key[..20]) && !told[0].text.contains(&key[..21]), "{}", told[0].text);
}

#[tokio::test]
async fn a_key_is_shown_once_and_kept_as_a_keyed_hash() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let created = create(&ada, &["read", "write"]).await;
    let key = created["key"].as_str().unwrap();
    assert!(regex::Regex::new("^kijko_test_[0-9a-f]{48}$").unwrap().is_match(key), "{key}");
    assert_eq!(created["keyPrefix"], key[..20]);
    let members: Vec<&String> = created.as_object().unwrap().keys().collect();
    assert_eq!(members, ["id", "name", "key", "keyPrefix", "scopes"], "no expiry, no member");

    let reply = ada.get(PATH).await;
    assert!(!reply.text.contains(&key[20..]), "the key is shown again: {}", reply.text);
    let listed = &reply.ok(200)[0];
    assert_eq!(
        (&listed["id"], &listed["name"], &listed["scopes"]),
        (&created["id"], &json!("CI of the website"), &json!(["read", "write"]))
    );
    assert_eq!((&listed["usageCount"], &listed["isExpired"]), (&json!(0), &json!(false)));
    assert!(listed.get("lastUsedAt").is_none() && listed.get("expiresAt").is_none() && listed.get("userId").is_none());
    assert_eq!(app.count("api_keys WHERE octet_length(key_hash) = 32").await, 1);
    let digits = &key[11..];
    let everywhere = "(SELECT k::text AS t FROM api_keys k UNION ALL SELECT a::text FROM audit_logs a) x";
    assert_eq!(app.count(&format!("{everywhere} WHERE t LIKE '%{digits}%'")).await, 0, "it is stored in clear");
    let entry = "audit_logs WHERE event_type = 'security.api_key_created' AND request_id <> ''
                    AND metadata ->> 'keyName' = 'CI of the website' AND metadata -> 'scopes' = '[\"read\", \"write\"]'";
    assert_eq!(app.count(entry).await, 1);
}

#[tokio::test]
async fn a_key_acts_as_its_creator() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let mine = ada.create_skill("Mine").await;
    let machine = holder(&app, &ada, &["write"]).await;
    let me = machine.get("/api/v1/auth/me").await.ok(200);
    assert_eq!((&me["id"], &me["org_id"]), (&json!(ada.user_id()), &json!(ada.organization_id())));
    machine.get(&format!("/api/v1/skills/{mine}")).await.ok(200);
    let made = machine.create_skill("Made by a machine").await;
    ada.get(&format!("/api/v1/skills/{made}")).await.ok(200);
    app.stranger().await.get(&format!("/api/v1/skills/{made}")).await.refused(404, "SKILL_NOT_FOUND");
    let id = machine.execute(&made, json!({ "text": "x" })).await;
    app.run_jobs().await;
    assert_eq!(machine.execution(&id).await["status"], "completed");
}

#[tokio::test]
async fn each_scope_reaches_as_far_as_it_says() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let target = ada.create_skill("Target").await;
    let path = format!("/api/v1/skills/{target}");
    for (scopes, allowed) in [(["read"], 1), (["write"], 4), (["admin"], 5)] {
        let machine = holder(&app, &ada, &scopes).await;
        let requests = [
            (Method::GET, "/api/v1/skills", None, 200),
            (Method::PATCH, &path, Some(json!({ "description": "changed" })), 200),
            (Method::PUT, &path, Some(json!({ "description": "changed" })), 200),
            (Method::POST, "/api/v1/skills", Some(skill(&format!("By {}", scopes[0]))), 201),
            (Method::DELETE, &path, None, 200),
        ];
        for (number, (method, path, body, status)) in requests.into_iter().enumerate() {
            let reply = machine.call(method.clone(), path, body).await;
            if number < allowed {
                reply.ok(status);
            } else {
                let problem = reply.refused(403, "INSUFFICIENT_SCOPE");
                let needed = if method == Method::DELETE { "admin" } else { "write" };
                assert!(problem["detail"].as_str().unwrap().ends_with(needed), "it says what is lacking: {problem}");
            }
        }
    }
    let head = holder(&app, &ada, &["read"]).await.call(Method::HEAD, "/api/v1/skills", None).await;
    assert_eq!(head.status, 200, "what answers GET answers HEAD");
}

/// The contract's list of what needs a person; the routes come from the OpenAPI document.
#[tokio::test]
async fn no_key_reaches_credentials_whatever_its_scopes() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let created = create(&ada, &["read", "write", "admin"]).await;
    let machine = app.with_token(created["key"].as_str().unwrap());
    let mut refused = 0;
    for (method, path, operation) in crate::access::operations() {
        let public = operation["security"] == json!([{}]) || path.ends_with("/logout");
        let credentials = path.starts_with("/api/v1/auth/") && path != "/api/v1/auth/me";
        let writes_keys = path.starts_with("/api/v1/security/") && method != "GET";
        if public || !(credentials || writes_keys) {
            continue;
        }
        let target = path.replace("{id}", created["id"].as_str().unwrap());
        let body = (method != "GET" && method != "DELETE").then(|| body("Another", &["read"]));
        machine.call(method.parse().unwrap(), &target, body).await.refused(403, "INSUFFICIENT_SCOPE");
        refused += 1;
    }
    assert!(refused >= 2, "the walk found only {refused} routes: were they moved?");
    assert_eq!(app.count("api_keys").await, 1, "the key made no other");
    machine.get(PATH).await.ok(200);
    machine.get("/api/v1/auth/me").await.ok(200);
    // Leaving needs a session; a key has none.
    machine.post("/api/v1/auth/logout", json!({})).await.refused(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn only_administrators_grant_the_scope_admin_and_viewers_make_no_keys() {
    let app = Installation::new().await;
    let owner = app.owner().await;
    let (admin, member, viewer) =
        (app.member(&owner, "admin").await, app.member(&owner, "member").await, app.member(&owner, "viewer").await);
    create(&admin, &["admin"]).await;
    member.post(PATH, body("Too much", &["read", "admin"])).await.refused(403, "FORBIDDEN");
    create(&member, &["write"]).await;
    viewer.post(PATH, body("Too much", &["read"])).await.refused(403, "FORBIDDEN");
    viewer.get(PATH).await.refused(403, "FORBIDDEN");
    member.get(&format!("{PATH}?all=true")).await.refused(403, "FORBIDDEN");
    app.nobody().get(PATH).await.refused(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_key_never_does_more_than_its_creator_may_now() {
    let app = Installation::new().await;
    let owner = app.owner().await;
    let admin = app.member(&owner, "admin").await;
    let machine = holder(&app, &admin, &["admin"]).await;
    let made = machine.create_skill("While it could").await;
    machine.get(&format!("{PATH}?all=true")).await.ok(200);
    app.sql(&format!("UPDATE organization_members SET role = 'viewer' WHERE user_id = '{}'", admin.user_id())).await;
    app.advance(5);
    machine.get(&format!("/api/v1/skills/{made}")).await.ok(200);
    machine.post("/api/v1/skills", skill("No more")).await.refused(403, "FORBIDDEN");
    machine.delete(&format!("/api/v1/skills/{made}")).await.refused(403, "FORBIDDEN");
    machine.get(&format!("{PATH}?all=true")).await.refused(403, "FORBIDDEN");
}

#[tokio::test]
async fn a_key_of_staff_does_not_carry_what_staff_may() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    app.sql("UPDATE users SET is_platform_admin = true").await;
    app.advance(31);
    assert_eq!(ada.get("/api/v1/auth/me").await.ok(200)["roles"], json!(["owner", "platform_admin"]));
    let machine = holder(&app, &ada, &["admin"]).await;
    assert_eq!(machine.get("/api/v1/auth/me").await.ok(200)["roles"], json!(["owner"]));
}

#[tokio::test]
async fn a_key_ends_with_the_membership_or_the_account_of_its_creator() {
    let app = Installation::new().await;
    let owner = app.owner().await;
    let member = app.member(&owner, "member").await;
    let machine = holder(&app, &member, &["read"]).await;
    machine.get("/api/v1/skills").await.ok(200);
    let change = async |what: &str| {
        app.sql(&format!("UPDATE {what} '{}'", member.user_id())).await;
        // At most five seconds, when nobody announces it.
        app.advance(5);
    };
    change("organization_members SET status = 'inactive' WHERE role = 'member' AND user_id =").await;
    refused_as_key(machine.get("/api/v1/skills").await);
    change("organization_members SET status = 'active' WHERE role = 'member' AND user_id =").await;
    machine.get("/api/v1/skills").await.ok(200);
    change("users SET disabled_at = now() WHERE id =").await;
    refused_as_key(machine.get("/api/v1/skills").await);
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once_in_every_process() {
    let here = Installation::new().await;
    let there = Installation::beside(&here, &[]).await;
    let ada = here.owner().await;
    let created = create(&ada, &["read"]).await;
    let (machine, machine_there) = {
        let key = created["key"].as_str().unwrap();
        (here.with_token(key), there.with_token(key))
    };
    machine.get("/api/v1/skills").await.ok(200);
    machine_there.get("/api/v1/skills").await.ok(200);
    let path = format!("{PATH}/{}", created["id"].as_str().unwrap());
    ada.delete(&path).await.ok(204);
    refused_as_key(machine.get("/api/v1/skills").await);
    // Neither clock was moved: what another process remembers ends by the announcement alone.
    eventually("the other process hears of it", async || machine_there.get("/api/v1/skills").await.status == 401).await;
    refused_as_key(machine_there.get("/api/v1/skills").await);
    assert_eq!(ada.get(PATH).await.ok(200), json!([]), "what was revoked is not listed");
    ada.delete(&path).await.refused(404, "NOT_FOUND");
    assert_eq!(here.count("audit_logs WHERE event_type = 'security.api_key_revoked'").await, 1);
}

#[tokio::test]
async fn a_key_expires_to_the_second() {
    let app = Installation::new().await;
    for (expiration, days) in
        [(json!({ "expiration": "30" }), 30), (json!({ "expiration": "custom", "customExpirationDays": 365 }), 365)]
    {
        let mut new = body("Short-lived", &["read"]);
        new.as_object_mut().unwrap().extend(expiration.as_object().unwrap().clone());
        let ada = app.sign_up(&format!("ada{days}@example.com")).await;
        let created = ada.post(PATH, new).await.ok(201);
        assert!(created["expiresAt"].as_str().unwrap().ends_with('Z'));
        let machine = app.with_token(created["key"].as_str().unwrap());
        app.advance(days * 86_400 - 1);
        machine.get("/api/v1/skills").await.ok(200);
        app.advance(1);
        refused_as_key(machine.get("/api/v1/skills").await);
    }
}

#[tokio::test]
async fn an_expired_key_stays_in_the_list_and_says_so() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let mut new = body("For a day", &["read"]);
    (new["expiration"], new["custom_expiration_days"]) = (json!("custom"), json!(1));
    ada.post(PATH, new).await.ok(201);
    app.advance(86_400);
    let ada = app.signed_in_again(&ada).await;
    assert_eq!(ada.get(PATH).await.ok(200)[0]["isExpired"], true);
}

#[tokio::test]
async fn a_key_of_another_environment_is_good_for_nothing() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let created = create(&ada, &["read"]).await;
    let live = created["key"].as_str().unwrap().replace("kijko_test_", "kijko_live_");
    refused_as_key(app.with_token(&live).get("/api/v1/skills").await);
    let production = Installation::beside(
        &app,
        &[("KIJKO_ENV", "ai"), ("PUBLIC_URL", "https://api.kijko.nl"), ("CORS_ORIGINS", "https://app.kijko.nl")],
    )
    .await;
    let test = created["key"].as_str().unwrap();
    refused_as_key(production.with_token(test).get("/api/v1/skills").await);
    let made = create(&production.owner().await, &["read"]).await;
    let live = made["key"].as_str().unwrap();
    assert!(live.starts_with("kijko_live_"), "{live}");
    production.with_token(live).get("/api/v1/skills").await.ok(200);
    refused_as_key(app.with_token(live).get("/api/v1/skills").await);
    let other_pepper =
        Installation::beside(&app, &[("API_KEY_PEPPER", "another pepper of the tests, also long enough")]).await;
    refused_as_key(other_pepper.with_token(test).get("/api/v1/skills").await);
}

#[tokio::test]
async fn what_is_wrong_with_a_new_key_is_said_by_field() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let with = |member: &str, value: Value| {
        let mut new = body("Good name", &["read"]);
        new[member] = value;
        new
    };
    for (new, field) in [
        (with("name", json!("ab")), "name"),
        (with("name", json!("  ab  ")), "name"),
        (with("name", json!("x".repeat(101))), "name"),
        (with("name", json!("a\u{0}bc")), "name"),
        (with("name", json!(7)), "name"),
        (with("scopes", json!([])), "scopes"),
        (with("scopes", json!(["read", "read"])), "scopes"),
        (with("scopes", json!(["everything"])), "scopes[0]"),
        (with("scopes", json!("read")), "scopes"),
        (with("expiration", json!("45")), "expiration"),
        (with("expiration", json!(30)), "expiration"),
        (with("expiration", json!("custom")), "customExpirationDays"),
        (
            json!({ "name": "abc", "expiration": "custom", "customExpirationDays": 0, "scopes": ["read"] }),
            "customExpirationDays",
        ),
        (
            json!({ "name": "abc", "expiration": "custom", "customExpirationDays": 366, "scopes": ["read"] }),
            "customExpirationDays",
        ),
        (
            json!({ "name": "abc", "expiration": "custom", "customExpirationDays": 1.5, "scopes": ["read"] }),
            "customExpirationDays",
        ),
        (json!({ "name": "abc", "expiration": "never" }), "scopes"),
        (json!({ "name": "abc", "scopes": ["read"] }), "expiration"),
    ] {
        let text = new.to_string();
        let reply = ada.post(PATH, new).await;
        assert_eq!(reply.body["field"], field, "for {text}: {}", reply.text);
        reply.refused(422, "VALIDATION_ERROR");
    }
    assert_eq!(app.count("api_keys").await, 0);
}

#[tokio::test]
async fn fifty_live_keys_are_the_most_also_in_a_race() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    app.sql(&format!(
        "INSERT INTO api_keys (organization_id, id, user_id, name, key_hash, key_prefix, scopes, created_at, revoked_at)
         SELECT '{}', gen_random_uuid(), '{}', 'seeded', sha256(n::text::bytea), 'kijko_test_012345678', '{{read}}', now(),
                CASE WHEN n > 45 THEN now() END
           FROM generate_series(1, 60) n",
        ada.organization_id(),
        ada.user_id()
    ))
    .await;
    let attempts = (0..15).map(|_| ada.post(PATH, body("One of many", &["read"])));
    let replies = futures_util::future::join_all(attempts).await;
    let made = replies.iter().filter(|reply| reply.status == 201).count();
    assert_eq!(made, 5, "45 were live, 15 were revoked and do not count");
    let refused = replies.into_iter().find(|reply| reply.status != 201).expect("somebody came too late");
    assert_eq!(refused.refused(409, "TOO_MANY_API_KEYS")["details"], json!({ "limit": 50, "used": 50 }));
    app.sql("UPDATE api_keys SET expires_at = now() - interval '1 hour' WHERE name = 'seeded'").await;
    create(&ada, &["read"]).await;
    create(&app.member(&ada, "member").await, &["read"]).await;
}

#[tokio::test]
async fn administrators_see_and_end_the_keys_of_others_in_their_organisation_only() {
    let app = Installation::new().await;
    let owner = app.owner().await;
    let (admin, member, colleague) =
        (app.member(&owner, "admin").await, app.member(&owner, "member").await, app.member(&owner, "member").await);
    let created = create(&member, &["read"]).await;
    let machine = app.with_token(created["key"].as_str().unwrap());
    machine.get("/api/v1/skills").await.ok(200);
    let path = format!("{PATH}/{}", created["id"].as_str().unwrap());
    let stranger = app.stranger().await;
    for other in [&colleague, &stranger] {
        assert_eq!(other.get(PATH).await.ok(200), json!([]));
        other.delete(&path).await.refused(404, "NOT_FOUND");
    }
    assert_eq!(stranger.get(&format!("{PATH}?all=true")).await.ok(200), json!([]));
    assert_eq!(admin.get(PATH).await.ok(200), json!([]), "without asking for all, one's own");
    let all = admin.get(&format!("{PATH}?all=true")).await.ok(200);
    assert_eq!((&all[0]["id"], &all[0]["userId"]), (&created["id"], &json!(member.user_id())));
    machine.get("/api/v1/skills").await.ok(200);
    admin.delete(&path).await.ok(204);
    refused_as_key(machine.get("/api/v1/skills").await);
    let entry = format!(
        "audit_logs WHERE event_type = 'security.api_key_revoked' AND user_id = '{}' AND organization_id = '{}'",
        admin.user_id(),
        owner.organization_id()
    );
    assert_eq!(app.count(&entry).await, 1, "it says who did it");
}

#[tokio::test]
async fn uses_are_counted_soon_in_batches_and_none_is_lost_at_the_end() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let created = create(&ada, &["read"]).await;
    let machine = app.with_token(created["key"].as_str().unwrap());
    for reply in futures_util::future::join_all((0..20).map(|_| machine.get("/api/v1/skills"))).await {
        reply.ok(200);
    }
    machine.post("/api/v1/skills", skill("Refused")).await.refused(403, "INSUFFICIENT_SCOPE");
    let started = std::time::Instant::now();
    eventually("the uses are written", async || ada.get(PATH).await.body[0]["usageCount"] == 21).await;
    assert!(started.elapsed().as_secs() < 5, "they may be at most five seconds late");
    assert!(ada.get(PATH).await.ok(200)[0]["lastUsedAt"].is_string());

    for _ in 0..7 {
        machine.get("/api/v1/skills").await.ok(200);
    }
    app.app.close().await;
    assert_eq!(app.count("api_keys WHERE usage_count = 28").await, 1, "an orderly end writes what was seen");
}

#[tokio::test]
async fn uses_survive_a_database_that_refuses_them_for_a_while() {
    let app = Installation::new().await;
    let machine = holder(&app, &app.owner().await, &["read"]).await;
    app.sql("ALTER TABLE api_keys ADD CONSTRAINT api_keys_busy_check CHECK (usage_count = 0) NOT VALID").await;
    for _ in 0..3 {
        machine.get("/api/v1/skills").await.ok(200);
    }
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    machine.get("/api/v1/skills").await.ok(200);
    app.sql("ALTER TABLE api_keys DROP CONSTRAINT api_keys_busy_check").await;
    eventually("what was kept is written", async || app.count("api_keys WHERE usage_count = 4").await == 1).await;
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_key_again() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let first = once(&ada, "deploy-1", body("CI of the website", &["read"])).await.ok(201);
    let spaced = json!({ "scopes": ["read"], "name": " CI of the website ", "expiration": "never", "extra": 1 });
    let again = once(&ada, "deploy-1", spaced).await;
    assert_eq!(again.status, 201);
    assert_eq!(again.ok(201), first, "the same request to the letter of its meaning gets the same reply");
    assert_eq!(app.count("api_keys").await, 1);
    assert_eq!(app.count("audit_logs WHERE event_type = 'security.api_key_created'").await, 1);
    app.with_token(first["key"].as_str().unwrap()).get("/api/v1/skills").await.ok(200);
    once(&ada, "deploy-1", body("CI of the website", &["write"])).await.refused(409, "IDEMPOTENCY_CONFLICT");
    let second = once(&ada, "deploy-2", body("CI of the website", &["read"])).await.ok(201);
    assert_ne!(second["key"], first["key"]);
    let digits = &first["key"].as_str().unwrap()[11..];
    let clear = format!("idempotency_keys WHERE encode(reply, 'escape') LIKE '%{digits}%'");
    assert_eq!(app.count(&clear).await, 0, "the reply is kept in clear");
}

#[tokio::test]
async fn parallel_requests_with_one_key_make_one() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let attempts = (0..12).map(|_| once(&ada, "deploy-1", body("CI of the website", &["read"])));
    let replies: Vec<Value> =
        futures_util::future::join_all(attempts).await.into_iter().map(|reply| reply.ok(201)).collect();
    assert!(replies.iter().all(|reply| reply == &replies[0]), "everybody gets what the first one got");
    assert_eq!(app.count("api_keys").await, 1);
}

#[tokio::test]
async fn an_idempotency_key_is_ones_own_and_lives_a_day() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let colleague = app.member(&ada, "admin").await;
    let first = once(&ada, "deploy-1", body("CI of the website", &["read"])).await.ok(201);
    let theirs = once(&colleague, "deploy-1", body("CI of the website", &["read"])).await.ok(201);
    assert_ne!(theirs["key"], first["key"], "a colleague must not be shown the key");
    app.advance(86_399);
    let ada = app.signed_in_again(&ada).await;
    assert_eq!(once(&ada, "deploy-1", body("CI of the website", &["read"])).await.ok(201), first);
    app.advance(1);
    assert_ne!(once(&ada, "deploy-1", body("CI of the website", &["read"])).await.ok(201), first);
    assert_eq!(app.count("idempotency_keys").await, 2);
    app.advance(86_400);
    app.run_jobs().await;
    assert_eq!(app.count("idempotency_keys").await, 0, "what is old is forgotten");
}

#[tokio::test]
async fn a_refused_request_uses_no_idempotency_key_up() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    once(&ada, "deploy-1", body("x", &["read"])).await.refused(422, "VALIDATION_ERROR");
    once(&ada, "deploy-1", body("CI of the website", &["read"])).await.ok(201);
    for bad in ["", "x".repeat(256).as_str(), "caf\u{e9}", "tab\tinside"] {
        once(&ada, bad, body("CI of the website", &["read"])).await.refused_field(
            422,
            "VALIDATION_ERROR",
            "Idempotency-Key",
        );
    }
    once(&ada, &"x".repeat(255), body("CI of the website", &["read"])).await.ok(201);
    let twice = Request::builder().method(Method::POST).uri(PATH).header("content-type", "application/json");
    let twice = twice.header("idempotency-key", "a").header("idempotency-key", "b");
    let twice = twice.body(Body::from(body("CI of the website", &["read"]).to_string())).unwrap();
    ada.send(twice).await.refused_field(422, "VALIDATION_ERROR", "Idempotency-Key");
}
