//! An organisation that several people share: who may see and change what of it (`members`), how people come in
//! (`invitations`), which organisation they work in (`organizations`), what happens when many act at once (`races`), that
//! whoever loses access has lost it everywhere (`access`), and what the database itself allows (`database`).

use serde_json::{Value, json};

use crate::harness::{Installation, Person};

mod access;
mod database;
mod invitations;
mod members;
mod organizations;
mod races;

const MEMBERS: &str = "/api/v1/team/members";
const INVITATIONS: &str = "/api/v1/team/invitations";

impl Person {
    fn email(&self) -> String {
        self.claims()["email"].as_str().expect("an address").to_owned()
    }

    /// This person's place in the team of `colleague`, who belongs to it as well.
    async fn place(&self, colleague: &Person) -> Value {
        let members = colleague.get(MEMBERS).await.ok(200);
        let user = json!(self.user_id());
        let place = members.as_array().expect("a list").iter().find(|member| member["userId"] == user);
        place.unwrap_or_else(|| panic!("{user} is no member: {members}")).clone()
    }

    /// The path of this person's place in the team of `colleague`.
    async fn path(&self, colleague: &Person) -> String {
        format!("{MEMBERS}/{}", self.place(colleague).await["id"].as_str().expect("an id"))
    }

    async fn patch(&self, path: &str, body: Value) -> crate::harness::Reply {
        self.call(axum::http::Method::PATCH, path, Some(body)).await
    }

    async fn invite(&self, emails: &[&str], role: &str) -> crate::harness::Reply {
        self.post(INVITATIONS, json!({ "emails": emails, "role": role })).await
    }
}

/// The owner of an organisation on this plan.
async fn owner_on(app: &Installation, plan: &str) -> Person {
    let owner = app.owner().await;
    set_plan(app, &owner, plan).await;
    owner
}

async fn set_plan(app: &Installation, owner: &Person, plan: &str) {
    app.sql(&format!("UPDATE organizations SET plan = '{plan}' WHERE id = '{}'", owner.organization_id())).await;
}

/// The secret in the last invitation that went to this address, which gets other mails too.
async fn secret(app: &Installation, email: &str) -> String {
    let mails = app.mails_to(email).await;
    let mail = mails.iter().rev().find(|mail| mail.text.contains("/invitations/accept?token="));
    crate::harness::token_in(&mail.unwrap_or_else(|| panic!("no invitation went to {email}")).text)
}

/// How many entries of this kind the audit log of the organisation has, with these metadata.
async fn audited(app: &Installation, owner: &Person, event: &str, metadata: &Value) -> i64 {
    let organization = owner.organization_id();
    let literal = metadata.to_string().replace('\'', "''");
    app.count(&format!(
        "audit_logs WHERE organization_id = '{organization}' AND event_type = '{event}' AND metadata @> '{literal}'"
    ))
    .await
}
