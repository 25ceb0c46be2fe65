//! Somebody may belong to several organisations, and works in one at a time: the one that their token names.

use serde_json::json;

use super::{MEMBERS, owner_on};
use crate::harness::Installation;

const LIST: &str = "/api/v1/auth/organizations";
const SWITCH: &str = "/api/v1/auth/organizations/switch";

#[tokio::test]
async fn people_see_where_they_belong_and_where_they_are() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let bob = app.member(&owner, "viewer").await;
    let organizations = bob.get(LIST).await.ok(200);
    // In the order of joining: the harness lets members join in the year 2000.
    let theirs = json!({ "org_id": owner.organization_id(), "name": "Ada's workspace", "role": "viewer",
                         "plan": "teams", "is_current": true });
    assert_eq!(organizations[0], theirs);
    assert_eq!((&organizations[1]["role"], &organizations[1]["is_current"]), (&json!("owner"), &json!(false)));
    assert_eq!(organizations.as_array().unwrap().len(), 2);
    assert_eq!(owner.get(LIST).await.ok(200).as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn switching_gives_tokens_for_the_other_organisation_and_leaves_those_of_before_alone() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let bob = app.member(&owner, "viewer").await;
    let own = bob.get(LIST).await.ok(200)[1]["org_id"].clone();
    let tokens = bob.post(SWITCH, json!({ "org_id": own })).await.ok(200);
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(1800)));
    let there = app.with_token(tokens["access_token"].as_str().unwrap());
    let me = there.get("/api/v1/auth/me").await.ok(200);
    assert_eq!((&me["org_id"], &me["roles"], &me["plan"]), (&own, &json!(["owner"]), &json!("free")));
    assert_eq!(there.get(LIST).await.ok(200)[1]["is_current"], true);
    let skill = there.create_skill("Mine alone").await;
    bob.get(&format!("/api/v1/skills/{skill}")).await.refused(404, "SKILL_NOT_FOUND");
    assert_eq!(bob.get("/api/v1/auth/me").await.ok(200)["roles"], json!(["viewer"]));
    let refreshed =
        app.nobody().post("/api/v1/auth/refresh", json!({ "refresh_token": tokens["refresh_token"] })).await;
    let again = app.with_token(refreshed.ok(200)["access_token"].as_str().unwrap());
    assert_eq!(json!(again.organization_id()), own, "a refresh stays where one switched to");
    let how = "user_sessions WHERE auth_method = 'password'";
    assert_eq!(app.count(how).await, app.count("user_sessions").await, "the proof is that of the first sign-in");
}

#[tokio::test]
async fn nobody_switches_to_where_they_do_not_belong() {
    let app = Installation::new().await;
    let (owner, stranger) = (owner_on(&app, "teams").await, app.stranger().await);
    let bob = app.member(&owner, "member").await;
    let own = bob.get(LIST).await.ok(200)[1]["org_id"].as_str().unwrap().to_owned();
    let to = |organization: &str| json!({ "org_id": organization });
    for organization in [stranger.organization_id(), "11111111-1111-4111-8111-111111111111".to_owned()] {
        owner.post(SWITCH, to(&organization)).await.refused(404, "NOT_FOUND");
    }
    owner.post(SWITCH, to("seven")).await.refused_field(422, "VALIDATION_ERROR", "org_id");
    owner.post(SWITCH, json!({})).await.refused_field(422, "VALIDATION_ERROR", "org_id");
    let bob_at_home = bob.post(SWITCH, to(&own)).await.ok(200);
    let bob_at_home = app.with_token(bob_at_home["access_token"].as_str().unwrap());
    owner.post(&format!("{}/deactivate", bob.path(&owner).await), json!({})).await.ok(200);
    bob_at_home.post(SWITCH, to(&owner.organization_id())).await.refused(404, "NOT_FOUND");
    assert_eq!(bob_at_home.get(LIST).await.ok(200).as_array().unwrap().len(), 1);
    owner.delete(&bob.path(&owner).await).await.ok(204);
    bob_at_home.post(SWITCH, to(&owner.organization_id())).await.refused(404, "NOT_FOUND");
    bob_at_home.get(MEMBERS).await.ok(200);
}
