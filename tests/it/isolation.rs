//! Two organisations with two people each: no request of one ever shows or changes anything of the other, nor of the
//! colleague whose skills are private. The list of routes is the OpenAPI document.

use serde_json::{Value, json};

use crate::access::operations;
use crate::harness::{Installation, Person};

/// Something of every kind, belonging to one person.
struct Belongings {
    skill: String,
    executions: Vec<String>,
}

async fn belongings(app: &Installation, person: &Person) -> Belongings {
    let skill = person.create_skill("Secret plans").await;
    person.put(&format!("/api/v1/skills/{skill}"), json!({ "model": "claude-3-opus-20240229" })).await.ok(200);
    person.put(&format!("/api/v1/skills/{skill}/star"), json!({})).await.ok(200);
    let mut executions = vec![person.execute(&skill, json!({ "text": "TOP-SECRET" })).await];
    app.run_jobs().await;
    executions.push(person.execute(&skill, json!({ "text": "TOP-SECRET" })).await);
    Belongings { skill, executions }
}

/// Every row of every table, except what signing in and asking leaves behind.
async fn everything(app: &Installation) -> Vec<String> {
    let sql = "SELECT 'skills ' || s::text FROM skills s UNION ALL
               SELECT 'versions ' || v::text FROM skill_versions v UNION ALL
               SELECT 'stars ' || t::text FROM skill_stars t UNION ALL
               SELECT 'executions ' || e::text FROM skill_executions e UNION ALL
               SELECT 'members ' || m::text FROM organization_members m UNION ALL
               SELECT 'organizations ' || o::text FROM organizations o UNION ALL
               SELECT 'users ' || u::text FROM users u UNION ALL
               SELECT 'jobs ' || j.id || j.payload::text FROM graphile_worker._private_jobs j ORDER BY 1";
    sqlx::query_scalar(sql).fetch_all(&app.superuser).await.expect("the superuser sees all")
}

#[tokio::test]
async fn no_request_of_another_shows_or_changes_anything() {
    let mut app = Installation::new().await;
    app.leave_jobs();
    let owner = app.owner().await;
    let colleague = app.member(&owner, "admin").await;
    let stranger = app.stranger().await;
    let strangers_colleague = app.member(&stranger, "member").await;
    let mine = belongings(&app, &owner).await;
    let before = everything(&app).await;

    let ids: Vec<&String> = mine.executions.iter().chain([&mine.skill]).collect();
    let mut tried = 0;
    for other in [&colleague, &stranger, &strangers_colleague] {
        for (method, path, _) in operations() {
            // One's own organisation has no id in its path: tests/it/team tells those of two apart.
            if path.contains("/auth/") || path == "/api/v1/team" {
                continue;
            }
            for id in &ids {
                let target = path.replace("{id}", id).replace("{number}", "1").replace("{other}", "2");
                let writes = method == "PUT" || method == "PATCH" || method == "DELETE" || path.contains('{');
                if method != "GET" && !writes {
                    continue;
                }
                let body = (method != "GET" && method != "DELETE")
                    .then(|| json!({ "name": "Mine now", "input": {}, "role": "viewer", "limitUsd": "1" }));
                let reply = other.call(method.parse().unwrap(), &target, body).await;
                tried += 1;
                assert!(!reply.text.contains("TOP-SECRET"), "{method} {target} shows a secret: {}", reply.text);
                assert!(!reply.text.contains("Secret plans"), "{method} {target} shows a name: {}", reply.text);
                if path.contains("{id}") {
                    // Whoever may not run their own team is told so, before anything is looked for.
                    let is_refused = path.contains("/team/") && reply.status == 403;
                    assert!(
                        reply.status == 404 || is_refused,
                        "{method} {target} must not even tell that it exists: {}",
                        reply.text
                    );
                }
            }
        }
        let skills = other.get("/api/v1/skills?pageSize=100&search=secret").await.ok(200);
        assert_eq!((&skills["total"], &skills["skills"]), (&json!(0), &json!([])));
        for (method, path) in [("POST", "/activate"), ("POST", "/deactivate"), ("DELETE", "")] {
            let path = format!("/api/v1/skills/bulk{path}");
            let selection = json!({ "skillIds": [mine.skill] });
            let reply = other.call(method.parse().unwrap(), &path, Some(selection)).await;
            assert_eq!(reply.ok(200)["count"], 0, "{path} found what is not theirs");
        }
        let executions = other.get(&format!("/api/v1/executions?skillId={}", mine.skill)).await.ok(200);
        assert_eq!(executions["total"], 0);
    }
    assert!(tried > 50, "the walk found only {tried} requests to try: is the document empty?");
    assert_eq!(everything(&app).await, before, "something was changed");
    assert_eq!(owner.get("/api/v1/skills").await.ok(200)["total"], 1, "and the owner still sees their own");
}

#[tokio::test]
async fn ids_of_another_organisation_in_a_body_reach_nothing() {
    let mut app = Installation::new().await;
    app.leave_jobs();
    let (owner, stranger) = (app.owner().await, app.stranger().await);
    let mine = belongings(&app, &owner).await;
    let theirs = stranger.create_skill("Theirs").await;
    let body = json!({ "skillId": mine.skill, "organizationId": owner.organization_id(), "userId": owner.user_id() });
    stranger.post(&format!("/api/v1/skills/{theirs}/execute"), body.clone()).await.refused_field(
        422,
        "VALIDATION_ERROR",
        "skillId",
    );
    let mut forged = crate::harness::skill("Forged");
    for member in ["organizationId", "userId"] {
        forged[member] = body[member].clone();
    }
    let created = stranger.post("/api/v1/skills", forged).await.ok(201);
    assert_eq!(created["userId"], Value::from(stranger.user_id()));
    let elsewhere = format!("skills WHERE name = 'Forged' AND organization_id = '{}'", owner.organization_id());
    assert_eq!(app.count(&elsewhere).await, 0);
}
