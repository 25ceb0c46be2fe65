//! The library of skills: all that belongs to one, copies, several at once, stars, runs of one skill, templates.

use axum::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Installation, Person, skill};

const MISSING: &str = "/api/v1/skills/11111111-1111-4111-8111-111111111111";

fn path(id: &str) -> String {
    format!("/api/v1/skills/{id}")
}

#[tokio::test]
async fn a_skill_comes_with_its_ten_latest_runs() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let (id, other) = (ada.create_skill("Summary").await, ada.create_skill("Other").await);
    let mut runs = Vec::new();
    for n in 0..12 {
        runs.push(ada.execute(&id, json!({ "text": n.to_string() })).await);
        app.advance(1);
        app.run_jobs().await;
    }
    ada.execute(&other, json!({ "text": "x" })).await;
    app.run_jobs().await;
    let full = ada.get(&format!("{}/full", path(&id))).await.ok(200);
    let skill = ada.get(&path(&id)).await.ok(200);
    for (member, value) in skill.as_object().unwrap() {
        assert_eq!(&full[member], value, "{member} is that of the skill");
    }
    assert_eq!((&full["habits"], &full["reflexes"]), (&json!([]), &json!([])));
    let recent: Vec<&str> =
        full["recentExecutions"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap()).collect();
    let expected: Vec<&str> = runs.iter().rev().take(10).map(String::as_str).collect();
    assert_eq!(recent, expected, "the latest ten, newest first");
    assert!(full["recentExecutions"][0].get("skill").is_none(), "the skill is not repeated in each run");
    ada.get(&format!("{MISSING}/full")).await.refused(404, "SKILL_NOT_FOUND");

    let page = ada.get(&format!("{}/executions", path(&id))).await.ok(200);
    assert_eq!((page["executions"].as_array().unwrap().len(), &page["total"]), (10, &json!(12)));
    let page = ada.get(&format!("{}/executions?limit=2&offset=11", path(&id))).await.ok(200);
    assert_eq!((&page["executions"][0]["id"], &page["executions"][1]), (&json!(runs[0]), &Value::Null));
    let mut members: Vec<&String> = page.as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["executions", "total"]);
    for (query, field) in [("limit=0", "limit"), ("limit=101", "limit"), ("offset=-1", "offset")] {
        let refused = ada.get(&format!("{}/executions?{query}", path(&id))).await;
        refused.refused_field(422, "VALIDATION_ERROR", field);
    }
    ada.get(&format!("{MISSING}/executions")).await.refused(404, "SKILL_NOT_FOUND");
}

#[tokio::test]
async fn a_copy_has_the_content_and_nothing_of_the_life_of_the_original() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let body = json!({
        "name": "Review", "description": "Reads code", "category": "analysis", "model": "claude-3-opus-20240229",
        "promptTemplate": "Review this {{language}} code: {{code}}", "parameters": { "temperature": 0.3, "top_k": 5 },
        "inputSchema": [{ "name": "code", "type": "string", "default": "x" }], "outputFormat": "code",
    });
    let original = ada.post("/api/v1/skills", body).await.ok(201);
    let id = original["id"].as_str().unwrap();
    ada.put(&path(id), json!({ "promptTemplate": "Review this {{language}} code again: {{code}}" })).await.ok(200);
    ada.execute(id, json!({ "language": "Rust" })).await;
    app.run_jobs().await;
    ada.put(&format!("{}/star", path(id)), json!({})).await.ok(200);
    ada.put(&path(id), json!({ "isActive": false })).await.ok(200);
    app.advance(60);
    let original = ada.get(&path(id)).await.ok(200);

    let reply = ada.call(Method::POST, &format!("{}/duplicate", path(id)), None).await;
    let location = reply.header("location").unwrap().to_owned();
    assert_eq!(reply.header("etag"), Some("\"1\""));
    let copy = reply.ok(201);
    assert_eq!(ada.get(&location).await.ok(200), copy);
    let content =
        ["description", "category", "promptTemplate", "model", "parameters", "inputSchema", "outputFormat", "isActive"];
    for member in content {
        assert_eq!(copy[member], original[member], "{member} is copied");
    }
    assert_eq!(copy["name"], "Review (Copy)");
    assert_ne!(copy["id"], original["id"]);
    assert_eq!((&copy["executionCount"], &copy["starCount"], &copy["version"]), (&json!(0), &json!(0), &json!(1)));
    assert!(copy.get("lastExecutedAt").is_none() && copy["createdAt"] != original["createdAt"]);

    let duplicate = format!("{}/duplicate", path(id));
    ada.post(&duplicate, json!({})).await.refused_field(409, "SKILL_NAME_EXISTS", "name");
    let named = ada.post(&duplicate, json!({ "newName": " Other " })).await.ok(201);
    assert_eq!(named["name"], "Other");
    ada.post(&duplicate, json!({ "newName": "OTHER" })).await.refused_field(409, "SKILL_NAME_EXISTS", "name");
    ada.post(&duplicate, json!({ "newName": "" })).await.refused_field(422, "VALIDATION_ERROR", "name");
    ada.post(&duplicate, json!({ "newName": 5 })).await.refused_field(422, "VALIDATION_ERROR", "newName");
    ada.post(&format!("{MISSING}/duplicate"), json!({})).await.refused(404, "SKILL_NOT_FOUND");
    ada.put(&path(id), json!({ "name": "x".repeat(100) })).await.ok(200);
    let long = ada.post(&duplicate, json!({})).await.ok(201);
    assert_eq!(long["name"], format!("{} (Copy)", "x".repeat(93)));

    let first = ada.post_once(&duplicate, "copy", json!({ "newName": "Once" })).await.ok(201);
    assert_eq!(ada.post_once(&duplicate, "copy", json!({ "newName": "Once" })).await.ok(201), first);
    ada.post_once(&duplicate, "copy", json!({ "newName": "Twice" })).await.refused(409, "IDEMPOTENCY_CONFLICT");
}

#[tokio::test]
async fn several_skills_are_switched_at_once() {
    let app = Installation::new().await;
    let (ada, eve) = (app.owner().await, app.stranger().await);
    let colleague = app.member(&ada, "member").await;
    let mine = [ada.create_skill("A").await, ada.create_skill("B").await, ada.create_skill("C").await];
    let foreign = [eve.create_skill("A").await, colleague.create_skill("A").await];
    let before = ada.get(&path(&mine[0])).await.ok(200);
    app.advance(5);
    let ids =
        json!([mine[0], mine[1], mine[0], foreign[0], foreign[1], "11111111-1111-4111-8111-111111111111", "no id"]);
    let off = ada.post("/api/v1/skills/bulk/deactivate", json!({ "skillIds": ids })).await.ok(200);
    assert_eq!(off, json!({ "success": true, "count": 2 }), "each once, and only one's own");
    for (id, active) in [(&mine[0], false), (&mine[1], false), (&mine[2], true)] {
        assert_eq!(ada.get(&path(id)).await.ok(200)["isActive"], active);
    }
    for (person, id) in [(&eve, &foreign[0]), (&colleague, &foreign[1])] {
        assert_eq!(person.get(&path(id)).await.ok(200)["isActive"], true);
    }
    let after = ada.get(&path(&mine[0])).await.ok(200);
    assert_ne!(after["updatedAt"], before["updatedAt"]);
    assert_eq!((&after["revision"], &after["version"]), (&json!(2), &json!(1)), "an edit, and no new definition");
    let on = ada.post("/api/v1/skills/bulk/activate", json!({ "skill_ids": mine })).await.ok(200);
    assert_eq!(on["count"], 3, "those that were on already count as well");
    for (ids, field) in [
        (json!([]), "skillIds"),
        (json!(vec!["x"; 101]), "skillIds"),
        (json!("x"), "skillIds"),
        (json!([5]), "skillIds[0]"),
    ] {
        let refused = ada.post("/api/v1/skills/bulk/activate", json!({ "skillIds": ids })).await;
        refused.refused_field(422, "VALIDATION_ERROR", field);
    }
    let bulk = "/api/v1/skills/bulk/deactivate";
    ada.post_once(bulk, "off", json!({ "skillIds": [mine[0]] })).await.ok(200);
    ada.post("/api/v1/skills/bulk/activate", json!({ "skillIds": mine })).await.ok(200);
    assert_eq!(ada.post_once(bulk, "off", json!({ "skillIds": [mine[0]] })).await.ok(200)["count"], 1);
    assert_eq!(ada.get(&path(&mine[0])).await.ok(200)["isActive"], true, "a repeated request does nothing again");
    ada.post_once(bulk, "off", json!({ "skillIds": [mine[1]] })).await.refused(409, "IDEMPOTENCY_CONFLICT");
}

#[tokio::test]
async fn several_skills_are_deleted_with_their_waiting_runs() {
    let app = Installation::new().await;
    let (ada, eve) = (app.owner().await, app.stranger().await);
    let mine = [ada.create_skill("A").await, ada.create_skill("B").await, ada.create_skill("C").await];
    let foreign = eve.create_skill("A").await;
    ada.put(&format!("{}/star", path(&mine[0])), json!({})).await.ok(200);
    let done = ada.execute(&mine[0], json!({ "text": "x" })).await;
    app.run_jobs().await;
    let mut waiting = Vec::new();
    for id in [&mine[0], &mine[0], &mine[1], &mine[2]] {
        waiting.push(ada.execute(id, json!({ "text": "x" })).await);
    }
    let body = json!({ "skillIds": [mine[0], mine[1], foreign, mine[0]] });
    let gone = ada.call(Method::DELETE, &format!("/api/v1/skills/bulk?ids={}", mine[2]), Some(body)).await.ok(200);
    assert_eq!(gone, json!({ "success": true, "count": 2 }), "the body wins over the query");
    assert_eq!(ada.get("/api/v1/skills").await.ok(200)["total"], 1);
    eve.get(&path(&foreign)).await.ok(200);
    for run in &waiting[..3] {
        let run = ada.execution(run).await;
        assert_eq!((&run["status"], &run["errorCode"]), (&json!("cancelled"), &json!("SKILL_DELETED")));
    }
    assert_eq!(ada.execution(&done).await["status"], "completed", "what was done stays");
    assert_eq!(ada.execution(&waiting[3]).await["status"], "pending");
    assert_eq!(app.count("skill_stars").await, 0);
    app.run_jobs().await;
    let listed = format!("/api/v1/skills/bulk?ids={},%20{foreign},nonsense", mine[2]);
    assert_eq!(ada.delete(&listed).await.ok(200)["count"], 1);
    assert_eq!(ada.delete(&listed).await.ok(200)["count"], 0, "nothing is left to delete");
    ada.delete("/api/v1/skills/bulk").await.refused_field(422, "VALIDATION_ERROR", "skillIds");
}

#[tokio::test]
async fn bulk_operations_that_overlap_wait_for_each_other() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(ada.create_skill(&format!("S{n}")).await);
    }
    let reversed: Vec<&String> = ids.iter().rev().collect();
    let bulk = |verb: &str, ids: Value| {
        let (ada, path) = (ada.clone(), format!("/api/v1/skills/bulk/{verb}"));
        async move { ada.post(&path, json!({ "skillIds": ids })).await.ok(200)["count"].clone() }
    };
    for _ in 0..5 {
        let all = tokio::join!(
            bulk("activate", json!(ids)),
            bulk("deactivate", json!(reversed)),
            bulk("activate", json!(reversed)),
            bulk("deactivate", json!(ids))
        );
        assert_eq!(all, (json!(20), json!(20), json!(20), json!(20)));
    }
}

async fn star(person: &Person, id: &str, on: bool) -> Value {
    let method = if on { Method::PUT } else { Method::DELETE };
    person.call(method, &format!("{}/star", path(id)), None).await.ok(200)
}

#[tokio::test]
async fn a_star_is_given_once_and_changes_nothing_else() {
    let app = Installation::new().await;
    let (ada, eve) = (app.owner().await, app.stranger().await);
    let colleague = app.member(&ada, "member").await;
    let (first, second) = (ada.create_skill("A").await, ada.create_skill("B").await);
    let before = ada.get(&path(&first)).await;
    app.advance(10);
    for _ in 0..2 {
        assert_eq!(star(&ada, &first, true).await, json!({ "starred": true, "starCount": 1 }));
    }
    app.advance(10);
    star(&ada, &second, true).await;
    assert_eq!(ada.get("/api/v1/skills/starred").await.ok(200), json!({ "skillIds": [second, first] }));
    let after = ada.get(&path(&first)).await;
    assert_eq!(after.header("etag"), before.header("etag"), "a star is no edit");
    assert_eq!((&after.body["updatedAt"], &after.body["starCount"]), (&before.body["updatedAt"], &json!(1)));
    for _ in 0..2 {
        assert_eq!(star(&ada, &first, false).await, json!({ "starred": false, "starCount": 0 }));
    }
    assert_eq!(ada.get("/api/v1/skills/starred").await.ok(200), json!({ "skillIds": [second] }));
    let popular = ada.get("/api/v1/skills?sort=popular").await.ok(200);
    assert_eq!(popular["skills"][0]["id"], second, "the list can begin with the starred ones");
    for other in [&eve, &colleague] {
        for method in [Method::PUT, Method::DELETE] {
            let refused = other.call(method, &format!("{}/star", path(&second)), None).await;
            refused.refused(404, "SKILL_NOT_FOUND");
        }
        assert_eq!(other.get("/api/v1/skills/starred").await.ok(200), json!({ "skillIds": [] }));
    }
    ada.put("/api/v1/skills/nonsense/star", json!({})).await.refused(404, "SKILL_NOT_FOUND");
    assert_eq!(app.count("skill_stars").await, 1);
}

#[tokio::test]
async fn stars_are_counted_exactly_in_a_race() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let id = ada.create_skill("A").await;
    for round in 0..5 {
        join_all((0..20).map(|n| star(&ada, &id, (n + round) % 2 == 0))).await;
        let stars = app.count("skill_stars").await;
        assert_eq!(ada.get(&path(&id)).await.ok(200)["starCount"], stars, "the count is the number of stars");
    }
    join_all((0..10).map(|_| star(&ada, &id, true))).await;
    assert_eq!(ada.get(&path(&id)).await.ok(200)["starCount"], 1);
}

#[tokio::test]
async fn templates_are_listed_searched_and_make_skills_that_run() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let viewer = app.member(&ada, "viewer").await;
    let all = viewer.get("/api/v1/skills/templates").await.ok(200);
    let ids = |list: &Value| -> Vec<String> {
        list["templates"].as_array().unwrap().iter().map(|t| t["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&all).len(), 8);
    let tags: Vec<&str> = all["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
    assert!(tags.is_sorted() && tags.contains(&"sql") && tags.len() == 20, "each tag once, sorted: {tags:?}");
    let found = async |query: &str| {
        let list = ada.get(&format!("/api/v1/skills/templates?{query}")).await.ok(200);
        assert_eq!(list["tags"], all["tags"], "the tags are those of the whole set");
        ids(&list)
    };
    assert_eq!(found("category=analysis").await, ["code-reviewer", "data-analyzer"]);
    assert_eq!(found("search=CODE-rev").await, ["code-reviewer"], "by a tag, ignoring case");
    assert_eq!(found("search=composer&category=communication").await, ["email-composer"]);
    assert_eq!(found("search=composer&category=analysis").await, Vec::<String>::new());
    assert_eq!(found("search=%20").await.len(), 8);
    ada.get("/api/v1/skills/templates?category=none").await.refused_field(422, "VALIDATION_ERROR", "category");
    ada.get("/api/v1/skills/templates/none").await.refused(404, "TEMPLATE_NOT_FOUND");
    for id in ids(&all) {
        let template = ada.get(&format!("/api/v1/skills/templates/{id}")).await.ok(200);
        let mut body = skill(template["name"].as_str().unwrap());
        for member in ["promptTemplate", "inputSchema", "category", "outputFormat", "description"] {
            body[member] = template[member].clone();
        }
        let made = ada.post("/api/v1/skills", body).await.ok(201);
        let fields = template["inputSchema"].as_array().unwrap().iter().filter(|field| field["required"] == true);
        let input = fields.map(|field| (field["name"].as_str().unwrap().to_owned(), json!("something"))).collect();
        let run = ada.execute(made["id"].as_str().unwrap(), Value::Object(input)).await;
        app.run_jobs().await;
        assert_eq!(ada.execution(&run).await["status"], "completed", "{id} runs with its required variables alone");
    }
}

#[tokio::test]
async fn a_viewer_may_look_at_the_library_and_change_nothing() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let id = ada.create_skill("A").await;
    app.sql(&format!("UPDATE organization_members SET role = 'viewer' WHERE user_id = '{}'", ada.user_id())).await;
    let viewer = app.signed_in_again(&ada).await;
    for below in ["full", "executions", "export"] {
        viewer.get(&format!("{}/{below}", path(&id))).await.ok(200);
    }
    let selection = json!({ "skillIds": [id] });
    for (method, path, body) in [
        (Method::POST, format!("{}/duplicate", path(&id)), json!({})),
        (Method::PUT, format!("{}/star", path(&id)), json!({})),
        (Method::DELETE, format!("{}/star", path(&id)), json!({})),
        (Method::POST, "/api/v1/skills/bulk/activate".to_owned(), selection.clone()),
        (Method::POST, "/api/v1/skills/bulk/deactivate".to_owned(), selection.clone()),
        (Method::DELETE, "/api/v1/skills/bulk".to_owned(), selection),
        (Method::POST, "/api/v1/skills/import".to_owned(), json!({ "version": "1.0", "skill": skill("B") })),
    ] {
        viewer.call(method, &path, Some(body)).await.refused(403, "FORBIDDEN");
    }
}
