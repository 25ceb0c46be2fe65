//! Two people who edit one skill notice each other: whoever says what their change is based on never overwrites what
//! they have not seen. And whoever asks again for what was done gets the same answer.

use axum::http::Method;
use serde_json::{Value, json};

use crate::harness::{Installation, Person, Reply, skill};

async fn edit(person: &Person, path: &str, based_on: &str, body: Value) -> Reply {
    person.call_with(&[("if-match", based_on)], Method::PUT, path, Some(body)).await
}

/// A new skill: its path and its tag.
async fn new_skill(person: &Person) -> (String, String) {
    let reply = person.post("/api/v1/skills", skill("Summary")).await;
    let tag = reply.header("etag").expect("a skill has a tag").to_owned();
    (format!("/api/v1/skills/{}", reply.ok(201)["id"].as_str().unwrap()), tag)
}

#[tokio::test]
async fn every_reply_that_is_a_skill_has_the_tag_of_its_revision() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let (path, tag) = new_skill(&ada).await;
    assert_eq!(tag, "\"1\"");
    let read = ada.get(&path).await;
    assert_eq!((read.header("etag"), &read.body["revision"]), (Some(tag.as_str()), &json!(1)));
    for (revision, method, body) in [
        (2, Method::PUT, json!({ "description": "changed" })),
        (3, Method::PATCH, json!({ "model": "another" })),
        (4, Method::PUT, json!({})),
    ] {
        let reply = ada.call(method, &path, Some(body)).await;
        assert_eq!(reply.header("etag"), Some(format!("\"{revision}\"").as_str()));
        assert_eq!(reply.ok(200)["revision"], revision, "an edit counts, also one that changes nothing");
    }
    let restored = ada.post(&format!("{path}/versions/1/restore"), json!({})).await;
    assert_eq!((restored.header("etag"), restored.status.as_u16()), (Some("\"5\""), 200));
    assert_eq!(ada.get(&path).await.header("etag"), Some("\"5\""));
}

#[tokio::test]
async fn runs_do_not_change_the_tag() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let (path, tag) = new_skill(&ada).await;
    ada.execute(path.rsplit('/').next().unwrap(), json!({ "text": "x" })).await;
    app.advance(1);
    app.run_jobs().await;
    let read = ada.get(&path).await;
    assert_eq!(read.header("etag"), Some(tag.as_str()), "or nobody could edit a busy skill");
    assert_eq!(read.ok(200)["executionCount"], 1);
    edit(&ada, &path, &tag, json!({ "description": "changed" })).await.ok(200);
}

#[tokio::test]
async fn a_change_that_is_based_on_an_old_revision_is_refused_with_the_present_one() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let (path, old) = new_skill(&ada).await;
    edit(&ada, &path, &old, json!({ "description": "first" })).await.ok(200);
    let before = ada.get(&path).await.ok(200);
    let restore = format!("{path}/versions/1/restore");
    for (method, path, body) in [
        (Method::PUT, &path, Some(json!({ "description": "second" }))),
        (Method::PATCH, &path, Some(json!({ "description": "second" }))),
        (Method::DELETE, &path, None),
        (Method::POST, &restore, None),
    ] {
        let reply = ada.call_with(&[("if-match", &old)], method.clone(), path, body).await;
        assert_eq!(reply.header("etag"), Some("\"2\""), "{method} {path} says what is there now");
        reply.refused(412, "PRECONDITION_FAILED");
    }
    for never in ["\"99\"", "W/\"2\"", "2", "", "\"1\", \"3\"", "nonsense"] {
        edit(&ada, &path, never, json!({ "description": "second" })).await.refused(412, "PRECONDITION_FAILED");
    }
    assert_eq!(ada.get(&path).await.ok(200), before, "what is refused changes nothing");
    edit(&ada, &path, "\"1\", \"2\"", json!({ "description": "one of them" })).await.ok(200);
    edit(&ada, &path, "*", json!({ "description": "any" })).await.ok(200);
    let missing = "/api/v1/skills/11111111-1111-4111-8111-111111111111";
    edit(&ada, missing, "*", json!({})).await.refused(404, "SKILL_NOT_FOUND");
    let reply = ada.call_with(&[("if-match", "\"4\"")], Method::DELETE, &path, None).await;
    assert_eq!(reply.ok(200), json!({ "success": true }));
}

#[tokio::test]
async fn a_refused_deletion_leaves_the_runs_alone() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let (path, _) = new_skill(&ada).await;
    let run = ada.execute(path.rsplit('/').next().unwrap(), json!({ "text": "x" })).await;
    ada.call_with(&[("if-match", "\"7\"")], Method::DELETE, &path, None).await.refused(412, "PRECONDITION_FAILED");
    assert_eq!(ada.execution(&run).await["status"], "pending");
    app.run_jobs().await;
    assert_eq!(ada.execution(&run).await["status"], "completed");
}

#[tokio::test]
async fn of_parallel_editors_with_the_same_tag_exactly_one_wins() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let (path, mut tag) = new_skill(&ada).await;
    for round in 0..5 {
        let edits = (0..10).map(|n| {
            let body = json!({ "promptTemplate": format!("Editor {n} of round {round}: {{{{text}}}}") });
            edit(&ada, &path, &tag, body)
        });
        let replies = futures_util::future::join_all(edits).await;
        let (won, lost): (Vec<Reply>, Vec<Reply>) = replies.into_iter().partition(|reply| reply.status == 200);
        assert_eq!(won.len(), 1, "exactly one of ten wins");
        let stored = ada.get(&path).await;
        assert_eq!(stored.body, won[0].body, "and what it wrote is there");
        for reply in lost {
            assert_eq!(reply.header("etag"), stored.header("etag"));
            reply.refused(412, "PRECONDITION_FAILED");
        }
        tag = stored.header("etag").unwrap().to_owned();
    }
    assert_eq!(ada.get(&path).await.ok(200)["version"], 6);
}

#[tokio::test]
async fn whoever_has_the_skill_already_is_not_sent_it_again() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let (path, tag) = new_skill(&ada).await;
    let read = async |known: &str| ada.call_with(&[("if-none-match", known)], Method::GET, &path, None).await;
    for known in [tag.as_str(), "W/\"1\"", "\"5\", \"1\"", "*"] {
        let reply = read(known).await;
        assert_eq!((reply.status.as_u16(), reply.text.as_str()), (304, ""), "known: {known}");
        assert_eq!(reply.header("etag"), Some(tag.as_str()));
    }
    read("\"2\"").await.ok(200);
    read("1").await.ok(200);
    edit(&ada, &path, &tag, json!({ "description": "changed" })).await.ok(200);
    assert_eq!(read(&tag).await.ok(200)["description"], "changed");
}

#[tokio::test]
async fn a_skill_that_is_asked_for_twice_with_one_key_is_made_once() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let path = "/api/v1/skills";
    let first = ada.post_once(path, "k1", skill("Summary")).await;
    let (tag, location) = (first.header("etag").unwrap().to_owned(), first.header("location").unwrap().to_owned());
    let first = first.ok(201);
    ada.put(&location, json!({ "description": "changed since" })).await.ok(200);
    let again = ada.post_once(path, "k1", skill("Summary")).await;
    assert_eq!((again.header("etag"), again.header("location")), (Some(tag.as_str()), Some(location.as_str())));
    assert_eq!(again.ok(201), first, "the reply is the one of then");
    ada.post_once(path, "k1", skill("Another")).await.refused(409, "IDEMPOTENCY_CONFLICT");
    ada.post_once(path, "k2", skill("Summary")).await.refused(409, "SKILL_NAME_EXISTS");
    let attempts = (0..10).map(|_| ada.post_once(path, "k3", skill("Parallel")));
    let replies: Vec<Value> =
        futures_util::future::join_all(attempts).await.into_iter().map(|reply| reply.ok(201)).collect();
    assert!(replies.iter().all(|reply| reply == &replies[0]), "everybody gets what the first one got");
    assert_eq!(app.count("skills").await, 2);
}
