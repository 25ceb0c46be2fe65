//! What a skill sent to a model never gets lost: each change of its definition makes a version that nobody can change,
//! and every run says which one it ran.

use serde_json::{Value, json};
use sqlx::ConnectOptions;

use crate::harness::{Installation, Person, cluster};

const FIRST: &str = "Summarise in one line: {{text}}";

async fn new_skill(person: &Person) -> (String, String) {
    let id = person.create_skill("Summary").await;
    (format!("/api/v1/skills/{id}"), id)
}

async fn numbers(person: &Person, path: &str) -> Vec<i64> {
    let page = person.get(&format!("{path}/versions")).await.ok(200);
    page["versions"].as_array().unwrap().iter().map(|version| version["number"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn a_change_of_the_definition_makes_a_version_and_nothing_else_does() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let (path, _) = new_skill(&ada).await;
    let schema = json!([{ "name": "text", "type": "string" }]);
    for (version, body) in [
        (1, json!({})),
        (1, json!({ "name": "Renamed", "description": "d", "category": "analysis", "outputFormat": "text" })),
        (1, json!({ "isActive": false })),
        (1, json!({ "promptTemplate": FIRST, "parameters": { "temperature": 1, "max_tokens": 4096 } })),
        (2, json!({ "promptTemplate": "Summarise in two lines: {{text}}" })),
        (3, json!({ "model": "another" })),
        (4, json!({ "parameters": {} })),
        (5, json!({ "inputSchema": schema })),
        (5, json!({ "inputSchema": schema, "model": "another" })),
        (6, json!({ "inputSchema": null })),
        (7, json!({ "model": "third", "promptTemplate": FIRST, "name": "Again" })),
    ] {
        let changed = ada.put(&path, body.clone()).await.ok(200);
        assert_eq!(changed["version"], version, "after {body}");
        assert_eq!(app.count("skill_versions").await, version - 1, "no definition is stored twice, after {body}");
    }
    assert_eq!(numbers(&ada, &path).await, [7, 6, 5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn a_version_says_what_it_was_whose_and_since_when() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let (path, _) = new_skill(&ada).await;
    let created = ada.get(&path).await.ok(200);
    app.advance(60);
    let changed = ada.put(&path, json!({ "model": "another", "inputSchema": [{ "name": "text", "type": "string" }] }));
    let changed = changed.await.ok(200);
    app.advance(60);
    ada.put(&path, json!({ "description": "no new version" })).await.ok(200);

    let first = json!({
        "number": 1, "authorId": ada.user_id(), "createdAt": created["createdAt"], "isCurrent": false,
        "promptTemplate": FIRST, "model": "claude-3-5-sonnet-20241022",
        "parameters": { "temperature": 1, "max_tokens": 4096 },
    });
    let second = json!({
        "number": 2, "authorId": ada.user_id(), "createdAt": changed["updatedAt"], "isCurrent": true,
        "promptTemplate": FIRST, "model": "another", "parameters": { "temperature": 1, "max_tokens": 4096 },
        "inputSchema": [{ "name": "text", "type": "string" }],
    });
    assert_eq!(ada.get(&format!("{path}/versions/1")).await.ok(200), first);
    assert_eq!(ada.get(&format!("{path}/versions/2")).await.ok(200), second);
    let without_definition = |version: &Value| {
        let members = ["number", "authorId", "createdAt", "isCurrent"];
        Value::Object(members.map(|member| (member.to_owned(), version[member].clone())).into_iter().collect())
    };
    assert_eq!(
        ada.get(&format!("{path}/versions")).await.ok(200),
        json!({ "versions": [without_definition(&second), without_definition(&first)],
                "total": 2, "page": 1, "pageSize": 20, "hasMore": false })
    );
    for number in ["0", "3", "-1", "99999999999999", "two", "1.0"] {
        ada.get(&format!("{path}/versions/{number}")).await.refused(404, "VERSION_NOT_FOUND");
        ada.post(&format!("{path}/versions/{number}/restore"), json!({})).await.refused(404, "VERSION_NOT_FOUND");
    }
}

#[tokio::test]
async fn versions_come_in_pages() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let (path, _) = new_skill(&ada).await;
    for n in 2..=7 {
        ada.put(&path, json!({ "model": format!("model {n}") })).await.ok(200);
    }
    let page = async |query: &str| {
        let page = ada.get(&format!("{path}/versions{query}")).await.ok(200);
        let numbers = page["versions"].as_array().unwrap().iter().map(|version| version["number"].clone()).collect();
        (Value::Array(numbers), page["total"].clone(), page["hasMore"].clone())
    };
    assert_eq!(page("?pageSize=3").await, (json!([7, 6, 5]), json!(7), json!(true)));
    assert_eq!(page("?pageSize=3&page=2").await, (json!([4, 3, 2]), json!(7), json!(true)));
    assert_eq!(page("?page_size=3&page=3").await, (json!([1]), json!(7), json!(false)));
    assert_eq!(page("?page=4294967295&pageSize=100").await, (json!([]), json!(7), json!(false)));
    ada.get(&format!("{path}/versions?page=0")).await.refused_field(422, "VALIDATION_ERROR", "page");
    ada.get(&format!("{path}/versions?pageSize=101")).await.refused_field(422, "VALIDATION_ERROR", "pageSize");
}

#[tokio::test]
async fn the_difference_of_two_versions_is_readable() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let (path, _) = new_skill(&ada).await;
    let prompt = "You write summaries.\nKeep names.\n\n{{text}}";
    ada.put(&path, json!({ "promptTemplate": prompt })).await.ok(200);
    let changed = json!({
        "promptTemplate": "You write summaries.\nKeep names and numbers.\n\n{{text}}", "model": "another",
        "parameters": { "temperature": 0.5, "max_tokens": 4096 },
        "inputSchema": [{ "name": "text", "type": "string" }],
    });
    ada.put(&path, changed).await.ok(200);
    let diff = ada.get(&format!("{path}/versions/2/diff/3")).await.ok(200);
    assert_eq!((&diff["from"]["number"], &diff["to"]["number"]), (&json!(2), &json!(3)));
    assert_eq!(
        diff["promptDiff"],
        "--- version 2\n+++ version 3\n@@ -1,4 +1,4 @@\n You write summaries.\n-Keep names.\n+Keep names and numbers.\n \n \
         {{text}}\n\\ No newline at end of file\n"
    );
    assert_eq!(
        diff["changes"],
        json!([
            { "field": "model", "old": "claude-3-5-sonnet-20241022", "new": "another" },
            { "field": "parameters.temperature", "old": 1, "new": 0.5 },
            { "field": "inputSchema.text", "new": { "name": "text", "type": "string" } },
        ])
    );
    let same = ada.get(&format!("{path}/versions/2/diff/2")).await.ok(200);
    assert_eq!((&same["promptDiff"], &same["changes"]), (&json!(""), &json!([])));
    for missing in ["1/diff/9", "9/diff/1", "1/diff/two", "one/diff/2"] {
        ada.get(&format!("{path}/versions/{missing}")).await.refused(404, "VERSION_NOT_FOUND");
    }
}

#[tokio::test]
async fn restoring_makes_a_new_version_of_the_old_definition() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let (path, _) = new_skill(&ada).await;
    let changed = json!({ "name": "Renamed", "description": "kept", "model": "another", "parameters": { "top_k": 3 },
                          "promptTemplate": "Something else: {{text}}", "inputSchema": [] });
    ada.put(&path, changed).await.ok(200);
    let restored = ada.post(&format!("{path}/versions/1/restore"), json!({})).await.ok(200);
    assert_eq!((&restored["version"], &restored["name"]), (&json!(3), &json!("Renamed")));
    assert_eq!((&restored["promptTemplate"], &restored["description"]), (&json!(FIRST), &json!("kept")));
    assert_eq!(restored["parameters"], json!({ "temperature": 1, "max_tokens": 4096 }));
    assert!(restored.get("inputSchema").is_none(), "that there was no schema is part of the definition");
    assert_eq!(ada.get(&path).await.ok(200), restored);
    let diff = ada.get(&format!("{path}/versions/1/diff/3")).await.ok(200);
    assert_eq!((&diff["promptDiff"], &diff["changes"]), (&json!(""), &json!([])));
    let current = ada.post(&format!("{path}/versions/3/restore"), json!({})).await.ok(200);
    assert_eq!(current["version"], 3, "nothing changed, so nothing is kept");
    assert_eq!(app.count("skill_versions").await, 2);
}

#[tokio::test]
async fn a_restoration_that_is_asked_for_twice_with_one_key_happens_once() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let (path, _) = new_skill(&ada).await;
    ada.put(&path, json!({ "model": "second" })).await.ok(200);
    ada.put(&path, json!({ "model": "third" })).await.ok(200);
    let restore = |number: i32| format!("{path}/versions/{number}/restore");
    let first = restore(1);
    let attempts = (0..6).map(|_| ada.post_once(&first, "back", json!({})));
    let replies: Vec<Value> =
        futures_util::future::join_all(attempts).await.into_iter().map(|reply| reply.ok(200)).collect();
    assert!(replies.iter().all(|reply| reply["revision"] == 4), "one edit, however often it was asked for");
    ada.post_once(&restore(2), "back", json!({})).await.refused(409, "IDEMPOTENCY_CONFLICT");
    assert_eq!(ada.get(&path).await.ok(200)["revision"], 4);
}

#[tokio::test]
async fn a_run_says_which_version_it_ran() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let (path, id) = new_skill(&ada).await;
    let first = ada.execute(&id, json!({ "text": "x" })).await;
    app.run_jobs().await;
    let waiting = ada.execute(&id, json!({ "text": "x" })).await;
    assert!(ada.execution(&waiting).await.get("skillVersion").is_none(), "nobody knows yet what it will run");
    ada.put(&path, json!({ "promptTemplate": "A second version: {{text}}" })).await.ok(200);
    app.run_jobs().await;
    app.advance(1);
    let last = ada.execute(&id, json!({ "text": "x" })).await;
    app.run_jobs().await;
    for (run, version) in [(&first, 1), (&waiting, 2), (&last, 2)] {
        assert_eq!(ada.execution(run).await["skillVersion"], version, "a run that waited runs the new definition");
    }
    let listed = ada.get("/api/v1/executions").await.ok(200);
    assert_eq!(listed["executions"][0]["skillVersion"], 2);
    ada.put(&path, json!({ "isActive": false })).await.ok(200);
    assert_eq!(ada.execution(&first).await["skillVersion"], 1, "and stays what it was");
}

#[tokio::test]
async fn versions_go_with_their_skill_and_the_runs_keep_their_number() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let (path, id) = new_skill(&ada).await;
    ada.put(&path, json!({ "model": "claude-3-opus-20240229" })).await.ok(200);
    let run = ada.execute(&id, json!({ "text": "x" })).await;
    app.run_jobs().await;
    ada.delete(&path).await.ok(200);
    assert_eq!(app.count("skill_versions").await, 0);
    assert_eq!(ada.execution(&run).await["skillVersion"], 2);
    ada.get(&format!("{path}/versions")).await.refused(404, "SKILL_NOT_FOUND");
    ada.get(&format!("{path}/versions/1")).await.refused(404, "SKILL_NOT_FOUND");
    ada.get(&format!("{path}/versions/1/diff/2")).await.refused(404, "SKILL_NOT_FOUND");
    ada.post(&format!("{path}/versions/1/restore"), json!({})).await.refused(404, "SKILL_NOT_FOUND");
}

#[tokio::test]
async fn nobody_else_sees_or_restores_a_version() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let (colleague, stranger) = (app.member(&ada, "admin").await, app.stranger().await);
    let (path, _) = new_skill(&ada).await;
    ada.put(&path, json!({ "model": "another" })).await.ok(200);
    for other in [&colleague, &stranger] {
        for below in ["versions", "versions/1", "versions/2", "versions/1/diff/2"] {
            other.get(&format!("{path}/{below}")).await.refused(404, "SKILL_NOT_FOUND");
        }
        other.post(&format!("{path}/versions/1/restore"), json!({})).await.refused(404, "SKILL_NOT_FOUND");
    }
    app.sql(&format!("UPDATE organization_members SET role = 'viewer' WHERE user_id = '{}'", ada.user_id())).await;
    let demoted = app.signed_in_again(&ada).await;
    demoted.get(&format!("{path}/versions/1")).await.ok(200);
    demoted.post(&format!("{path}/versions/1/restore"), json!({})).await.refused(403, "FORBIDDEN");
}

/// As the role that works for people, in their own context: it may read, and the database itself does the rest.
#[tokio::test]
async fn a_version_cannot_be_written_changed_or_removed() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let (path, id) = new_skill(&ada).await;
    ada.put(&path, json!({ "model": "second" })).await.ok(200);
    let mut conn = cluster::options("kijko_app", &app.database).connect().await.unwrap();
    let opening = format!(
        "BEGIN; SET LOCAL ROLE kijko_tenant; SET LOCAL app.current_org_id = '{}'; SET LOCAL app.current_user_id = '{}'",
        ada.organization_id(),
        ada.user_id()
    );
    let mut attempt = async |statement: &str| {
        sqlx::raw_sql(sqlx::AssertSqlSafe(opening.clone())).execute(&mut conn).await.unwrap();
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut conn).await;
        sqlx::raw_sql("COMMIT").execute(&mut conn).await.unwrap();
        done.map(|done| done.rows_affected()).map_err(|error| error.to_string())
    };
    for forbidden in [
        "UPDATE skill_versions SET model = 'forged'",
        "DELETE FROM skill_versions",
        "TRUNCATE skill_versions",
        "UPDATE skills SET version = 1",
        "UPDATE skills SET versioned_at = now()",
        "UPDATE skills SET revision = 1",
        &format!(
            "INSERT INTO skill_versions SELECT organization_id, skill_id, 9, user_id, prompt_template, 'forged', false, NULL, parameters,
                    input_schema, created_at FROM skill_versions WHERE skill_id = '{id}'"
        ),
    ] {
        let refused = attempt(forbidden).await.expect_err(forbidden);
        assert!(refused.contains("permission denied"), "{forbidden}: {refused}");
    }
    // Past every rule of the program: the old definition is kept all the same.
    assert_eq!(attempt("UPDATE skills SET model = 'third'").await, Ok(1));
    assert_eq!(numbers(&ada, &path).await, [3, 2, 1]);
    assert_eq!(ada.get(&format!("{path}/versions/2")).await.ok(200)["model"], "second");
}

#[tokio::test]
async fn parallel_edits_leave_no_gap_and_lose_no_version() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let (path, _) = new_skill(&ada).await;
    let bodies: Vec<Value> = (0..20).map(|n| json!({ "model": format!("model {n}") })).collect();
    for reply in futures_util::future::join_all(bodies.iter().map(|body| ada.put(&path, body.clone()))).await {
        reply.ok(200);
    }
    assert_eq!(numbers(&ada, &path).await, (2..=21).rev().collect::<Vec<_>>());
    let mut models = Vec::new();
    for number in 2..=21 {
        let version = ada.get(&format!("{path}/versions/{number}")).await.ok(200);
        models.push(json!({ "model": version["model"] }));
    }
    assert!(bodies.iter().all(|body| models.contains(body)), "each of them is one version: {models:?}");
}
