//! What the policies cost: with tens of thousands of rows of others beside one's own, every query of a tenant still
//! goes through an index that begins with the organisation, and never past the rows of others.

use regex::Regex;
use serde_json::Value;
use sqlx::postgres::PgConnection;
use tokio::sync::OnceCell;

use super::{superuser, texts};
use crate::harness::{Installation, cluster};

/// One of the crowd, at work.
const TENANT: &str = "SET LOCAL ROLE kijko_tenant;
    DO $$ BEGIN PERFORM set_config('app.current_org_id', md5('organisation 1')::uuid::text, true),
                        set_config('app.current_user_id', md5('user 1 1')::uuid::text, true); END $$;";

/// A connection to a database with a crowd. Read only: the database is shared.
async fn crowded() -> PgConnection {
    static DATABASE: OnceCell<String> = OnceCell::const_new();
    let make = async || {
        let database = cluster::fresh_database().await;
        crowd(&mut superuser(&database).await).await;
        database
    };
    superuser(DATABASE.get_or_init(make).await).await
}

/// Two organisations of 20 people, each with 1 000 skills and 1 500 executions.
async fn crowd(conn: &mut PgConnection) {
    let sql = "
        BEGIN;
        INSERT INTO organizations (id, name, created_at, updated_at)
            SELECT md5('organisation ' || o)::uuid, o, now(), now() FROM generate_series(1, 2) o;
        INSERT INTO users (id, email, first_name, last_name, created_at, updated_at)
            SELECT md5(format('user %s %s', o, u))::uuid, format('%s@%s.example.com', u, o), 'A', 'B', now(), now()
              FROM generate_series(1, 2) o, generate_series(1, 20) u;
        INSERT INTO organization_members (organization_id, user_id, role, joined_at)
            SELECT md5('organisation ' || o)::uuid, md5(format('user %s %s', o, u))::uuid, 'member', now()
              FROM generate_series(1, 2) o, generate_series(1, 20) u;
        INSERT INTO skills (organization_id, id, user_id, name, category, prompt_template, model, parameters,
                            output_format, is_active, execution_count, created_at, updated_at)
            SELECT md5('organisation ' || o)::uuid, md5(format('skill %s %s %s', o, u, s))::uuid,
                   md5(format('user %s %s', o, u))::uuid, 'Skill ' || md5(s::text), 'custom',
                   'Summarise in one line: {{text}}', 'offline', '{}', 'text', s % 3 > 0, s % 50,
                   now() - s * interval '1 hour', now() - s * interval '1 minute'
              FROM generate_series(1, 2) o, generate_series(1, 20) u, generate_series(1, 1000) s;
        INSERT INTO skill_executions (organization_id, id, user_id, skill_id, execution_type, input, status,
                                      executed_at, completed_at, duration_ms)
            SELECT md5('organisation ' || o)::uuid, md5(format('execution %s %s %s', o, u, e))::uuid,
                   md5(format('user %s %s', o, u))::uuid, md5(format('skill %s %s %s', o, u, e % 100 + 1))::uuid,
                   'manual', '{}', CASE WHEN e < 3 THEN 'pending' WHEN e % 9 = 0 THEN 'failed' ELSE 'completed' END,
                   now() - e * interval '10 minutes', CASE WHEN e < 3 THEN NULL ELSE now() END, e * 10
              FROM generate_series(1, 2) o, generate_series(1, 20) u, generate_series(1, 1500) e;
        INSERT INTO skill_stars (organization_id, user_id, skill_id, created_at)
            SELECT organization_id, user_id, id, created_at FROM skills WHERE execution_count < 10;
        INSERT INTO skill_versions (organization_id, skill_id, number, user_id, prompt_template, model, parameters,
                                    created_at)
            SELECT organization_id, id, n, user_id, prompt_template, model, parameters, created_at
              FROM skills, generate_series(1, 3) n;
        COMMIT";
    texts(conn, sql).await;
    texts(conn, "VACUUM (ANALYZE) skills").await;
    texts(conn, "VACUUM (ANALYZE) skill_versions").await;
    texts(conn, "VACUUM (ANALYZE) skill_stars").await;
    texts(conn, "VACUUM (ANALYZE) skill_executions").await;
    texts(conn, "VACUUM (ANALYZE) execution_statistics").await;
}

/// Every node of a plan that reads a table of ours: the node, the table, the index and what is looked up in it.
fn scans(plan: &Value, found: &mut Vec<(String, String, String, String)>) {
    let text = |name: &str| plan[name].as_str().unwrap_or_default().to_owned();
    let node = text("Node Type");
    if node.ends_with("Scan") && node != "Bitmap Heap Scan" && node != "Subquery Scan" {
        found.push((node, text("Relation Name"), text("Index Name"), text("Index Cond")));
    }
    for child in plan["Plans"].as_array().into_iter().flatten() {
        scans(child, found);
    }
}

/// The plan of the query, as the role and in the context that `opening` sets.
async fn explain(conn: &mut PgConnection, opening: &str, query: &str) -> Value {
    let text = texts(conn, format!("BEGIN; {opening} EXPLAIN (FORMAT JSON) {query}")).await.concat();
    texts(conn, "ROLLBACK").await;
    let mut plan: Value = serde_json::from_str(&text).expect("a plan in JSON");
    plan[0]["Plan"].take()
}

/// What is wrong with the plan of the query.
async fn complaint(conn: &mut PgConnection, opening: &str, query: &str, leading: &str) -> Option<String> {
    let plan = explain(conn, opening, query).await;
    let mut found = Vec::new();
    scans(&plan, &mut found);
    assert!(!found.is_empty(), "the plan reads nothing: {plan}");
    let wrong = found.iter().find(|(node, table, index, condition)| {
        let reads_ours = [
            "skills",
            "skill_stars",
            "skill_versions",
            "skill_executions",
            "execution_statistics",
            "organization_members",
            "team_invitations",
        ]
        .contains(&table.as_str())
            || !index.is_empty();
        reads_ours
            && (node == "Seq Scan"
                || index.is_empty()
                || !condition.trim_start_matches('(').starts_with(&format!("{leading} =")))
    });
    wrong.map(|(node, table, index, condition)| format!("{query}\n    {node} {table} {index} {condition}"))
}

/// The orders in which the adapter reads skills, from its source: a new one is explained without being asked for.
fn skill_orders() -> Vec<String> {
    let source = include_str!("../../../crates/kijko-core/src/adapters/postgres/skills.rs");
    let arm = Regex::new(r#"SkillSort::\w+ => " (ORDER BY [^"]+)""#).expect("valid");
    let orders: Vec<String> = arm.captures_iter(source).map(|found| found[1].to_owned()).collect();
    assert!(orders.len() >= 5, "the orders are no longer written as `SkillSort::… => \" ORDER BY …\"`: {orders:?}");
    orders
}

fn tenant_queries() -> Vec<String> {
    let skill = "md5('skill 1 1 7')::uuid";
    let execution = "md5('execution 1 1 7')::uuid";
    let mut queries = vec![
        format!("SELECT * FROM skills WHERE id = {skill}"),
        format!("SELECT id FROM skills WHERE id = {skill} FOR UPDATE"),
        format!("SELECT * FROM skills WHERE id = ANY (ARRAY[{skill}, {execution}])"),
        format!("UPDATE skills SET name = 'New' WHERE id = {skill}"),
        format!("DELETE FROM skills WHERE id = {skill}"),
        format!("SELECT * FROM skill_versions WHERE skill_id = {skill} AND number = 2"),
        "SELECT skill_id FROM skill_stars ORDER BY created_at DESC, skill_id LIMIT 500".to_owned(),
        "SELECT lower(name) FROM skills WHERE lower(name) = ANY ('{a,b}')".to_owned(),
        format!("SELECT id FROM skills WHERE id = ANY (ARRAY[{skill}, {execution}]) ORDER BY id FOR UPDATE"),
        format!(
            "SELECT id FROM skill_executions WHERE skill_id = ANY (ARRAY[{skill}, {execution}])
                AND status IN ('pending', 'running') ORDER BY id"
        ),
        format!(
            "SELECT number FROM skill_versions WHERE skill_id = {skill} AND number BETWEEN 1 AND 20 ORDER BY 1 DESC"
        ),
        format!("SELECT * FROM skill_executions WHERE id = {execution}"),
        "SELECT count(*) FROM skill_executions WHERE status IN ('pending', 'running')".to_owned(),
        format!(
            "SELECT id FROM skill_executions WHERE skill_id = {skill} AND status IN ('pending', 'running') ORDER BY id"
        ),
    ];
    for filter in [
        "true",
        "is_active = true",
        "category = ANY ('{custom,analysis}')",
        "(strpos(lower(name), lower('abc')) > 0 OR strpos(lower(description), lower('abc')) > 0)",
    ] {
        queries.push(format!("SELECT count(*) FROM skills WHERE true AND {filter}"));
        for order in skill_orders() {
            queries.push(format!("SELECT * FROM skills WHERE true AND {filter} {order} LIMIT 20 OFFSET 0"));
            queries.push(format!("SELECT * FROM skills WHERE true AND {filter} {order} LIMIT 20 OFFSET 900"));
        }
    }
    let (by_skill, by_date) =
        (format!("skill_id = {skill}"), "executed_at >= now() - interval '1 day' AND executed_at <= now()");
    let both = format!("{by_skill} AND status = 'failed' AND execution_type = 'manual' AND {by_date}");
    for filter in
        ["true", &by_skill, "status = 'failed'", "status = 'pending'", "execution_type = 'manual'", by_date, &both]
    {
        let newest = "ORDER BY executed_at DESC, id DESC";
        for part in [
            format!("{newest} OFFSET 0 LIMIT 20"),
            format!("{newest} OFFSET 1000 LIMIT 20"),
            format!("AND (executed_at, id) < (now() - interval '1 day', {execution}) {newest} LIMIT 20"),
            format!(
                "AND (executed_at, id) > (now() - interval '1 day', {execution}) ORDER BY executed_at, id LIMIT 20"
            ),
        ] {
            let ids = format!("SELECT id FROM skill_executions WHERE true AND {filter} {part}");
            queries.push(format!("SELECT * FROM skill_executions WHERE id = ANY (ARRAY({ids})) {newest}"));
        }
    }
    queries.extend(statistics(skill));
    queries
}

/// What statistics read, piece by piece.
fn statistics(skill: &str) -> Vec<String> {
    let hours = "hour >= now() - interval '7 days' AND hour < now()";
    let of_all = "skill_id = '00000000-0000-0000-0000-000000000000'";
    let mut queries: Vec<String> = [
        format!("grain = 'hour' AND {of_all} AND {hours}"),
        format!("grain = 'hour' AND {of_all} AND status = 'completed'"),
        format!("grain = 'skill_hour' AND skill_id = {skill} AND {hours}"),
        "grain = 'skill'".to_owned(),
    ]
    .map(|filter| format!("SELECT sum(executions) FROM execution_statistics WHERE {filter}"))
    .into();
    queries.push(format!(
        "SELECT skill_id, sum(executions) FROM execution_statistics WHERE grain = 'skill_hour' AND {hours} GROUP BY 1"
    ));
    for filter in ["true", &format!("skill_id = {skill}")] {
        queries.push(format!(
            "SELECT duration_ms FROM skill_executions WHERE status = 'completed' AND duration_ms > 0 AND {filter}
              ORDER BY duration_ms OFFSET 100 LIMIT 1"
        ));
        queries.push(format!(
            "SELECT sum(cost_cents) FROM skill_executions WHERE status IN ('completed', 'failed', 'cancelled')
                AND executed_at >= now() - interval '1 hour' AND executed_at < now() AND {filter}"
        ));
    }
    queries
}

#[tokio::test]
async fn every_query_of_a_tenant_uses_an_index_that_begins_with_the_organization() {
    let mut conn = crowded().await;
    let mut complaints = Vec::new();
    for query in tenant_queries() {
        complaints.extend(complaint(&mut conn, TENANT, &query, "organization_id").await);
    }
    // The same once the plan no longer knows the ids, as after five calls of a prepared statement.
    let generic = format!("{TENANT} SET LOCAL plan_cache_mode = force_generic_plan;");
    for (types, query) in [
        ("uuid", "SELECT * FROM skills WHERE id = $1"),
        ("uuid[]", "SELECT * FROM skills WHERE id = ANY ($1)"),
        ("bigint", "SELECT * FROM skills ORDER BY updated_at DESC, id LIMIT $1"),
        ("text", "SELECT * FROM skill_executions WHERE status = $1 ORDER BY executed_at DESC, id DESC LIMIT 20"),
        ("uuid", "SELECT * FROM skill_executions WHERE skill_id = $1 ORDER BY executed_at DESC, id DESC LIMIT 20"),
    ] {
        let prepared = format!("{generic} DEALLOCATE ALL; PREPARE q ({types}) AS {query};");
        complaints.extend(complaint(&mut conn, &prepared, "EXECUTE q (NULL)", "organization_id").await);
    }
    assert!(
        complaints.is_empty(),
        "these read rows of others, or walk an index; add one that begins with (organization_id, user_id, …):\n  {}",
        complaints.join("\n  ")
    );
}

/// A page is as cheap for who has a thousand skills as for who has ten.
#[tokio::test]
async fn first_pages_come_out_of_an_index_in_their_order() {
    let mut conn = crowded().await;
    let mut queries: Vec<String> =
        skill_orders().iter().map(|order| format!("SELECT * FROM skills {order} LIMIT 20")).collect();
    queries.push("SELECT skill_id FROM skill_stars ORDER BY created_at DESC, skill_id LIMIT 500".to_owned());
    for filter in ["true", "status = 'failed'", "skill_id = md5('skill 1 1 7')::uuid"] {
        let order = "ORDER BY executed_at DESC, id DESC LIMIT 20";
        queries.push(format!("SELECT * FROM skill_executions WHERE {filter} {order}"));
    }
    for query in queries {
        let plan = explain(&mut conn, TENANT, &query).await.to_string();
        assert!(!plan.contains(r#""Node Type":"Sort""#), "no index gives the order of this: {query}\n{plan}");
    }
}

#[tokio::test]
async fn the_sweep_over_all_organizations_uses_its_own_index() {
    let mut conn = crowded().await;
    for query in [
        "SELECT organization_id, user_id, id FROM skill_executions
          WHERE status = 'running' AND lease_expires_at < now() ORDER BY lease_expires_at LIMIT 100",
        "SELECT e.organization_id, e.user_id, e.id FROM skill_executions e
          WHERE e.status = 'pending' AND e.executed_at < now() ORDER BY e.executed_at LIMIT 100",
    ] {
        let complaint = complaint(&mut conn, "SET LOCAL ROLE kijko_system;", query, "status").await;
        assert_eq!(
            complaint, None,
            "the sweep runs every few seconds over all rows: skill_executions_sweep_idx is for it"
        );
    }
}

/// What really runs, whatever it was explained as: the requests of one person, while PostgreSQL counts whole scans.
#[tokio::test]
async fn no_request_reads_a_whole_table() {
    let mut app = Installation::new().await;
    app.leave_jobs();
    let mut conn = superuser(&app.database).await;
    crowd(&mut conn).await;
    let ada = app.owner().await;
    let skill = ada.create_skill("Mine").await;
    let execution = ada.execute(&skill, serde_json::json!({})).await;
    let scanned = "SELECT format('%s %s', relname, seq_scan) FROM pg_stat_user_tables
                    WHERE relname IN ('skills', 'execution_statistics', 'skill_executions', 'skill_stars', 'skill_versions') ORDER BY relname";
    texts(&mut conn, "SELECT pg_stat_reset()").await;
    // Often enough for PostgreSQL to settle on a plan that fits any values.
    for _ in 0..8 {
        for sort in ["updated", "created", "name", "most-used", "popular"] {
            ada.get(&format!("/api/v1/skills?sort={sort}")).await.ok(200);
        }
        let mut paths = vec![
            "skills?search=abc&category=custom&is_active=true".to_owned(),
            format!("skills/{skill}"),
            format!("skills/{skill}/versions"),
            format!("skills/{skill}/full"),
            format!("skills/{skill}/executions"),
            "skills/starred".to_owned(),
            format!("skills/{skill}/versions/1/diff/1"),
            format!("executions/{execution}"),
            format!("executions?skillId={skill}"),
            format!("executions/{execution}/full"),
            format!("skills/{skill}/stats?period=90d"),
            format!("skills/stats/percentiles?skillId={skill}"),
            format!("executions/performance?skillId={skill}"),
            format!("executions/stats?skillId={skill}&startDate=2026-01-01T10:30:00Z"),
        ];
        paths.extend(
            [
                "executions/recent",
                "executions/running",
                "executions?offset=3&limit=2",
                "executions/export?format=csv",
                "skills/stats",
                "skills/stats/aggregated",
                "skills/stats/percentiles",
                "skills/stats/projection",
                "executions/stats?startDate=2026-01-01T10:30:00Z&endDate=2030-01-01",
                "executions/cost-breakdown",
                "executions/cost-breakdown?startDate=2026-01-01T10:30:00Z",
                "executions/performance",
                "executions/stats/by-skill",
                "executions/stats/by-period",
            ]
            .map(str::to_owned),
        );
        paths.extend(
            ["", "?status=failed", "?executionType=manual", "?startDate=2020-01-01"]
                .map(|query| format!("executions{query}")),
        );
        for path in paths {
            ada.get(&format!("/api/v1/{path}")).await.ok(200);
        }
        ada.put(&format!("/api/v1/skills/{skill}"), serde_json::json!({ "description": "Changed" })).await.ok(200);
        ada.put(&format!("/api/v1/skills/{skill}/star"), serde_json::json!({})).await.ok(200);
        let one = serde_json::json!({ "skillIds": [skill] });
        ada.post("/api/v1/skills/bulk/activate", one).await.ok(200);
        ada.post(&format!("/api/v1/executions/{execution}/cancel"), serde_json::json!({})).await;
        ada.execute(&skill, serde_json::json!({})).await;
    }
    // A connection tells what it did at the latest when it ends.
    app.app.close().await;
    let own = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'kijko_app'";
    crate::harness::eventually("the server's connections end", async || texts(&mut conn, own).await[0] == "0").await;
    let scanned = texts(&mut conn, scanned).await;
    assert_eq!(
        scanned,
        ["execution_statistics 0", "skill_executions 0", "skill_stars 0", "skill_versions 0", "skills 0"],
        "some request read a whole table: EXPLAIN its statements"
    );
}

/// Thirty teams of the same 300 people, each of whom invited somebody to each of them.
async fn crowd_of_teams(conn: &mut PgConnection) {
    let sql = "
        BEGIN;
        INSERT INTO organizations (id, name, created_at, updated_at)
            SELECT md5('organisation ' || o)::uuid, o, now(), now() FROM generate_series(1, 30) o;
        INSERT INTO users (id, email, first_name, last_name, created_at, updated_at)
            SELECT md5('user 1 ' || u)::uuid, u || '@example.com', 'A', 'B', now(), now()
              FROM generate_series(1, 300) u;
        INSERT INTO organization_members (organization_id, user_id, role, status, joined_at)
            SELECT md5('organisation ' || o)::uuid, md5('user 1 ' || u)::uuid,
                   CASE u WHEN 1 THEN 'owner' ELSE 'member' END,
                   CASE WHEN u % 5 = 0 THEN 'removed' ELSE 'active' END, now()
              FROM generate_series(1, 30) o, generate_series(1, 300) u;
        INSERT INTO team_invitations (organization_id, id, email, role, invited_by, token_hash, status, expires_at,
                                      created_at)
            SELECT md5('organisation ' || o)::uuid, md5(format('invitation %s %s', o, u))::uuid,
                   format('new-%s@%s.example.com', u, o), 'member', md5('user 1 ' || u)::uuid,
                   sha256(format('%s %s', o, u)::bytea), CASE WHEN u % 9 = 0 THEN 'pending' ELSE 'accepted' END,
                   now() + interval '1 day', now()
              FROM generate_series(1, 30) o, generate_series(1, 300) u;
        COMMIT";
    texts(conn, sql).await;
    texts(conn, "VACUUM (ANALYZE) organization_members").await;
    texts(conn, "VACUUM (ANALYZE) team_invitations").await;
}

#[tokio::test]
async fn a_team_is_read_by_its_own_index_however_many_teams_there_are() {
    let database = cluster::fresh_database().await;
    let mut conn = superuser(&database).await;
    crowd_of_teams(&mut conn).await;
    let mut complaints = Vec::new();
    let invitations = "FROM team_invitations i
        JOIN organization_members m ON m.organization_id = i.organization_id AND m.user_id = i.invited_by";
    for query in [
        "SELECT m.user_id FROM organization_members m WHERE m.role = 'owner' AND m.status <> 'removed'
          ORDER BY m.status <> 'active', m.joined_at, m.user_id LIMIT 1",
        "SELECT count(*) FROM organization_members WHERE status <> 'removed'",
        "SELECT count(*) FROM organization_members WHERE role = 'owner' AND status = 'active'",
        "SELECT id, email FROM organization_members WHERE status <> 'removed'
          ORDER BY array_position(ARRAY['active', 'pending', 'inactive'], status),
                   array_position(ARRAY['owner', 'admin', 'member', 'viewer'], role), id LIMIT 500",
        "SELECT id FROM organization_members WHERE id = md5('x')::uuid AND status <> 'removed'",
        "SELECT id FROM organization_members WHERE user_id = md5('user 1 7')::uuid AND status <> 'removed'",
        "SELECT email FROM organization_members WHERE email = ANY ('{a@x.co,b@x.co}') AND status <> 'removed'",
        "SELECT count(*) FROM team_invitations WHERE status = 'pending' AND expires_at > now()",
        "SELECT email FROM team_invitations
          WHERE email = ANY ('{a@x.co,b@x.co}') AND status = 'pending' AND expires_at > now()",
        "UPDATE team_invitations SET status = 'expired' WHERE status = 'pending' AND expires_at <= now()",
        "UPDATE team_invitations SET status = 'cancelled' WHERE id = md5('invitation 1 7')::uuid",
        &format!(
            "SELECT i.id, m.first_name {invitations}
              ORDER BY i.status = 'pending' AND i.expires_at > now() DESC, i.created_at DESC, i.id LIMIT 500"
        ),
        &format!("SELECT i.id, m.first_name {invitations} WHERE i.id = md5('invitation 1 7')::uuid"),
    ] {
        complaints.extend(complaint(&mut conn, TENANT, query, "organization_id").await);
    }
    let system = "SET LOCAL ROLE kijko_system;";
    for (query, leading) in [
        ("SELECT id FROM team_invitations WHERE token_hash = sha256('1 7')", "token_hash"),
        (
            "SELECT organization_id FROM organization_members WHERE user_id = md5('user 1 7')::uuid AND status = 'active'
              ORDER BY joined_at, organization_id LIMIT 500",
            "user_id",
        ),
        (
            "UPDATE organization_members SET last_active_at = now()
              WHERE organization_id = md5('organisation 1')::uuid AND user_id = md5('user 1 7')::uuid",
            "organization_id",
        ),
    ] {
        complaints.extend(complaint(&mut conn, system, query, leading).await);
    }
    assert!(complaints.is_empty(), "these read the rows of other teams:\n  {}", complaints.join("\n  "));
}
