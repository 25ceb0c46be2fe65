//! What the database allows by itself, should the program above it forget to ask: nobody but an owner or an admin changes
//! a colleague, nobody themselves, and nobody makes an owner but an owner who steps down.

use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::owner_on;
use crate::harness::{Installation, Person, cluster};

/// What a statement of this person in the organisation of `owner` answers, as the tenant role.
async fn ask(app: &Installation, owner: &Person, person: &Person, statement: &str) -> Result<bool, String> {
    let mut conn = cluster::options("postgres", &app.database).connect().await.expect("the superuser may come in");
    let context = format!(
        "BEGIN; SET LOCAL app.current_org_id = '{}'; SET LOCAL app.current_user_id = '{}'; SET LOCAL ROLE kijko_tenant",
        owner.organization_id(),
        person.user_id()
    );
    sqlx::raw_sql(AssertSqlSafe(context)).execute(&mut conn).await.expect("a valid context");
    let answer = sqlx::query_scalar(AssertSqlSafe(statement.to_owned())).fetch_one(&mut conn).await;
    conn.close().await.ok();
    answer.map_err(|e| e.as_database_error().and_then(|e| e.code()).unwrap_or_default().into_owned())
}

#[tokio::test]
async fn members_are_changed_by_owners_and_admins_alone() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let mut people = vec![("owner", owner.clone())];
    for role in ["admin", "member", "viewer"] {
        people.push((role, app.member(&owner, role).await));
    }
    let rank = |role: &str| ["viewer", "member", "admin", "owner"].iter().position(|one| *one == role).unwrap();
    for (role, actor) in &people {
        for (target_role, target) in &people {
            let is_oneself = actor.user_id() == target.user_id();
            let may = *role == "owner" || (*role == "admin" && rank(target_role) < rank("admin"));
            let change = |role: &str, status: &str| {
                format!("SELECT app.change_member('{}', '{role}', '{status}')", target.user_id())
            };
            let what = format!("{role} on {target_role}");
            for status in ["active", "inactive", "removed"] {
                let answer = ask(&app, &owner, actor, &change("viewer", status)).await;
                assert_eq!(answer, Ok(may && !is_oneself), "{what}: {status}");
            }
            let made_owner = ask(&app, &owner, actor, &change("owner", "active")).await;
            assert_eq!(
                made_owner,
                Ok(may && !is_oneself && *target_role == "owner"),
                "{what}: nobody becomes owner so"
            );
            let transfer = format!("SELECT app.transfer_ownership('{}')", target.user_id());
            let answer = ask(&app, &owner, actor, &transfer).await;
            assert_eq!(answer, Ok(*role == "owner" && !is_oneself), "{what}: transfer");
        }
    }
}

#[tokio::test]
async fn who_is_not_active_changes_nobody() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let (admin, viewer) = (app.member(&owner, "admin").await, app.member(&owner, "viewer").await);
    let change = format!("SELECT app.change_member('{}', 'member', 'active')", viewer.user_id());
    assert_eq!(ask(&app, &owner, &admin, &change).await, Ok(true));
    for status in ["inactive", "pending", "removed"] {
        app.sql(&format!("UPDATE organization_members SET status = '{status}' WHERE role = 'admin'")).await;
        assert_eq!(ask(&app, &owner, &admin, &change).await, Ok(false), "{status}");
    }
    assert_eq!(ask(&app, &owner, &app.stranger().await, &change).await, Ok(false));
}

#[tokio::test]
async fn sessions_end_by_this_way_only_of_who_has_no_access_any_more() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let bob = app.member(&owner, "member").await;
    let end = format!("SELECT EXISTS (SELECT FROM app.end_member_sessions('{}', now()))", bob.user_id());
    assert_eq!(ask(&app, &owner, &owner, &end).await, Ok(false), "an active member stays signed in");
    app.sql(&format!("UPDATE organization_members SET status = 'inactive' WHERE user_id = '{}'", bob.user_id())).await;
    assert_eq!(ask(&app, &owner, &owner, &end).await, Ok(true));
    let elsewhere = app.stranger().await;
    assert_eq!(ask(&app, &elsewhere, &elsewhere, &end).await, Ok(false), "and only in one's own organisation");
}

#[tokio::test]
async fn tenants_write_no_membership_and_read_no_secret() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    for statement in [
        "UPDATE organization_members SET role = 'owner' RETURNING true",
        "DELETE FROM organization_members RETURNING true",
        "SELECT token_hash IS NULL FROM team_invitations",
        "UPDATE organizations SET plan = 'enterprise' RETURNING true",
        "SELECT app.acts_as('{owner}')",
    ] {
        assert_eq!(ask(&app, &owner, &owner, statement).await, Err("42501".to_owned()), "{statement}");
    }
    let foreign = format!("SELECT count(*) = 1 FROM users WHERE id <> '{}'", app.stranger().await.user_id());
    assert_eq!(ask(&app, &owner, &owner, &foreign).await, Ok(true), "a tenant sees one's own row of users alone");
}

#[tokio::test]
async fn what_colleagues_see_of_a_person_follows_the_person() {
    let app = Installation::new().await;
    let owner = owner_on(&app, "teams").await;
    let bob = app.member(&owner, "member").await;
    app.sql(&format!(
        "UPDATE users SET email = 'grace@example.com', first_name = 'Grace', last_name = 'Hopper' WHERE id = '{}'",
        bob.user_id()
    ))
    .await;
    let followed = "organization_members WHERE email = 'grace@example.com' AND first_name || last_name = 'GraceHopper'";
    assert_eq!(app.count(followed).await, 2, "in every organisation that they belong to");
}
