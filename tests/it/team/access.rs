//! Whoever loses access, or some of it, has lost it at once: in the process that took it away and, as soon as they hear
//! of it, in every other.

use serde_json::json;

use super::{INVITATIONS, MEMBERS, owner_on};
use crate::harness::{Installation, Person, eventually};

/// Bob, with this role, in the process that takes his access away and in another; both know him already.
async fn bob_in_two_processes(role: &str) -> (Installation, Installation, Person, Person, Person) {
    let here = Installation::new().await;
    let there = Installation::beside(&here, &[]).await;
    let owner = owner_on(&here, "teams").await;
    let bob = here.member(&owner, role).await;
    let bob_there = there.with_token(bob.access_token());
    for bob in [&bob, &bob_there] {
        bob.get(MEMBERS).await.ok(200);
    }
    (here, there, owner, bob, bob_there)
}

#[tokio::test]
async fn who_is_removed_or_deactivated_is_refused_at_once_and_everywhere() {
    for verb in ["remove", "deactivate"] {
        let (here, there, owner, bob, bob_there) = bob_in_two_processes("admin").await;
        let path = bob.path(&owner).await;
        match verb {
            "remove" => owner.delete(&path).await.ok(204),
            _ => owner.post(&format!("{path}/deactivate"), json!({})).await.ok(200),
        };
        assert_eq!(bob.get(MEMBERS).await.refused(401, "UNAUTHENTICATED")["details"]["reason"], "revoked", "{verb}");
        eventually("the other process hears of it", async || bob_there.get(MEMBERS).await.status == 401).await;
        for app in [&here, &there] {
            let body = json!({ "refresh_token": bob.refresh_token() });
            app.nobody().post("/api/v1/auth/refresh", body).await.refused(401, "REFRESH_TOKEN_INVALID");
        }
        let ended = format!("user_sessions WHERE user_id = '{}' AND revoke_reason = 'membership'", bob.user_id());
        assert_eq!(here.count(&ended).await, 1, "{verb}: the session here ends, and no other");
        let alive = format!("user_sessions WHERE user_id = '{}' AND revoked_at IS NULL", bob.user_id());
        assert_eq!(here.count(&alive).await, 1, "{verb}: the one in their own organisation goes on");
        let colleagues = owner.get(MEMBERS).await.ok(200).as_array().unwrap().len();
        assert_eq!(colleagues, if verb == "remove" { 1 } else { 2 });
    }
}

#[tokio::test]
async fn who_is_reactivated_signs_in_again() {
    let (here, _there, owner, bob, _) = bob_in_two_processes("member").await;
    let path = bob.path(&owner).await;
    owner.post(&format!("{path}/deactivate"), json!({})).await.ok(200);
    let at_home = here.sign_in(&bob.email()).await;
    assert_ne!(at_home.organization_id(), owner.organization_id(), "who is inactive enters another organisation");
    owner.post(&format!("{path}/reactivate"), json!({})).await.ok(200);
    bob.get(MEMBERS).await.refused(401, "UNAUTHENTICATED");
    let back = here.sign_in(&bob.email()).await;
    assert_eq!(back.organization_id(), owner.organization_id());
    back.get(MEMBERS).await.ok(200);
}

#[tokio::test]
async fn a_lowered_role_is_effective_at_once_and_everywhere() {
    let (_here, _there, owner, bob, bob_there) = bob_in_two_processes("admin").await;
    for bob in [&bob, &bob_there] {
        bob.get(INVITATIONS).await.ok(200);
    }
    owner.patch(&bob.path(&owner).await, json!({ "role": "viewer" })).await.ok(200);
    bob.get(INVITATIONS).await.refused(403, "FORBIDDEN");
    bob.post("/api/v1/skills", crate::harness::skill("No more")).await.refused(403, "FORBIDDEN");
    assert_eq!(bob.get("/api/v1/auth/me").await.ok(200)["roles"], json!(["viewer"]));
    eventually("the other process hears of it", async || bob_there.get(INVITATIONS).await.status == 403).await;
    bob_there.get(MEMBERS).await.ok(200);
    owner.patch(&bob.path(&owner).await, json!({ "role": "admin" })).await.ok(200);
    bob.get(INVITATIONS).await.ok(200);
}

/// Should an announcement be lost, what a process remembers is believed for half a minute; what it changes, never.
#[tokio::test]
async fn a_process_that_heard_nothing_lets_nobody_change_a_team_who_may_not_any_more() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let (bob, eve) = (app.member(&owner, "admin").await, app.member(&owner, "viewer").await);
    let path = eve.path(&owner).await;
    bob.get(INVITATIONS).await.ok(200);
    for unheard in ["role = 'member'", "role = 'admin', status = 'inactive'", "status = 'removed'"] {
        app.sql(&format!(
            "UPDATE organization_members SET {unheard}
              WHERE organization_id = '{}' AND user_id = '{}'",
            owner.organization_id(),
            bob.user_id()
        ))
        .await;
        bob.get(INVITATIONS).await.ok(200);
        bob.delete(&path).await.refused(403, "FORBIDDEN");
        bob.patch(&path, json!({ "role": "admin" })).await.refused(403, "FORBIDDEN");
        bob.patch("/api/v1/team", json!({ "name": "Mine" })).await.refused(403, "FORBIDDEN");
        bob.invite(&["x@example.com"], "viewer").await.refused(403, "FORBIDDEN");
    }
    app.advance(31);
    bob.get(INVITATIONS).await.refused(403, "NO_ORGANIZATION");
}

#[tokio::test]
async fn the_keys_of_a_member_freeze_and_thaw_with_them() {
    let (here, there, owner, bob, _) = bob_in_two_processes("admin").await;
    let body = json!({ "name": "CI of the website", "expiration": "never", "scopes": ["admin"] });
    let key = bob.post("/api/v1/security/api-keys", body).await.ok(201)["key"].as_str().unwrap().to_owned();
    let (key_here, key_there) = (here.with_token(&key), there.with_token(&key));
    for key in [&key_here, &key_there] {
        key.get(INVITATIONS).await.ok(200);
    }
    let path = bob.path(&owner).await;
    owner.patch(&path, json!({ "role": "viewer" })).await.ok(200);
    key_here.get(INVITATIONS).await.refused(403, "FORBIDDEN");
    eventually("the other process hears of the role", async || key_there.get(INVITATIONS).await.status == 403).await;
    owner.post(&format!("{path}/deactivate"), json!({})).await.ok(200);
    assert!(!key_here.get(MEMBERS).await.status.is_success(), "a key must not outlive the access of its creator");
    eventually("the other process hears of it", async || !key_there.get(MEMBERS).await.status.is_success()).await;
    owner.post(&format!("{path}/reactivate"), json!({})).await.ok(200);
    key_here.get(MEMBERS).await.ok(200);
    owner.delete(&path).await.ok(204);
    assert!(!key_here.get(MEMBERS).await.status.is_success());
}
