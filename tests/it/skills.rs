//! Skills: what is stored is what was sent, within the limits, for its owner alone.

use serde_json::{Value, json};

use crate::harness::{Installation, skill};

#[tokio::test]
async fn a_new_skill_has_the_documented_defaults() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let reply = ada.post("/api/v1/skills", skill("  Summary ")).await;
    let location = reply.header("location").expect("a new thing has an address").to_owned();
    let created = reply.ok(201);
    assert_eq!(location, format!("/api/v1/skills/{}", created["id"].as_str().unwrap()));
    let expected = json!({
        "id": created["id"], "userId": ada.user_id(), "name": "Summary", "category": "custom",
        "promptTemplate": "Summarise in one line: {{text}}", "model": "claude-3-5-sonnet-20241022",
        "parameters": { "temperature": 1, "max_tokens": 4096 }, "outputFormat": "markdown", "isActive": true,
        "isPublic": false, "version": 1, "revision": 1, "executionCount": 0, "starCount": 0,
        "createdAt": created["createdAt"], "updatedAt": created["updatedAt"],
    });
    assert_eq!(created, expected, "nothing is null, nothing is missing");
    assert_eq!(ada.get(&location).await.ok(200), expected);
    let stamp = created["createdAt"].as_str().unwrap();
    assert!(regex::Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$").unwrap().is_match(stamp), "{stamp}");
}

#[tokio::test]
async fn everything_that_is_sent_is_stored_and_nothing_else() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let sent = json!({
        "name": "Review", "description": "Reads code", "category": "analysis",
        "promptTemplate": "Review this {{language}} code: {{code}}", "model": "gpt-4",
        "parameters": { "temperature": 0.3, "max_tokens": 100, "top_p": 0.9, "top_k": 5, "stop_sequences": ["END"] },
        "inputSchema": [{ "name": "code", "type": "string", "required": true, "description": "the code" },
                        { "name": "language", "type": "string", "default": "Rust" }],
        "outputFormat": "code", "isActive": false,
    });
    let mut body = sent.clone();
    // What only the server may say.
    for (member, value) in [
        ("id", json!("11111111-1111-4111-8111-111111111111")),
        ("userId", json!("x")),
        ("executionCount", json!(99)),
        ("starCount", json!(99)),
        ("isPublic", json!(true)),
        ("organizationId", json!("x")),
        ("rating", json!(5)),
        ("createdAt", json!("2000-01-01T00:00:00Z")),
        ("lastExecutedAt", json!("2000-01-01T00:00:00Z")),
    ] {
        body[member] = value;
    }
    let created = ada.post("/api/v1/skills", body).await.ok(201);
    for (member, value) in sent.as_object().unwrap() {
        assert_eq!(&created[member], value, "{member} is stored as it was sent");
    }
    assert_eq!((&created["executionCount"], &created["isPublic"]), (&json!(0), &json!(false)));
    assert_eq!(created["userId"], ada.user_id());
    assert_ne!(created["id"], "11111111-1111-4111-8111-111111111111");
    assert!(created.get("lastExecutedAt").is_none() && created.get("rating").is_none());
}

#[tokio::test]
async fn snake_case_spellings_are_understood() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let body = json!({ "name": "Old", "prompt_template": "Summarise in one line: {{text}}", "is_active": false });
    let created = ada.post("/api/v1/skills", body).await.ok(201);
    assert_eq!(
        (&created["isActive"], &created["promptTemplate"]),
        (&json!(false), &json!("Summarise in one line: {{text}}"))
    );
}

#[tokio::test]
async fn a_name_is_unique_per_owner_ignoring_case_also_in_a_race() {
    let app = Installation::new().await;
    let (ada, eve) = (app.owner().await, app.stranger().await);
    let colleague = app.member(&ada, "member").await;
    let attempts = (0..20).map(|n| ada.post("/api/v1/skills", skill(if n % 2 == 0 { "Summary" } else { "SUMMARY" })));
    let replies = futures_util::future::join_all(attempts).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1, "exactly one of twenty wins");
    for reply in replies.into_iter().filter(|reply| reply.status != 201) {
        reply.refused_field(409, "SKILL_NAME_EXISTS", "name");
    }
    eve.post("/api/v1/skills", skill("Summary")).await.ok(201);
    colleague.post("/api/v1/skills", skill("Summary")).await.ok(201);
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_keeps_the_rest() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let body = json!({ "name": "A", "description": "old", "promptTemplate": "Summarise in one line: {{text}}",
                       "inputSchema": [{ "name": "text", "type": "string" }], "parameters": { "top_k": 3 } });
    let before = ada.post("/api/v1/skills", body).await.ok(201);
    let path = format!("/api/v1/skills/{}", before["id"].as_str().unwrap());

    app.advance(10);
    let after = ada.put(&path, json!({ "category": "analysis", "parameters": { "temperature": 0 } })).await.ok(200);
    assert_eq!(
        (&after["category"], &after["name"], &after["description"]),
        (&json!("analysis"), &json!("A"), &json!("old"))
    );
    assert_eq!(after["parameters"], json!({ "temperature": 0 }), "parameters are replaced as a whole");
    assert_ne!(after["updatedAt"], before["updatedAt"]);
    assert_eq!(after["createdAt"], before["createdAt"]);

    let cleared = ada.put(&path, json!({ "description": null, "inputSchema": null })).await.ok(200);
    assert!(cleared.get("description").is_none() && cleared.get("inputSchema").is_none());
    ada.put(&path, json!({ "name": null })).await.refused_field(422, "VALIDATION_ERROR", "name");
    ada.put(&path, json!({ "name": "a" })).await.ok(200);

    app.advance(10);
    let touched = ada.call("PATCH".parse().unwrap(), &path, Some(json!({}))).await.ok(200);
    assert_ne!(touched["updatedAt"], cleared["updatedAt"], "an empty change still counts as one");

    ada.create_skill("B").await;
    ada.put(&path, json!({ "name": "b" })).await.refused_field(409, "SKILL_NAME_EXISTS", "name");
}

#[tokio::test]
async fn parallel_changes_of_different_members_do_not_undo_each_other() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let path = format!("/api/v1/skills/{}", ada.create_skill("A").await);
    for round in 0..10 {
        let model = json!({ "model": format!("m{round}") });
        let description = json!({ "description": format!("d{round}") });
        let (one, two) = tokio::join!(ada.put(&path, model), ada.put(&path, description));
        one.ok(200);
        two.ok(200);
        let skill = ada.get(&path).await.ok(200);
        assert_eq!(
            (&skill["model"], &skill["description"]),
            (&json!(format!("m{round}")), &json!(format!("d{round}")))
        );
    }
}

#[tokio::test]
async fn the_list_filters_sorts_and_pages() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    for (name, category, description) in
        [("beta", "analysis", "50% off_"), ("Alpha", "custom", "plain"), ("gamma", "automation", "a\\b")]
    {
        let mut body = skill(name);
        body["category"] = json!(category);
        body["description"] = json!(description);
        ada.post("/api/v1/skills", body).await.ok(201);
        app.advance(1);
    }
    let names = async |query: &str| -> Vec<String> {
        let page = ada.get(&format!("/api/v1/skills{query}")).await.ok(200);
        let name = |skill: &Value| skill["name"].as_str().unwrap().to_owned();
        page["skills"].as_array().unwrap().iter().map(name).collect()
    };
    assert_eq!(names("").await, ["gamma", "Alpha", "beta"], "the latest change comes first");
    assert_eq!(names("?sort=name").await, ["Alpha", "beta", "gamma"]);
    assert_eq!(names("?sort=created").await, ["gamma", "Alpha", "beta"]);
    assert_eq!(names("?category=analysis").await, ["beta"]);
    assert_eq!(names("?category=analysis,custom&sort=name").await, ["Alpha", "beta"]);
    assert_eq!(names("?search=ALPH").await, ["Alpha"]);
    assert_eq!(names("?search=%25").await, ["beta"], "a percent sign is a percent sign");
    assert_eq!(names("?search=_").await, ["beta"]);
    assert_eq!(names("?search=%5C").await, ["gamma"]);
    assert_eq!(names("?search=%20%20").await.len(), 3, "an empty search is none");
    assert_eq!(names("?isActive=false").await, Vec::<String>::new());

    let page = ada.get("/api/v1/skills?page=2&pageSize=2&sort=name").await.ok(200);
    assert_eq!(page["skills"][0]["name"], "gamma");
    assert_eq!(
        (&page["total"], &page["page"], &page["pageSize"], &page["hasMore"]),
        (&json!(3), &json!(2), &json!(2), &json!(false))
    );
    assert_eq!(ada.get("/api/v1/skills?page=9").await.ok(200)["skills"], json!([]), "past the end is empty");
    assert_eq!(ada.get("/api/v1/skills/?page_size=1").await.ok(200)["hasMore"], json!(true), "a slash changes nothing");
}

#[tokio::test]
async fn a_deleted_skill_is_gone_and_its_history_stays() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let id = ada.create_skill("Summary").await;
    let path = format!("/api/v1/skills/{id}");
    let done = ada.execute(&id, json!({ "text": "x" })).await;
    app.run_jobs().await;
    let waiting = ada.execute(&id, json!({})).await;

    assert_eq!(ada.delete(&path).await.ok(200), json!({ "success": true }));
    ada.get(&path).await.refused(404, "SKILL_NOT_FOUND");
    ada.delete(&path).await.refused(404, "SKILL_NOT_FOUND");
    ada.put(&path, json!({})).await.refused(404, "SKILL_NOT_FOUND");
    app.run_jobs().await;

    let done = ada.execution(&done).await;
    assert_eq!(done["status"], "completed");
    assert!(done.get("skillId").is_none());
    let cancelled = ada.execution(&waiting).await;
    assert_eq!((&cancelled["status"], &cancelled["errorCode"]), (&json!("cancelled"), &json!("SKILL_DELETED")));
    let listed = ada.get("/api/v1/executions").await.ok(200);
    assert!(listed["executions"][0].get("skill").is_none());
}

#[tokio::test]
async fn a_viewer_looks_but_does_not_touch() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let viewer = app.member(&ada, "viewer").await;
    viewer.get("/api/v1/skills").await.ok(200);
    viewer.post("/api/v1/skills", skill("Mine")).await.refused(403, "FORBIDDEN");
}
