//! How people come in: an invitation opens for the address it was sent to, once, for seven days, and its secret is in the
//! mail alone.

use serde_json::{Value, json};

use super::{INVITATIONS, MEMBERS, audited, owner_on, secret, set_plan};
use crate::harness::{Installation, PASSWORD, Person, Reply};

const ACCEPT: &str = "/api/v1/team/invitations/accept";

async fn lookup(app: &Installation, token: &str) -> Reply {
    app.nobody().get(&format!("{INVITATIONS}/lookup?token={token}")).await
}

async fn accept(person: &Person, token: &str) -> Reply {
    person.post(ACCEPT, json!({ "token": token })).await
}

async fn sign_up(app: &Installation, email: &str, token: &str) -> Reply {
    let body = json!({ "email": email, "password": PASSWORD, "first_name": "Grace", "last_name": "Hopper",
                       "invitation_token": token });
    app.nobody().post("/api/v1/auth/signup", body).await
}

fn id(invitation: &Value) -> String {
    invitation["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn an_invitation_goes_by_mail_and_keeps_its_secret_there() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let body = json!({ "emails": [" New@Example.com", "new@example.com"], "role": "member", "message": " Welcome! ",
                       "status": "accepted", "expiresAt": "2999-01-01T00:00:00.000Z", "token": "mine" });
    let invitations = owner.post(INVITATIONS, body).await.ok(201);
    assert_eq!(invitations.as_array().unwrap().len(), 1, "the same address twice counts once");
    let invitation = &invitations[0];
    let shape = ["id", "teamId", "email", "role", "invitedBy", "message", "token", "status", "expiresAt", "createdAt"];
    assert_eq!(invitation.as_object().unwrap().keys().collect::<Vec<_>>(), shape);
    assert_eq!((&invitation["email"], &invitation["role"]), (&json!("new@example.com"), &json!("member")));
    assert_eq!((&invitation["status"], &invitation["message"]), (&json!("pending"), &json!("Welcome!")));
    assert_eq!(invitation["invitedBy"], json!({ "id": owner.user_id(), "name": "Ada Lovelace" }));
    assert_eq!(invitation["token"], invitation["id"], "what the interface calls token is the id");
    assert_eq!(owner.get(INVITATIONS).await.ok(200), invitations);

    let mails = app.mails_to("new@example.com").await;
    assert_eq!(mails.len(), 1);
    assert!(mails[0].text.contains("http://localhost:3000/invitations/accept?token="), "{}", mails[0].text);
    for part in ["Ada Lovelace", "Ada's workspace", "Welcome!"] {
        assert!(mails[0].text.contains(part), "the mail does not say {part}: {}", mails[0].text);
    }
    let token = secret(&app, "new@example.com").await;
    let everything = "(SELECT i::text AS t FROM team_invitations i UNION ALL SELECT a::text FROM audit_logs a UNION ALL
                       SELECT payload::text FROM graphile_worker._private_jobs) x";
    assert_eq!(app.count(&format!("{everything} WHERE t LIKE '%{token}%'")).await, 0, "the secret is stored in clear");
    assert_eq!(app.count("team_invitations WHERE octet_length(token_hash) = 32").await, 1);
    let metadata = json!({ "invitedEmail": "new@example.com", "role": "member" });
    assert_eq!(audited(&app, &owner, "team.member_invited", &metadata).await, 1);
    let preview = lookup(&app, &token).await.ok(200);
    let expected = json!({ "organizationName": "Ada's workspace", "email": "new@example.com", "role": "member",
                           "invitedByName": "Ada Lovelace", "expiresAt": invitation["expiresAt"] });
    assert_eq!(preview, expected);
    lookup(&app, &id(invitation)).await.refused(404, "NOT_FOUND");
}

#[tokio::test]
async fn administrators_invite_and_nobody_above_their_own_role() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let admin = app.member(&owner, "admin").await;
    for role in ["member", "viewer"] {
        let person = app.member(&owner, role).await;
        person.get(INVITATIONS).await.refused(403, "FORBIDDEN");
        person.invite(&["new@example.com"], "viewer").await.refused(403, "FORBIDDEN");
        let path = format!("{INVITATIONS}/11111111-1111-4111-8111-111111111111");
        person.delete(&path).await.refused(403, "FORBIDDEN");
        person.post(&format!("{path}/resend"), json!({})).await.refused(403, "FORBIDDEN");
    }
    for (number, role) in ["admin", "member", "viewer"].into_iter().enumerate() {
        let email = format!("new-{number}@example.com");
        assert_eq!(admin.invite(&[&email], role).await.ok(201)[0]["role"], role);
    }
    for person in [&owner, &admin] {
        person.invite(&["boss@example.com"], "owner").await.refused_field(422, "VALIDATION_ERROR", "role");
    }
    app.run_jobs().await;
}

#[tokio::test]
async fn an_invitation_is_all_or_nothing_and_says_what_is_wrong() {
    let app = Installation::new().await;
    let owner = app.owner().await;
    owner.invite(&["new@example.com"], "member").await.refused(403, "PLAN_REQUIRED");
    set_plan(&app, &owner, "teams").await;
    let (bob, idle) = (app.member(&owner, "member").await, app.member(&owner, "viewer").await);
    owner.post(&format!("{}/deactivate", idle.path(&owner).await), json!({})).await.ok(200);
    owner.invite(&["one@example.com"], "member").await.ok(201);

    let emails = [bob.email(), "two@example.com".to_owned(), idle.email().to_uppercase()];
    let emails: Vec<&str> = emails.iter().map(String::as_str).collect();
    let problem = owner.invite(&emails, "member").await.refused(409, "ALREADY_MEMBER");
    let mut members = [bob.email(), idle.email()];
    members.sort();
    assert_eq!((&problem["details"]["emails"], &problem["field"]), (&json!(members), &json!("emails")));
    let problem =
        owner.invite(&["two@example.com", "ONE@example.com"], "member").await.refused(409, "INVITATION_EXISTS");
    assert_eq!(problem["details"]["emails"], json!(["one@example.com"]));
    let many: Vec<String> = (0..7).map(|n| format!("many-{n}@example.com")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    owner.invite(&many, "member").await.refused(403, "NO_AVAILABLE_SEATS");
    for (body, field) in [
        (json!({ "emails": [], "role": "member" }), "emails"),
        (json!({ "emails": "a@x.co", "role": "member" }), "emails"),
        (json!({ "emails": vec!["a@x.co"; 51], "role": "member" }), "emails"),
        (json!({ "emails": ["a@x.co", "nobody"], "role": "member" }), "emails[1]"),
        (json!({ "emails": ["a@x.co"], "role": "king" }), "role"),
        (json!({ "emails": ["a@x.co"] }), "role"),
        (json!({ "emails": ["a@x.co"], "role": "member", "message": "x".repeat(501) }), "message"),
        (json!({ "emails": ["a@x.co"], "role": "member", "message": "a\u{0}b" }), "message"),
    ] {
        owner.post(INVITATIONS, body).await.refused_field(422, "VALIDATION_ERROR", field);
    }
    assert_eq!(app.count("team_invitations").await, 1, "nothing came of those");
    let stats = owner.get("/api/v1/team/stats").await.ok(200);
    let expected =
        json!({ "totalMembers": 3, "activeMembers": 2, "pendingInvites": 1, "availableSeats": 6, "maxSeats": 10 });
    assert_eq!(stats, expected);
    owner.invite(&many[..6], "member").await.ok(201);
    app.run_jobs().await;
}

#[tokio::test]
async fn the_invited_person_joins_beside_what_they_belong_to_already() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let bob = app.sign_up("bob@example.com").await;
    owner.invite(&["bob@example.com"], "admin").await.ok(201);
    let token = secret(&app, "bob@example.com").await;
    let member = accept(&bob, &token).await.ok(200);
    assert_eq!((&member["role"], &member["status"]), (&json!("admin"), &json!("active")));
    assert_eq!((&member["teamId"], &member["userId"]), (&json!(owner.organization_id()), &json!(bob.user_id())));
    assert_eq!(owner.get(INVITATIONS).await.ok(200)[0]["status"], "accepted");
    let joined = json!({ "role": "admin" });
    assert_eq!(audited(&app, &owner, "team.member_joined", &joined).await, 1);
    let organizations = bob.get("/api/v1/auth/organizations").await.ok(200);
    assert_eq!(organizations.as_array().unwrap().len(), 2);
    let switch = json!({ "org_id": owner.organization_id() });
    let tokens = bob.post("/api/v1/auth/organizations/switch", switch).await.ok(200);
    let there = app.with_token(tokens["access_token"].as_str().unwrap());
    assert_eq!(there.get(MEMBERS).await.ok(200).as_array().unwrap().len(), 2);

    accept(&bob, &token).await.refused(409, "ALREADY_MEMBER");
    lookup(&app, &token).await.refused(404, "NOT_FOUND");
    assert_eq!(owner.get("/api/v1/team/stats").await.ok(200)["pendingInvites"], 0);
    owner.invite(&["bob@example.com"], "viewer").await.refused(409, "ALREADY_MEMBER");
    let path = format!("{INVITATIONS}/{}", id(&owner.get(INVITATIONS).await.ok(200)[0]));
    owner.delete(&path).await.refused(409, "CONFLICT");
    owner.post(&format!("{path}/resend"), json!({})).await.refused(409, "CONFLICT");
}

#[tokio::test]
async fn an_invitation_opens_for_nobody_else_and_for_no_guess() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let eve = app.sign_up("eve@example.com").await;
    owner.invite(&["bob@example.com"], "admin").await.ok(201);
    let token = secret(&app, "bob@example.com").await;
    accept(&eve, &token).await.refused(403, "FORBIDDEN");
    accept(&app.nobody(), &token).await.refused(401, "UNAUTHENTICATED");
    accept(&eve, "made up").await.refused(404, "NOT_FOUND");
    accept(&eve, "").await.refused(404, "NOT_FOUND");
    eve.post(ACCEPT, json!({})).await.refused_field(422, "VALIDATION_ERROR", "token");
    lookup(&app, "made-up").await.refused(404, "NOT_FOUND");
    app.nobody().get(&format!("{INVITATIONS}/lookup")).await.refused_field(422, "VALIDATION_ERROR", "token");
    sign_up(&app, "mallory@example.com", &token).await.refused(403, "FORBIDDEN");
    sign_up(&app, "mallory@example.com", "made up").await.refused(404, "NOT_FOUND");
    assert_eq!(app.count("users WHERE email = 'mallory@example.com'").await, 0, "a refused sign-up leaves nothing");
    assert_eq!(owner.get(MEMBERS).await.ok(200).as_array().unwrap().len(), 1);
    lookup(&app, &token).await.ok(200);
}

#[tokio::test]
async fn signing_up_with_an_invitation_joins_instead_of_founding() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    owner.invite(&["grace@example.com"], "viewer").await.ok(201);
    let token = secret(&app, "grace@example.com").await;
    let organizations = app.count("organizations").await;
    let tokens = sign_up(&app, "Grace@Example.com", &token).await.ok(201);
    let grace = app.with_token(tokens["access_token"].as_str().unwrap());
    let me = grace.get("/api/v1/auth/me").await.ok(200);
    assert_eq!((&me["org_id"], &me["roles"]), (&json!(owner.organization_id()), &json!(["viewer"])));
    assert_eq!((&me["plan"], &me["email_verified"]), (&json!("teams"), &json!(true)), "the mail reached them");
    assert_eq!(app.mails_to("grace@example.com").await.len(), 1, "no other mail has to prove that");
    assert_eq!(app.count("organizations").await, organizations, "they get no organisation of their own");
    assert_eq!(grace.get("/api/v1/auth/organizations").await.ok(200).as_array().unwrap().len(), 1);
    let joined = json!({ "role": "viewer" });
    assert_eq!(audited(&app, &owner, "team.member_joined", &joined).await, 1);
    sign_up(&app, "grace@example.com", &token).await.refused(409, "EMAIL_TAKEN");
    app.run_jobs().await;
}

#[tokio::test]
async fn an_invitation_lives_for_seven_days_and_anew_when_it_is_sent_again() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "pro").await;
    let bob = app.sign_up("bob@example.com").await;
    let invitation = owner.invite(&["bob@example.com"], "member").await.ok(201)[0].clone();
    let first = secret(&app, "bob@example.com").await;
    app.advance(6 * 86_400);
    let (owner, bob) = (app.signed_in_again(&owner).await, app.signed_in_again(&bob).await);
    let again = owner.post(&format!("{INVITATIONS}/{}/resend", id(&invitation)), json!({})).await.ok(200);
    assert!(again["expiresAt"].as_str() > invitation["expiresAt"].as_str(), "{again}");
    assert_eq!((&again["createdAt"], &again["id"]), (&invitation["createdAt"], &invitation["id"]));
    let second = secret(&app, "bob@example.com").await;
    assert_ne!(first, second, "a new mail carries a new secret");
    lookup(&app, &first).await.refused(404, "NOT_FOUND");
    accept(&bob, &first).await.refused(404, "NOT_FOUND");

    app.advance(6 * 86_400);
    let (owner, bob) = (app.signed_in_again(&owner).await, app.signed_in_again(&bob).await);
    lookup(&app, &second).await.ok(200);
    assert_eq!(owner.get("/api/v1/team/stats").await.ok(200)["pendingInvites"], 1);
    app.advance(86_400);
    let (owner, bob) = (app.signed_in_again(&owner).await, app.signed_in_again(&bob).await);
    lookup(&app, &second).await.refused(410, "INVITATION_EXPIRED");
    accept(&bob, &second).await.refused(410, "INVITATION_EXPIRED");
    sign_up(&app, "bob@example.com", &second).await.refused(409, "EMAIL_TAKEN");
    assert_eq!(owner.get(INVITATIONS).await.ok(200)[0]["status"], "expired");
    assert_eq!(owner.get("/api/v1/team/stats").await.ok(200)["pendingInvites"], 0, "its seat is free");
    owner.post(&format!("{INVITATIONS}/{}/resend", id(&invitation)), json!({})).await.refused(409, "CONFLICT");
    // Invited once more, which is the first of the list again.
    let third = owner.invite(&["bob@example.com"], "viewer").await.ok(201);
    let listed = owner.get(INVITATIONS).await.ok(200);
    assert_eq!(listed[0], third[0]);
    assert_eq!(listed[1]["status"], "expired");
    lookup(&app, &second).await.refused(410, "INVITATION_EXPIRED");
    accept(&bob, &secret(&app, "bob@example.com").await).await.ok(200);
    owner.delete(&format!("{INVITATIONS}/{}", id(&invitation))).await.ok(204);
    assert_eq!(app.count("team_invitations WHERE status = 'cancelled'").await, 1);
}

#[tokio::test]
async fn a_withdrawn_invitation_is_worth_nothing_and_frees_its_seat() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "pro").await;
    let bob = app.sign_up("bob@example.com").await;
    let invitations = owner.invite(&["bob@example.com", "eve@example.com"], "member").await.ok(201);
    let path = format!("{INVITATIONS}/{}", id(&invitations[0]));
    let token = secret(&app, "bob@example.com").await;
    owner.invite(&["zoe@example.com"], "member").await.refused(403, "NO_AVAILABLE_SEATS");
    owner.delete(&path).await.ok(204);
    owner.delete(&path).await.ok(204);
    accept(&bob, &token).await.refused(404, "NOT_FOUND");
    lookup(&app, &token).await.refused(404, "NOT_FOUND");
    owner.post(&format!("{path}/resend"), json!({})).await.refused(409, "CONFLICT");
    let listed = owner.get(INVITATIONS).await.ok(200);
    let statuses: Vec<_> = listed.as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, ["pending", "cancelled"], "pending ones come first");
    owner.invite(&["zoe@example.com"], "member").await.ok(201);
    for id in ["11111111-1111-4111-8111-111111111111", "seven"] {
        owner.delete(&format!("{INVITATIONS}/{id}")).await.refused(404, "NOT_FOUND");
        owner.post(&format!("{INVITATIONS}/{id}/resend"), json!({})).await.refused(404, "NOT_FOUND");
    }
    app.run_jobs().await;
}

#[tokio::test]
async fn nobody_joins_past_the_seats_of_a_plan_that_became_smaller() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let (bob, eve) = (app.sign_up("bob@example.com").await, app.sign_up("eve@example.com").await);
    app.member(&owner, "member").await;
    owner.invite(&["bob@example.com", "eve@example.com"], "member").await.ok(201);
    set_plan(&app, &owner, "pro").await;
    accept(&bob, &secret(&app, "bob@example.com").await).await.ok(200);
    let token = secret(&app, "eve@example.com").await;
    accept(&eve, &token).await.refused(403, "NO_AVAILABLE_SEATS");
    lookup(&app, &token).await.ok(200);
    assert_eq!(owner.get("/api/v1/team/stats").await.ok(200)["totalMembers"], 3);
}

/// Otherwise they could neither sign in to accept another invitation nor sign up again.
#[tokio::test]
async fn who_belongs_nowhere_any_more_goes_on_in_an_organisation_of_their_own() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    owner.invite(&["grace@example.com"], "viewer").await.ok(201);
    let tokens = sign_up(&app, "grace@example.com", &secret(&app, "grace@example.com").await).await.ok(201);
    let grace = app.with_token(tokens["access_token"].as_str().unwrap());
    owner.delete(&grace.path(&owner).await).await.ok(204);
    let sign_ins = futures_util::future::join_all((0..3).map(|_| app.sign_in("grace@example.com"))).await;
    for grace in &sign_ins {
        let me = grace.get("/api/v1/auth/me").await.ok(200);
        assert_eq!((&me["roles"], &me["plan"]), (&json!(["owner"]), &json!("free")));
        assert_eq!(
            grace.get("/api/v1/auth/organizations").await.ok(200).as_array().unwrap().len(),
            1,
            "one, not three"
        );
    }
    owner.invite(&["grace@example.com"], "member").await.ok(201);
    accept(&sign_ins[0], &secret(&app, "grace@example.com").await).await.ok(200);
}

#[tokio::test]
async fn who_was_removed_can_be_invited_again_and_finds_what_they_left() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let bob = app.member(&owner, "admin").await;
    let (email, place) = (bob.email(), bob.place(&owner).await);
    let skill = bob.create_skill("Theirs").await;
    owner.delete(&bob.path(&owner).await).await.ok(204);
    owner.invite(&[&email], "viewer").await.ok(201);
    let login = json!({ "email": email, "password": PASSWORD });
    let tokens = app.nobody().post("/api/v1/auth/login", login).await.ok(200);
    let at_home = app.with_token(tokens["access_token"].as_str().unwrap());
    let member = accept(&at_home, &secret(&app, &email).await).await.ok(200);
    assert_eq!((&member["role"], &member["id"]), (&json!("viewer"), &place["id"]));
    assert!(member["joinedAt"].as_str() > place["joinedAt"].as_str(), "they joined anew: {member}");
    bob.get(MEMBERS).await.refused(401, "UNAUTHENTICATED");
    let switch = json!({ "org_id": owner.organization_id() });
    let tokens = at_home.post("/api/v1/auth/organizations/switch", switch).await.ok(200);
    let back = app.with_token(tokens["access_token"].as_str().unwrap());
    back.get(&format!("/api/v1/skills/{skill}")).await.ok(200);
    back.invite(&["x@example.com"], "viewer").await.refused(403, "FORBIDDEN");
}
