//! What the server owns, nobody sets: each operation that takes a body is sent a good one with every such member added,
//! in both spellings, and nothing of them is found in any table afterwards. The operations are those of the OpenAPI
//! document, so a new one is tried by itself; give it a good body here, or its body is guessed from its schema.

use axum::http::Method;
use serde_json::{Value, json};

use crate::harness::{Installation, PASSWORD, Person, skill};

const ID: &str = "dddddddd-dead-4ead-8ead-dddddddddddd";
const TEXT: &str = "MASS-ASSIGNED";
const NUMBER: i64 = 987_654_321;
const MOMENT: &str = "2001-02-03T04:05:06.789Z";

/// What no request may set, with values that are found again.
fn owned() -> Vec<(&'static str, Value)> {
    let all =
        |names: &[&'static str], value: Value| names.iter().map(|name| (*name, value.clone())).collect::<Vec<_>>();
    let ids = [
        "id",
        "organizationId",
        "orgId",
        "teamId",
        "userId",
        "ownerId",
        "createdBy",
        "sessionId",
        "familyId",
        "executionId",
        "jobId",
        "keycloakSub",
    ];
    let moments = [
        "emailVerifiedAt",
        "disabledAt",
        "deletedAt",
        "createdAt",
        "updatedAt",
        "expiresAt",
        "revokedAt",
        "lastUsedAt",
        "joinedAt",
        "lastExecutedAt",
        "executedAt",
        "startedAt",
        "completedAt",
        "leaseExpiresAt",
    ];
    let texts = [
        "output",
        "provider",
        "errorMessage",
        "errorCode",
        "passwordHash",
        "keyHash",
        "keyPrefix",
        "tokenHash",
        "revokeReason",
        "authMethod",
        "stripeCustomerId",
    ];
    let numbers = [
        "version",
        "revision",
        "skillVersion",
        "executionCount",
        "starCount",
        "rating",
        "ratingCount",
        "usageCount",
        "costCents",
        "costMicros",
        "inputTokens",
        "outputTokens",
        "tokensUsed",
        "durationMs",
        "attempts",
        "maxSeats",
        "failedLogins",
    ];
    let flags = ["isPlatformAdmin", "platformAdmin", "isAdmin", "emailVerified"];
    let others = vec![
        ("role", json!("owner")),
        ("orgRole", json!("owner")),
        ("roles", json!(["owner", "platform_admin"])),
        ("plan", json!("enterprise")),
        ("status", json!("completed")),
        ("planLimitsOverride", json!({ "seats": NUMBER })),
    ];
    let same = [
        all(&ids, json!(ID)),
        all(&moments, json!(MOMENT)),
        all(&texts, json!(TEXT)),
        all(&numbers, json!(NUMBER)),
        all(&flags, json!(true)),
    ];
    [same.concat(), others].concat()
}

fn snake_case(name: &str) -> String {
    let word = |c: char| if c.is_ascii_uppercase() { format!("_{}", c.to_ascii_lowercase()) } else { c.to_string() };
    name.chars().map(word).collect()
}

/// What a body of this operation may hold.
fn declared(operation: &Value) -> Value {
    let document = kijko_http::document();
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let schema = schema.get("oneOf").map_or(schema, |options| &options[0]);
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).expect("references lead somewhere").clone(),
        None => schema.clone(),
    }
}

/// A body with everything that its schema demands.
fn guessed(schema: &Value) -> Value {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let member = |name: &Value| {
        let name = name.as_str().expect("a name");
        let value = match schema["properties"][name]["type"].as_str() {
            Some("integer" | "number") => json!(1),
            Some("boolean") => json!(false),
            Some("array") => json!([]),
            Some("object") => json!({}),
            _ if name.contains("email") => json!("guessed@example.com"),
            _ => json!("a guess that is long enough"),
        };
        (name.to_owned(), value)
    };
    Value::Object(required.iter().map(member).collect())
}

struct Cast {
    ada: Person,
    colleague_place: String,
    skill: String,
    leaving: Person,
}

/// Where an operation is sent, by whom, and a good body; None when nobody described it yet.
fn good(app: &Installation, cast: &Cast, operation: &str) -> Option<(Person, String, Value)> {
    let ada = || cast.ada.clone();
    let path = |id: &str| operation.split_once(' ').expect("method and path").1.replace("{id}", id);
    let new_key = json!({ "name": "A machine", "expiration": "never", "scopes": ["read"] });
    let credentials = json!({ "email": "ada@example.com", "password": PASSWORD });
    Some(match operation {
        "POST /api/v1/auth/signup" => {
            let body = json!({ "email": "new@example.com", "password": PASSWORD, "first_name": "N", "last_name": "P" });
            (app.nobody(), path(""), body)
        }
        "POST /api/v1/auth/login" => (app.nobody(), path(""), credentials),
        "POST /api/v1/auth/refresh" | "POST /api/v1/auth/logout" => {
            (app.nobody(), path(""), json!({ "refresh_token": cast.leaving.refresh_token() }))
        }
        "POST /api/v1/auth/organizations/switch" => (ada(), path(""), json!({ "org_id": cast.ada.organization_id() })),
        "PATCH /api/v1/team" => (ada(), path(""), json!({ "name": "Renamed" })),
        "PATCH /api/v1/team/members/{id}" => (ada(), path(&cast.colleague_place), json!({ "role": "viewer" })),
        "POST /api/v1/team/invitations" => {
            (ada(), path(""), json!({ "emails": ["invited@example.com"], "role": "member" }))
        }
        "POST /api/v1/security/api-keys" => (ada(), path(""), new_key),
        "POST /api/v1/skills" => (ada(), path(""), skill("Another")),
        "POST /api/v1/skills/{id}/duplicate" => (ada(), path(&cast.skill), json!({ "newName": "A copy" })),
        "POST /api/v1/skills/import" => (ada(), path(""), json!({ "version": "1.0", "skill": skill("Imported") })),
        "POST /api/v1/skills/bulk/activate" | "POST /api/v1/skills/bulk/deactivate" => {
            (ada(), path(""), json!({ "skillIds": ["22222222-2222-4222-8222-222222222222"] }))
        }
        "PUT /api/v1/skills/{id}" | "PATCH /api/v1/skills/{id}" => {
            (ada(), path(&cast.skill), json!({ "description": "changed" }))
        }
        "PUT /api/v1/settings/budget" => (ada(), path(""), json!({ "limitUsd": "25.00" })),
        "PUT /api/v1/skills/{id}/budget" => (ada(), path(&cast.skill), json!({ "limitUsd": "25.00" })),
        "POST /api/v1/skills/{id}/test" => (ada(), path(&cast.skill), json!({ "input": { "text": "x" } })),
        "POST /api/v1/skills/test" => (ada(), path(""), json!({ "promptTemplate": "Summarise in one line" })),
        "POST /api/v1/skills/{id}/execute" => (ada(), path(&cast.skill), json!({ "input": { "text": "x" } })),
        _ => return None,
    })
}

/// Every row of every table of ours, as text.
async fn everything(app: &Installation) -> Vec<String> {
    let tables = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'
                     AND table_name <> '_sqlx_migrations' ORDER BY 1";
    let tables: Vec<String> =
        sqlx::query_scalar(tables).fetch_all(&app.superuser).await.expect("the superuser sees all");
    let parts: Vec<String> = tables.iter().map(|t| format!("SELECT '{t} ' || r::text FROM {t} r")).collect();
    let sql = sqlx::AssertSqlSafe(parts.join(" UNION ALL "));
    sqlx::query_scalar(sql).fetch_all(&app.superuser).await.expect("the superuser sees all")
}

#[tokio::test]
async fn nothing_that_the_server_owns_can_be_sent_along() {
    let mut app = Installation::new().await;
    app.leave_jobs();
    let ada = app.sign_up("ada@example.com").await;
    let leaving = app.sign_up("leaving@example.com").await;
    app.sql(&format!("UPDATE organizations SET plan = 'teams' WHERE id = '{}'", ada.organization_id())).await;
    let colleague = app.member(&ada, "member").await;
    let members = ada.get("/api/v1/team/members").await.ok(200);
    let of_colleague = |member: &&Value| member["userId"] == colleague.user_id();
    let place = members.as_array().unwrap().iter().find(of_colleague).expect("the colleague is a member");
    let colleague_place = place["id"].as_str().unwrap().to_owned();
    let cast = Cast { skill: ada.create_skill("Mine").await, ada, colleague_place, leaving };

    let (mut carried_out, mut tried) = (0, 0);
    for (method, path, operation) in crate::access::operations() {
        if !["POST", "PUT", "PATCH"].contains(&method.as_str()) {
            continue;
        }
        let name = format!("{method} {path}");
        let schema = declared(&operation);
        let described = good(&app, &cast, &name);
        let is_described = described.is_some();
        let (person, target, mut body) =
            described.unwrap_or_else(|| (cast.ada.clone(), path.replace("{id}", &cast.skill), guessed(&schema)));
        for (member, value) in owned() {
            for spelling in [member.to_owned(), snake_case(member)] {
                // What the operation is for is no trespass.
                if schema["properties"].get(member).is_none() && schema["properties"].get(&spelling).is_none() {
                    body[spelling] = value.clone();
                }
            }
        }
        let reply = person.call(method.parse::<Method>().unwrap(), &target, Some(body)).await;
        tried += 1;
        assert!(reply.status.as_u16() < 500, "{name} cannot cope with what it does not know: {}", reply.text);
        if is_described {
            assert!(reply.status.is_success(), "{name} should ignore what it does not know: {}", reply.text);
            carried_out += 1;
        }
        for row in everything(&app).await {
            for marker in [ID, TEXT, &NUMBER.to_string(), "2001-02-03"] {
                assert!(!row.contains(marker), "{name} stored what only the server may set: {row}");
            }
        }
        assert_eq!(app.count("organizations WHERE plan = 'enterprise'").await, 0, "{name} changed the plan");
        assert_eq!(app.count("users WHERE is_platform_admin OR disabled_at IS NOT NULL").await, 0, "{name} made staff");
        let owners = "organization_members m WHERE role = 'owner' AND EXISTS (SELECT FROM organization_members o
                         WHERE o.organization_id = m.organization_id AND o.role = 'owner' AND o.user_id <> m.user_id)";
        assert_eq!(app.count(owners).await, 0, "{name} made a second owner");
        assert_eq!(app.count("skill_executions WHERE status = 'completed'").await, 0, "{name} completed a run");
        assert_eq!(app.count("users WHERE email_verified_at IS NOT NULL").await, 0, "{name} verified an address");
    }
    assert!(carried_out >= 13 && tried > carried_out, "only {carried_out} of {tried}: was the interface renamed?");
}
