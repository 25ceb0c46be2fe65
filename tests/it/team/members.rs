//! Who sees a team, and who may change whose place in it: the table of the contract, walked through HTTP.

use serde_json::{Value, json};

use super::{INVITATIONS, MEMBERS, audited, owner_on, set_plan};
use crate::harness::{Installation, PASSWORD, Person, Reply};

const TEAM: &str = "/api/v1/team";
const TRANSFER: &str = "/api/v1/team/transfer-ownership";
const ROLES: [&str; 4] = ["owner", "admin", "member", "viewer"];

#[tokio::test]
async fn a_team_is_null_until_the_plan_has_more_than_one_seat() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let reply = ada.get(TEAM).await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, "null"));
    let stats = ada.get("/api/v1/team/stats").await.ok(200);
    let expected =
        json!({ "totalMembers": 1, "activeMembers": 1, "pendingInvites": 0, "availableSeats": 0, "maxSeats": 1 });
    assert_eq!(stats, expected);
    for (plan, seats) in [("pro", 3), ("teams", 10), ("enterprise", 9999)] {
        set_plan(&app, &ada, plan).await;
        let team = ada.get(TEAM).await.ok(200);
        assert_eq!(team["maxSeats"], seats, "{plan}");
        assert_eq!((&team["id"], &team["ownerId"]), (&json!(ada.organization_id()), &json!(ada.user_id())));
        assert_eq!(team["name"], "Ada's workspace");
        assert_eq!(team.as_object().unwrap().len(), 6, "the shape of the contract: {team}");
        for moment in ["createdAt", "updatedAt"] {
            assert!(team[moment].as_str().is_some_and(|text| text.ends_with('Z') && text.len() == 24), "{team}");
        }
    }
}

#[tokio::test]
async fn everybody_sees_the_team_and_administrators_rename_it() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    for role in ["admin", "member", "viewer"] {
        let person = app.member(&owner, role).await;
        for path in [TEAM, MEMBERS, "/api/v1/team/stats"] {
            person.get(path).await.ok(200);
        }
        let renamed = person.patch(TEAM, json!({ "name": format!(" By {role} "), "ownerId": person.user_id() })).await;
        match role {
            "admin" => assert_eq!(renamed.ok(200)["name"], "By admin"),
            _ => drop(renamed.refused(403, "FORBIDDEN")),
        }
    }
    app.advance(60);
    let team = owner.patch(TEAM, json!({ "name": "Engines" })).await.ok(200);
    assert_eq!((&team["name"], &team["ownerId"]), (&json!("Engines"), &json!(owner.user_id())));
    assert!(team["updatedAt"].as_str() > team["createdAt"].as_str(), "{team}");
    assert_eq!(owner.get(TEAM).await.ok(200), team);
    for name in [json!(""), json!("  "), json!("x".repeat(101)), json!("a\u{0}"), json!("a\nb"), json!(7), json!(null)]
    {
        owner.patch(TEAM, json!({ "name": name })).await.refused_field(422, "VALIDATION_ERROR", "name");
    }
    owner.patch(TEAM, json!({})).await.refused_field(422, "VALIDATION_ERROR", "name");
    // What it is called matters on a plan without a team too.
    set_plan(&app, &owner, "free").await;
    assert_eq!(owner.patch(TEAM, json!({ "name": "Alone" })).await.ok(200)["name"], "Alone");
}

#[tokio::test]
async fn members_are_listed_with_what_colleagues_may_know_in_the_order_of_their_standing() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let (viewer, admin) = (app.member(&owner, "viewer").await, app.member(&owner, "admin").await);
    let (gone, member) = (app.member(&owner, "admin").await, app.member(&owner, "member").await);
    owner.post(&format!("{}/deactivate", gone.path(&owner).await), json!({})).await.ok(200);
    app.sql("UPDATE users SET first_name = 'Grace', last_name = 'Hopper' WHERE email LIKE 'member-%'").await;
    let reply = viewer.get(MEMBERS).await;
    assert!(!reply.text.contains("password") && !reply.text.contains("argon2"), "{}", reply.text);
    let members = reply.ok(200);
    let listed: Vec<_> = members.as_array().unwrap().iter().map(|m| (m["role"].clone(), m["status"].clone())).collect();
    let expected =
        [("owner", "active"), ("admin", "active"), ("member", "active"), ("viewer", "active"), ("admin", "inactive")];
    assert_eq!(listed, expected.map(|(role, status)| (json!(role), json!(status))));
    let last = members[4].clone();
    assert_eq!(last["userId"], gone.user_id());
    assert_eq!(members[1]["email"], admin.email());
    let place = member.place(&owner).await;
    assert_eq!((&place["name"], &place["teamId"]), (&json!("Grace Hopper"), &json!(owner.organization_id())));
    assert_ne!(place["id"], place["userId"], "a place has an id of its own");
    assert!(place["lastActiveAt"].is_string(), "they signed in: {place}");
    let shape = ["id", "teamId", "userId", "email", "name", "role", "status", "joinedAt", "lastActiveAt"];
    assert_eq!(place.as_object().unwrap().keys().collect::<Vec<_>>(), shape);
}

#[tokio::test]
async fn last_activity_is_the_last_sign_in_or_refresh() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let before = owner.place(&owner).await["lastActiveAt"].clone();
    app.advance(600);
    let owner = app.signed_in_again(&owner).await;
    assert!(owner.place(&owner).await["lastActiveAt"].as_str() > before.as_str());
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Role(&'static str),
    Deactivate,
    Reactivate,
    Remove,
}

async fn act(actor: &Person, path: &str, action: Action) -> Reply {
    match action {
        Action::Role(role) => actor.patch(path, json!({ "role": role })).await,
        Action::Deactivate => actor.post(&format!("{path}/deactivate"), json!({})).await,
        Action::Reactivate => actor.post(&format!("{path}/reactivate"), json!({})).await,
        Action::Remove => actor.delete(path).await,
    }
}

/// What the contract says about `actor` doing this to somebody else who is `target`. Others own the organisation too.
fn expected(actor: &str, target: &str, action: Action) -> (u16, &'static str) {
    let rank = |role: &str| ROLES.iter().rev().position(|one| *one == role).unwrap();
    let manages = actor == "owner" || (actor == "admin" && rank(target) < rank("admin"));
    match action {
        _ if !manages => (403, "FORBIDDEN"),
        Action::Role("owner") if target == "owner" => (200, ""),
        Action::Role("owner") if actor == "owner" => (409, "OWNERSHIP_TRANSFER_REQUIRED"),
        Action::Role(role) if rank(role) > rank(actor) => (403, "FORBIDDEN"),
        Action::Remove => (204, ""),
        Action::Role(_) | Action::Deactivate | Action::Reactivate => (200, ""),
    }
}

async fn state(app: &Installation) -> Vec<String> {
    let sql = "SELECT role || ' ' || status || ' ' || id FROM organization_members ORDER BY id";
    sqlx::query_scalar(sql).fetch_all(&app.superuser).await.expect("the superuser sees all")
}

#[tokio::test]
async fn every_role_does_to_every_other_what_the_contract_says_and_nothing_else() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "enterprise").await;
    let organization = owner.organization_id();
    let mut actors = Vec::new();
    for role in ROLES {
        actors.push((role, app.member(&owner, role).await));
    }
    let target = app.member(&owner, "viewer").await;
    let (path, user) = (target.path(&owner).await, target.user_id());
    let actions = ROLES.map(Action::Role).into_iter().chain([Action::Deactivate, Action::Reactivate, Action::Remove]);
    let mut tried = 0;
    for action in actions {
        for (actor_role, actor) in &actors {
            for target_role in ROLES {
                let status = if matches!(action, Action::Reactivate) { "inactive" } else { "active" };
                app.sql(&format!(
                    "UPDATE organization_members SET role = '{target_role}', status = '{status}'
                      WHERE organization_id = '{organization}' AND user_id = '{user}'"
                ))
                .await;
                let before = state(&app).await;
                let (code, problem) = expected(actor_role, target_role, action);
                let reply = act(actor, &path, action).await;
                let what = format!("{actor_role} does {action:?} to {target_role}: {}", reply.text);
                assert_eq!(reply.status.as_u16(), code, "{what}");
                tried += 1;
                let changed = state(&app).await != before;
                if code >= 400 {
                    assert_eq!(reply.body["code"], problem, "{what}");
                    assert!(!changed, "refused, and done all the same: {what}");
                    continue;
                }
                let place = match action {
                    Action::Role(role) => Some((role, "active")),
                    Action::Deactivate => Some((target_role, "inactive")),
                    Action::Reactivate => Some((target_role, "active")),
                    Action::Remove => None,
                };
                if let Some((role, status)) = place {
                    assert_eq!((&reply.body["role"], &reply.body["status"]), (&json!(role), &json!(status)), "{what}");
                }
                let stored = format!(
                    "organization_members WHERE organization_id = '{organization}' AND user_id = '{user}' AND {}",
                    place.map_or("status = 'removed'".to_owned(), |(role, status)| format!(
                        "role = '{role}' AND status = '{status}'"
                    ))
                );
                assert_eq!(app.count(&stored).await, 1, "{what}");
            }
        }
    }
    assert_eq!(tried, 7 * 4 * 4);
}

#[tokio::test]
async fn nobody_changes_their_own_place() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    for role in ["admin", "member", "viewer"] {
        let person = app.member(&owner, role).await;
        let path = person.path(&owner).await;
        for action in
            [Action::Role("owner"), Action::Role("viewer"), Action::Deactivate, Action::Reactivate, Action::Remove]
        {
            act(&person, &path, action).await.refused(403, "FORBIDDEN");
        }
    }
    let path = owner.path(&owner).await;
    for action in [Action::Role("admin"), Action::Deactivate, Action::Remove] {
        act(&owner, &path, action).await.refused(409, "LAST_OWNER");
    }
    // With another owner it is still not theirs to do.
    app.member(&owner, "owner").await;
    for action in [Action::Role("admin"), Action::Deactivate, Action::Remove] {
        act(&owner, &path, action).await.refused(403, "FORBIDDEN");
    }
}

#[tokio::test]
async fn changes_of_members_leave_entries_in_the_audit_log() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let bob = app.member(&owner, "member").await;
    let (path, target) = (bob.path(&owner).await, bob.user_id());
    owner.patch(&path, json!({ "role": "admin" })).await.ok(200);
    owner.patch(&path, json!({ "role": "admin" })).await.ok(200);
    let changed = json!({ "targetUser": target, "oldRole": "member", "newRole": "admin" });
    assert_eq!(audited(&app, &owner, "team.role_changed", &changed).await, 1, "what changes nothing is no entry");
    for (verb, event) in [("deactivate", "team.member_deactivated"), ("reactivate", "team.member_reactivated")] {
        for _ in 0..2 {
            owner.post(&format!("{path}/{verb}"), json!({})).await.ok(200);
        }
        assert_eq!(audited(&app, &owner, event, &json!({ "targetUser": target })).await, 1, "{event}");
    }
    owner.delete(&path).await.ok(204);
    assert_eq!(audited(&app, &owner, "team.member_removed", &json!({ "targetUser": target })).await, 1);
    let named = format!("audit_logs WHERE event_type LIKE 'team.%' AND user_id = '{}'", owner.user_id());
    assert_eq!(app.count(&format!("{named} AND request_id <> ''")).await, 4, "each names who did it, and the request");
}

#[tokio::test]
async fn what_is_sent_is_checked_and_what_the_server_owns_is_ignored() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let bob = app.member(&owner, "member").await;
    let path = bob.path(&owner).await;
    for body in [json!({}), json!({ "role": "king" }), json!({ "role": null }), json!({ "role": 7 })] {
        owner.patch(&path, body).await.refused_field(422, "VALIDATION_ERROR", "role");
    }
    let forged = json!({ "role": "viewer", "status": "inactive", "userId": owner.user_id(), "teamId": bob.user_id(),
                         "joinedAt": "1999-01-01T00:00:00.000Z", "email": "eve@example.com" });
    let before = bob.place(&owner).await;
    let mut expected = before.clone();
    expected["role"] = json!("viewer");
    assert_eq!(owner.patch(&path, forged).await.ok(200), expected);
    assert_eq!(bob.place(&owner).await, expected);
    for id in ["11111111-1111-4111-8111-111111111111", "seven"] {
        owner.patch(&format!("{MEMBERS}/{id}"), json!({ "role": "admin" })).await.refused(404, "NOT_FOUND");
        owner.delete(&format!("{MEMBERS}/{id}")).await.refused(404, "NOT_FOUND");
        for verb in ["deactivate", "reactivate"] {
            owner.post(&format!("{MEMBERS}/{id}/{verb}"), json!({})).await.refused(404, "NOT_FOUND");
        }
    }
}

#[tokio::test]
async fn who_is_removed_may_name_an_heir_who_must_be_another_active_member() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let stranger = app.stranger().await;
    let (bob, idle) = (app.member(&owner, "member").await, app.member(&owner, "member").await);
    owner.post(&format!("{}/deactivate", idle.path(&owner).await), json!({})).await.ok(200);
    let path = bob.path(&owner).await;
    let id = |place: Value| place["id"].as_str().unwrap().to_owned();
    let bad = [id(bob.place(&owner).await), id(idle.place(&owner).await), id(stranger.place(&stranger).await)];
    for heir in bad.iter().map(String::as_str).chain(["11111111-1111-4111-8111-111111111111", "seven"]) {
        let reply = owner.delete(&format!("{path}?reassignTo={heir}")).await;
        reply.refused_field(422, "VALIDATION_ERROR", "reassignTo");
    }
    bob.get(MEMBERS).await.ok(200);
    let heir = id(owner.place(&owner).await);
    owner.delete(&format!("{path}?reassign_to={heir}")).await.ok(204);
    owner.delete(&path).await.refused(404, "NOT_FOUND");
}

#[tokio::test]
async fn nothing_that_a_removed_member_made_is_lost() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "pro").await;
    let bob = app.member(&owner, "member").await;
    let skill = bob.create_skill("Theirs").await;
    bob.execute(&skill, json!({ "text": "x" })).await;
    app.run_jobs().await;
    let before = owner.get("/api/v1/team/stats").await.ok(200);
    owner.delete(&bob.path(&owner).await).await.ok(204);
    let of_bob = format!("user_id = '{}' AND organization_id = '{}'", bob.user_id(), owner.organization_id());
    assert_eq!(app.count(&format!("skills WHERE {of_bob}")).await, 1);
    assert_eq!(app.count(&format!("skill_executions WHERE {of_bob}")).await, 1);
    let stats = owner.get("/api/v1/team/stats").await.ok(200);
    assert_eq!((&before["totalMembers"], &stats["totalMembers"]), (&json!(2), &json!(1)));
    assert_eq!((&stats["availableSeats"], &stats["activeMembers"]), (&json!(2), &json!(1)));
    assert_eq!(owner.get(MEMBERS).await.ok(200).as_array().unwrap().len(), 1);
    let elsewhere =
        app.nobody().post("/api/v1/auth/login", json!({ "email": bob.email(), "password": PASSWORD })).await;
    let token = elsewhere.ok(200)["access_token"].as_str().unwrap().to_owned();
    assert_ne!(app.with_token(&token).organization_id(), owner.organization_id(), "they go on in their own");
}

#[tokio::test]
async fn what_a_removed_member_waits_for_is_cancelled_and_what_others_wait_for_is_not() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let (removed, deactivated) = (app.member(&owner, "member").await, app.member(&owner, "member").await);
    for person in [&owner, &removed, &deactivated] {
        let skill = person.create_skill("Theirs").await;
        person.execute(&skill, json!({ "text": "x" })).await;
    }
    let home = app.with_token(switched(&removed).await["access_token"].as_str().unwrap());
    let skill = home.create_skill("At home").await;
    let at_home = home.execute(&skill, json!({ "text": "x" })).await;
    owner.delete(&removed.path(&owner).await).await.ok(204);
    let path = deactivated.path(&owner).await;
    owner.post(&format!("{path}/deactivate"), json!({})).await.ok(200);
    app.run_jobs().await;
    for person in [&removed, &deactivated] {
        let theirs = format!(
            "skill_executions WHERE organization_id = '{}' AND user_id = '{}' AND status = 'cancelled'
                AND started_at IS NULL AND error_code = 'CANCELLED'",
            owner.organization_id(),
            person.user_id()
        );
        assert_eq!(app.count(&theirs).await, 1, "it never reached a model");
    }
    assert_eq!(home.execution(&at_home).await["status"], "completed", "they go on in their own organisation");
    assert_eq!(app.count("skill_executions WHERE status = 'completed'").await, 2);
}

/// The tokens of this person in the organisation that they joined last.
async fn switched(person: &Person) -> Value {
    let organizations = person.get("/api/v1/auth/organizations").await.ok(200);
    let home = organizations.as_array().unwrap().iter().find(|organization| organization["is_current"] == false);
    let body = json!({ "org_id": home.expect("they have two")["org_id"] });
    person.post("/api/v1/auth/organizations/switch", body).await.ok(200)
}

#[tokio::test]
async fn ownership_is_handed_over_by_the_owner_who_proves_it() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let (bob, admin) = (app.member(&owner, "member").await, app.member(&owner, "admin").await);
    let member_id = bob.place(&owner).await["id"].clone();
    let body = |password: &str| json!({ "memberId": member_id, "password": password });
    let refused = owner.post(TRANSFER, body("wrong")).await;
    assert_ne!(refused.status, 401, "401 would make the front end sign the owner out");
    refused.refused(403, "REAUTHENTICATION_FAILED");
    owner.post(TRANSFER, body("")).await.refused_field(422, "VALIDATION_ERROR", "password");
    owner.post(TRANSFER, body(&"x".repeat(129))).await.refused_field(422, "VALIDATION_ERROR", "password");
    owner.post(TRANSFER, json!({ "password": PASSWORD })).await.refused_field(422, "VALIDATION_ERROR", "memberId");
    admin.post(TRANSFER, body(PASSWORD)).await.refused(403, "FORBIDDEN");
    bob.post(TRANSFER, body(PASSWORD)).await.refused(403, "FORBIDDEN");
    let unknown = json!({ "memberId": "11111111-1111-4111-8111-111111111111", "password": PASSWORD });
    owner.post(TRANSFER, unknown).await.refused(404, "NOT_FOUND");
    let own = json!({ "memberId": owner.place(&owner).await["id"], "password": PASSWORD });
    owner.post(TRANSFER, own).await.refused(403, "FORBIDDEN");
    let path = bob.path(&owner).await;
    owner.post(&format!("{path}/deactivate"), json!({})).await.ok(200);
    owner.post(TRANSFER, body(PASSWORD)).await.refused(409, "CONFLICT");
    owner.post(&format!("{path}/reactivate"), json!({})).await.ok(200);
    assert_eq!(audited(&app, &owner, "team.ownership_transferred", &json!({})).await, 0);

    let team = owner.post(TRANSFER, json!({ "member_id": member_id, "password": PASSWORD })).await.ok(200);
    assert_eq!(team["ownerId"], bob.user_id());
    assert_eq!(owner.place(&owner).await["role"], "admin");
    assert_eq!(bob.place(&owner).await["role"], "owner");
    assert_eq!(owner.get("/api/v1/auth/me").await.ok(200)["roles"], json!(["admin"]), "at once");
    owner.post(TRANSFER, body(PASSWORD)).await.refused(403, "FORBIDDEN");
    let metadata = json!({ "targetUser": bob.user_id(), "oldRole": "member", "newRole": "owner" });
    assert_eq!(audited(&app, &owner, "team.ownership_transferred", &metadata).await, 1);
}

#[tokio::test]
async fn guessing_the_owners_password_locks_the_account() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let bob = app.member(&owner, "member").await;
    let member_id = bob.place(&owner).await["id"].clone();
    let body = |password: &str| json!({ "memberId": member_id, "password": password });
    for _ in 0..5 {
        owner.post(TRANSFER, body("wrong guess")).await.refused(403, "REAUTHENTICATION_FAILED");
    }
    owner.post(TRANSFER, body(PASSWORD)).await.refused(429, "ACCOUNT_LOCKED");
    app.advance(61);
    owner.post(TRANSFER, body(PASSWORD)).await.ok(200);
}

#[tokio::test]
async fn somebody_without_a_password_cannot_prove_ownership_with_one() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let bob = app.member(&owner, "member").await;
    app.sql(&format!("UPDATE users SET password_hash = NULL WHERE id = '{}'", owner.user_id())).await;
    let body = json!({ "memberId": bob.place(&owner).await["id"], "password": PASSWORD });
    owner.post(TRANSFER, body).await.refused(403, "REAUTHENTICATION_FAILED");
}

#[tokio::test]
async fn one_team_neither_sees_nor_changes_another() {
    let app = Installation::new().await;
    let (owner, stranger) = (owner_on(&app, "teams").await, owner_on(&app, "teams").await);
    let bob = app.member(&owner, "member").await;
    let path = bob.path(&owner).await;
    let id = owner.invite(&["new@example.com"], "member").await.ok(201)[0]["id"].as_str().unwrap().to_owned();
    let before = state(&app).await;
    for action in [Action::Role("viewer"), Action::Deactivate, Action::Reactivate, Action::Remove] {
        act(&stranger, &path, action).await.refused(404, "NOT_FOUND");
    }
    let transfer = json!({ "memberId": bob.place(&owner).await["id"], "password": PASSWORD });
    stranger.post(TRANSFER, transfer).await.refused(404, "NOT_FOUND");
    stranger.post(&format!("{INVITATIONS}/{id}/resend"), json!({})).await.refused(404, "NOT_FOUND");
    stranger.delete(&format!("{INVITATIONS}/{id}")).await.refused(404, "NOT_FOUND");
    assert_eq!(stranger.get(INVITATIONS).await.ok(200), json!([]));
    assert_eq!(stranger.get(MEMBERS).await.ok(200).as_array().unwrap().len(), 1);
    assert_eq!(stranger.get("/api/v1/team/stats").await.ok(200)["pendingInvites"], 0);
    assert_eq!(state(&app).await, before);
    // The same address may be invited to both.
    stranger.invite(&["new@example.com"], "member").await.ok(201);
    assert_eq!(owner.get(INVITATIONS).await.ok(200).as_array().unwrap().len(), 1);
    app.run_jobs().await;
}
