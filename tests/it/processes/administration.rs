//! Whoever runs the installation looks after people, organisations and keys with `kijko`: what it does holds at once in
//! every running server, is kept in the audit log with who did it and why, and gives no secret away but the one asked for.

use std::time::Duration;

use serde_json::{Value, json};

use super::harness::{Deployment, Server, within};
use crate::harness::PASSWORD;

const SOON: Duration = Duration::from_secs(10);

async fn login(server: &Server, email: &str, password: &str) -> crate::harness::Reply {
    server.nobody().post("/api/v1/auth/login", json!({ "email": email, "password": password })).await
}

async fn sign_up(server: &Server, email: &str) -> (super::harness::Client, Value) {
    let body = json!({ "email": email, "password": PASSWORD, "first_name": "Ada", "last_name": "Lovelace" });
    let tokens = server.nobody().post("/api/v1/auth/signup", body).await.ok(201);
    let ada = server.with_token(tokens["access_token"].as_str().unwrap());
    let me = ada.get("/api/v1/auth/me").await.ok(200);
    (ada, me)
}

async fn noted(deployment: &Deployment, action: &str, reason: &str) -> usize {
    deployment
        .count(&format!(
            "audit_logs WHERE event_type = 'system.admin_action' AND metadata ->> 'action' = '{action}'
                AND metadata ->> 'reason' LIKE '%{reason}%' AND metadata::text NOT LIKE '%{PASSWORD}%'"
        ))
        .await
}

#[tokio::test]
async fn a_disabled_person_is_out_at_once_with_sessions_and_keys() {
    let deployment = Deployment::new(&[]).await;
    let server = deployment.server(&[]).await;
    let (ada, me) = sign_up(&server, "ada@example.com").await;
    let new = json!({ "name": "A machine", "expiration": "never", "scopes": ["read"] });
    let key = ada.post("/api/v1/security/api-keys", new).await.ok(201);
    let machine = server.with_token(key["key"].as_str().unwrap());
    machine.get("/api/v1/skills").await.ok(200);

    let unsure = deployment.kijko(&["users", "disable", "ada@example.com"]).await.exits(64);
    assert!(unsure.contains("--yes"), "what cannot be taken back asks first: {unsure}");
    ada.get("/api/v1/auth/me").await.ok(200);

    let args = ["users", "disable", "ada@example.com", "--yes", "--reason", "left the company", "--json"];
    let disabled = deployment.kijko(&args).await.json(0);
    assert_eq!((&disabled["id"], disabled["disabledAt"].is_string()), (&me["id"], true));
    // The server was not asked, and its clock runs: only the announcement can have told it so soon.
    within(Duration::from_secs(4), "the session ends", async || ada.get("/api/v1/auth/me").await.status == 401).await;
    within(Duration::from_secs(4), "the key ends", async || machine.get("/api/v1/skills").await.status == 401).await;
    login(&server, "ada@example.com", PASSWORD).await.refused(403, "ACCOUNT_DISABLED");
    assert_eq!(noted(&deployment, "users.disable", "left the company").await, 1);
    let shown = deployment.kijko(&["users", "list"]).await.exits(0);
    assert!(shown.contains("ada@example.com") && shown.contains("disabled"), "{shown}");

    let id = me["id"].as_str().unwrap();
    deployment.kijko(&["users", "enable", id]).await.exits(0);
    login(&server, "ada@example.com", PASSWORD).await.ok(200);
    within(SOON, "the key works again", async || machine.get("/api/v1/skills").await.status == 200).await;
    assert_eq!(ada.get("/api/v1/auth/me").await.status, 401, "sessions that ended stay ended");
    assert_eq!(noted(&deployment, "users.enable", "no reason given").await, 1);
}

#[tokio::test]
async fn people_are_added_and_get_a_way_in() {
    let deployment = Deployment::new(&[("SIGNUP_ENABLED", "false")]).await;
    let server = deployment.server(&[]).await;
    let create = ["users", "create", "Grace@Example.com", "--first-name", "Grace", "--last-name", "Hopper"];
    let created = deployment.kijko(&[&create[..], &["--json"]].concat()).await.json(0);
    assert_eq!(created["user"]["email"], "grace@example.com");
    let link = created["resetLink"].as_str().expect("a link to set a password with");
    assert!(link.contains("/auth/reset-password?token="), "{link}");
    assert_eq!(deployment.count("users WHERE password_hash LIKE '$argon2id$%'").await, 1, "nobody knows the password");
    assert_eq!(deployment.kijko(&[&create[..], &["--json"]].concat()).await.json(73)["code"], "EMAIL_TAKEN");
    let wrong = deployment.kijko(&["users", "create", "x", "--first-name", "", "--last-name", "y"]).await.exits(65);
    assert!(wrong.contains("email") && wrong.contains("first_name"), "all that is wrong is told: {wrong}");

    let with_password =
        ["users", "create", "ada@example.com", "--first-name", "Ada", "--last-name", "L", "--password-stdin"];
    let text = deployment.kijko_fed(&with_password, &format!("{PASSWORD}\n")).await.exits(0);
    assert!(!text.contains(PASSWORD) && !text.contains("token="), "{text}");
    login(&server, "ada@example.com", PASSWORD).await.ok(200);

    let reset = ["users", "reset-password", "ada@example.com", "--yes"];
    let short = deployment.kijko_fed(&[&reset[..], &["--password-stdin"]].concat(), "short\n").await.exits(65);
    assert!(short.contains("8 to 128"), "{short}");
    let told = deployment.kijko(&[&reset[..], &["--reason", "phoned in"]].concat()).await.exits(0);
    assert!(told.contains("token="), "{told}");
    login(&server, "ada@example.com", PASSWORD).await.refused(401, "INVALID_CREDENTIALS");
    assert_eq!(noted(&deployment, "users.reset-password", "phoned in").await, 1);
    assert_eq!(deployment.count("user_sessions WHERE revoked_at IS NULL").await, 0);
    deployment.kijko_fed(&[&reset[..], &["--password-stdin"]].concat(), "another-one-9\n").await.exits(0);
    login(&server, "ada@example.com", "another-one-9").await.ok(200);

    assert_eq!(
        deployment.kijko(&["users", "show", "nobody@example.com", "--json"]).await.json(66)["code"],
        "NOT_FOUND"
    );
    assert_eq!(deployment.kijko(&["users", "frobnicate"]).await.code, 2, "what nobody knows is refused by the parser");
}

#[tokio::test]
async fn lists_come_in_pages_and_find_what_is_asked_for() {
    let deployment = Deployment::new(&[]).await;
    let people = "INSERT INTO users (id, email, first_name, last_name, created_at, updated_at)
                  SELECT gen_random_uuid(), 'person' || n || '@example.com', 'Person', 'Number ' || n,
                         now() + n * interval '1 second', now() FROM generate_series(1, 45) n";
    deployment.sql(people).await;
    let page = deployment.kijko(&["users", "list", "--page", "3", "--json"]).await.json(0);
    assert_eq!(
        (&page["total"], &page["hasMore"], page["data"].as_array().unwrap().len()),
        (&json!(45), &json!(false), 5)
    );
    assert_eq!(page["data"][4]["email"], "person1@example.com", "newest first");
    let found = deployment.kijko(&["users", "list", "--search", "NUMBER 44", "--json"]).await.json(0);
    assert_eq!((&found["total"], &found["data"][0]["email"]), (&json!(1), &json!("person44@example.com")));
    deployment.kijko(&["users", "list", "--page-size", "101"]).await.exits(65);
    deployment.kijko(&["users", "list", "--page", "0"]).await.exits(65);
    assert!(deployment.kijko(&["users", "list", "--page-size", "2"]).await.exits(0).contains("2 of 45, page 1"));
}

#[tokio::test]
async fn staff_and_plans_change_in_running_servers() {
    let deployment = Deployment::new(&[]).await;
    let server = deployment.server(&[]).await;
    let (ada, me) = sign_up(&server, "ada@example.com").await;
    let organization = me["org_id"].as_str().unwrap();
    deployment.kijko(&["users", "grant-platform-admin", "ada@example.com", "--yes"]).await.exits(0);
    let roles = async |expected: Value| ada.get("/api/v1/auth/me").await.ok(200)["roles"] == expected;
    within(SOON, "she is staff", async || roles(json!(["owner", "platform_admin"])).await).await;
    deployment.kijko(&["users", "revoke-platform-admin", "ada@example.com"]).await.exits(0);
    within(SOON, "she is staff no more", async || roles(json!(["owner"])).await).await;

    deployment.kijko(&["orgs", "set-plan", organization, "gold", "--yes"]).await.exits(2);
    let args = ["orgs", "set-plan", organization, "teams", "--yes", "--reason", "contract 7", "--json"];
    assert_eq!(deployment.kijko(&args).await.json(0)["plan"], "teams");
    within(SOON, "the plan is new", async || ada.get("/api/v1/auth/me").await.ok(200)["plan"] == "teams").await;
    assert_eq!(noted(&deployment, "orgs.set-plan", "contract 7").await, 1);

    let skill = json!({ "name": "Summary", "promptTemplate": "Summarise in one line: {{text}}" });
    let skill = ada.post("/api/v1/skills", skill).await.ok(201)["id"].as_str().unwrap().to_owned();
    ada.post(&format!("/api/v1/skills/{skill}/execute"), json!({})).await.ok(202);
    let usage = deployment.kijko(&["orgs", "usage", organization, "--reason", "invoice", "--json"]).await.json(0);
    assert_eq!(usage["metrics"][0], json!({ "metric": "api_calls", "used": 1, "limit": 50_000 }));
    assert!(usage["budget"]["spentUsd"].is_string() && usage["budget"].get("limitUsd").is_none(), "{usage}");
    let told = deployment.kijko(&["orgs", "usage", organization]).await.exits(0);
    assert!(told.contains("api_calls") && told.contains("no budget"), "{told}");
    assert_eq!(noted(&deployment, "orgs.usage", "invoice").await, 1);

    let create = ["orgs", "create", "Analytical Engines", "--owner", "ada@example.com", "--plan", "pro", "--json"];
    let created = deployment.kijko(&create).await.json(0);
    assert_eq!((&created["ownerEmail"], &created["members"]), (&json!("ada@example.com"), &json!(1)));
    let new = created["id"].as_str().unwrap();
    assert!(deployment.kijko(&["orgs", "list", "--search", "engines"]).await.exits(0).contains("Analytical Engines"));
    assert!(deployment.kijko(&["orgs", "show", new]).await.exits(0).contains("pro"));
    let members = deployment.kijko(&["orgs", "members", new, "--json"]).await.json(0);
    assert_eq!((&members[0]["email"], &members[0]["role"]), (&json!("ada@example.com"), &json!("owner")));
    assert_eq!(
        deployment.kijko(&["users", "show", "ada@example.com", "--json"]).await.json(0)["memberships"][1]["organizationId"],
        *new
    );
    deployment.kijko(&["orgs", "show", "00000000-0000-4000-8000-000000000000"]).await.exits(66);
    deployment.kijko(&["orgs", "show", "seven"]).await.exits(2);
}

#[tokio::test]
async fn api_keys_are_made_listed_and_ended_for_people() {
    let deployment = Deployment::new(&[]).await;
    let server = deployment.server(&[]).await;
    let (ada, _) = sign_up(&server, "ada@example.com").await;
    let owner = ["--user", "ada@example.com"];
    let create =
        [&["keys", "create"], &owner[..], &["--name", "Nightly", "--scope", "read", "--scope", "write"]].concat();
    let text =
        deployment.kijko(&[&create[..], &["--expires-in-days", "7", "--reason", "ticket 9"]].concat()).await.exits(0);
    let key = text.lines().find(|line| line.starts_with("kijko_test_")).expect("the key is shown").to_owned();
    server.with_token(&key).get("/api/v1/skills").await.ok(200);
    deployment.kijko(&[&create[..], &["--expires-in-days", "366"]].concat()).await.exits(65);

    let listed = deployment.kijko(&[&["keys", "list"], &owner[..], &["--json"]].concat()).await.json(0);
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["name"]), (1, &json!("Nightly")));
    let table = deployment.kijko(&[&["keys", "list"], &owner[..]].concat()).await.exits(0);
    assert!(table.contains("read,write") && !table.contains(&key), "{table}");
    let id = listed[0]["id"].as_str().unwrap();
    let revoke = [&["keys", "revoke", id], &owner[..], &["--yes", "--reason", "ticket 10"]].concat();
    deployment.kijko(&revoke).await.exits(0);
    within(SOON, "it ends", async || server.with_token(&key).get("/api/v1/skills").await.status == 401).await;
    deployment.kijko(&revoke).await.exits(66);
    assert_eq!(ada.get("/api/v1/security/api-keys").await.ok(200), json!([]));
    for (action, reason) in [("security.api_key_created", "ticket 9"), ("security.api_key_revoked", "ticket 10")] {
        assert_eq!(noted(&deployment, action, reason).await, 1, "{action}");
    }
    deployment.kijko(&["keys", "list", "--user", "nobody@example.com"]).await.exits(66);
}

#[tokio::test]
async fn the_signing_key_is_rotated_while_servers_run() {
    let deployment = Deployment::new(&[]).await;
    let (one, other) = tokio::join!(deployment.server(&[]), deployment.server(&[]));
    let (ada, _) = sign_up(&one, "ada@example.com").await;
    deployment.kijko(&["keys", "rotate-signing"]).await.exits(64);
    let rotated = deployment.kijko(&["keys", "rotate-signing", "--yes", "--reason", "yearly", "--json"]).await.json(0);
    assert!(rotated["previousVerifiesUntil"].is_string(), "{rotated}");
    for server in [&one, &other] {
        let published = async || {
            let keys = server.nobody().get("/.well-known/jwks.json").await.ok(200);
            keys["keys"].as_array().map_or(0, Vec::len)
        };
        within(SOON, "both keys are published", async || published().await == 2).await;
        server.with_token(&ada.token).get("/api/v1/auth/me").await.ok(200);
        let fresh = login(server, "ada@example.com", PASSWORD).await.ok(200);
        for verifier in [&one, &other] {
            verifier.with_token(fresh["access_token"].as_str().unwrap()).get("/api/v1/auth/me").await.ok(200);
        }
    }
    assert_eq!(deployment.count("signing_keys WHERE note LIKE '%yearly'").await, 1);
    let again = deployment.kijko(&["keys", "rotate-signing", "--yes"]).await.exits(73);
    assert!(again.contains("previousKeyVerifiesUntil"), "it says when: {again}");
    deployment.kijko(&["keys", "rotate-signing", "--at-once", "--yes"]).await.exits(0);
    within(SOON, "the old tokens end", async || ada.get("/api/v1/auth/me").await.status == 401).await;
}

/// Whether or not the realm can be reached: it is not asked.
#[tokio::test]
async fn people_and_passwords_of_a_realm_are_left_to_the_realm() {
    let realm = [
        ("KIJKO_AUTH_MODE", "keycloak"),
        ("KEYCLOAK_CLIENT_SECRET", "never used"),
        ("KEYCLOAK_URL", "http://127.0.0.1:9"),
    ];
    let deployment = Deployment::new(&realm).await;
    let create = ["users", "create", "ada@example.com", "--first-name", "Ada", "--last-name", "L"];
    let reset = ["users", "reset-password", "ada@example.com", "--yes"];
    for command in [&create[..], &reset[..]] {
        let said = deployment.kijko(&[command, &["--reason", "asked to"]].concat()).await.exits(65);
        assert!(said.contains("KIJKO_AUTH_MODE is keycloak"), "it says why: {said}");
        assert!(said.contains("looked after in Keycloak"), "and where to go: {said}");
    }
    assert_eq!((deployment.count("users").await, deployment.count("audit_logs").await), (0, 0));
}
