//! Many act at once, and what the plan or the organisation allows holds to the exact count.

use futures_util::future::join_all;
use serde_json::json;

use super::{MEMBERS, owner_on, secret, set_plan};
use crate::harness::{Installation, PASSWORD, Person};

#[tokio::test]
async fn two_hundred_invitations_at_once_never_exceed_the_seats() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let beside = Installation::beside(&app, &[]).await;
    let admin = beside.with_token(app.member(&owner, "admin").await.access_token());
    let invite = |n: usize| {
        let inviter: &Person = if n.is_multiple_of(2) { &owner } else { &admin };
        async move { inviter.invite(&[&format!("person-{n}@example.com")], "member").await }
    };
    let replies = join_all((0..200).map(invite)).await;
    let count = |status: u16| replies.iter().filter(|reply| reply.status == status).count();
    assert_eq!((count(201), count(403)), (8, 192), "ten seats, two of them taken");
    for reply in replies.into_iter().filter(|reply| reply.status == 403) {
        reply.refused(403, "NO_AVAILABLE_SEATS");
    }
    assert_eq!(app.count("team_invitations WHERE status = 'pending'").await, 8);
    assert_eq!(owner.get("/api/v1/team/stats").await.ok(200)["availableSeats"], 0);
    app.run_jobs().await;
}

#[tokio::test]
async fn people_who_accept_at_once_never_exceed_the_seats_of_a_smaller_plan() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "enterprise").await;
    let emails: Vec<String> = (0..40).map(|n| format!("person-{n}@example.com")).collect();
    let emails: Vec<&str> = emails.iter().map(String::as_str).collect();
    owner.invite(&emails, "member").await.ok(201);
    let mut people = Vec::new();
    for email in &emails {
        let token = secret(&app, email).await;
        people.push((app.sign_up(email).await, token));
    }
    set_plan(&app, &owner, "teams").await;
    // Each of them five times, as impatient people do.
    let attempts = people.iter().flat_map(|(person, token)| {
        (0..5).map(move |_| person.post("/api/v1/team/invitations/accept", json!({ "token": token })))
    });
    let replies = join_all(attempts).await;
    assert_eq!(replies.len(), 200);
    let count = |status: u16, code: &str| {
        replies.iter().filter(|r| r.status == status && r.body["code"].as_str().unwrap_or_default() == code).count()
    };
    assert_eq!(count(200, ""), 9, "ten seats, one of them the owner's");
    assert_eq!(count(409, "ALREADY_MEMBER"), 9 * 4);
    assert_eq!(count(403, "NO_AVAILABLE_SEATS"), 200 - 9 * 5);
    let stats = owner.get("/api/v1/team/stats").await.ok(200);
    assert_eq!((&stats["totalMembers"], &stats["availableSeats"]), (&json!(10), &json!(0)));
}

#[tokio::test]
async fn two_owners_who_remove_each_other_leave_one() {
    for attempt in 0..6 {
        let app = Installation::new().await;
        let ada = owner_on(&app, "teams").await;
        let beside = Installation::beside(&app, &[]).await;
        let bob = beside.with_token(app.member(&ada, "owner").await.access_token());
        let (to_ada, to_bob) = (ada.path(&ada).await, bob.path(&ada).await);
        let act = async |actor: &Person, path: &str| match attempt % 3 {
            0 => actor.delete(path).await,
            1 => actor.patch(path, json!({ "role": "viewer" })).await,
            _ => actor.post(&format!("{path}/deactivate"), json!({})).await,
        };
        let (by_ada, by_bob) = tokio::join!(act(&ada, &to_bob), act(&bob, &to_ada));
        let done = [&by_ada, &by_bob].iter().filter(|reply| reply.status.is_success()).count();
        assert_eq!(done, 1, "{} {} / {} {}", by_ada.status, by_ada.text, by_bob.status, by_bob.text);
        let organization = ada.organization_id();
        let owners = format!(
            "organization_members WHERE organization_id = '{organization}' AND role = 'owner' AND status = 'active'"
        );
        assert_eq!(app.count(&owners).await, 1);
    }
}

#[tokio::test]
async fn ownership_handed_to_many_at_once_arrives_at_one() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let mut heirs = Vec::new();
    for _ in 0..5 {
        heirs.push(app.member(&owner, "admin").await.place(&owner).await["id"].clone());
    }
    let transfers = heirs
        .iter()
        .map(|heir| owner.post("/api/v1/team/transfer-ownership", json!({ "memberId": heir, "password": PASSWORD })));
    let statuses: Vec<u16> = join_all(transfers).await.iter().map(|reply| reply.status.as_u16()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 403).count(), 4, "{statuses:?}");
    let members = owner.get(MEMBERS).await.ok(200);
    let owners = members.as_array().unwrap().iter().filter(|member| member["role"] == "owner").count();
    assert_eq!(owners, 1, "{members}");
}

#[tokio::test]
async fn who_signs_in_while_being_removed_is_out_all_the_same() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "enterprise").await;
    let organization = owner.organization_id();
    for _ in 0..5 {
        let bob = app.member(&owner, "member").await;
        let path = bob.path(&owner).await;
        let nobody = app.nobody();
        let body = json!({ "refresh_token": bob.refresh_token() });
        let login = json!({ "email": bob.email(), "password": PASSWORD });
        tokio::join!(
            owner.delete(&path),
            nobody.post("/api/v1/auth/refresh", body.clone()),
            nobody.post("/api/v1/auth/login", login.clone()),
            nobody.post("/api/v1/auth/login", login.clone()),
        );
        let alive = format!(
            "user_sessions WHERE organization_id = '{organization}' AND user_id = '{}' AND revoked_at IS NULL",
            bob.user_id()
        );
        assert_eq!(app.count(&alive).await, 0, "a session outlived the membership");
        nobody.post("/api/v1/auth/refresh", body).await.refused(401, "REFRESH_TOKEN_INVALID");
    }
}
