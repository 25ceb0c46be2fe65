//! The history as a file.

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::harness::{Installation, Person};

async fn export(person: &Person, query: &str) -> Value {
    person.get(&format!("/api/v1/executions/export{query}")).await.ok(200)
}

/// The cells of a CSV file, by a reader that knows nothing of ours.
fn cells(data: &Value) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(data.as_str().unwrap().as_bytes());
    reader.records().map(|row| row.expect("valid CSV").iter().map(str::to_owned).collect()).collect()
}

/// One execution that completed and one that waits, the newer.
async fn two(app: &Installation, person: &Person) -> (String, String) {
    let skill = person.create_skill("Summary (v2)").await;
    let done = person.execute(&skill, json!({ "text": "1 \"quoted\",\nline" })).await;
    app.run_jobs().await;
    app.advance(1);
    (done, person.execute(&skill, json!({})).await)
}

#[tokio::test]
async fn the_json_file_holds_what_the_list_shows() {
    let mut app = Installation::new().await;
    app.leave_jobs();
    let ada = app.owner().await;
    two(&app, &ada).await;
    let reply = ada.get("/api/v1/executions/export").await;
    assert_eq!(reply.header("x-export-truncated"), None);
    let file = reply.ok(200);
    let list = ada.get("/api/v1/executions").await.ok(200);
    let data = file["data"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(data).unwrap(), list["executions"]);
    assert_eq!(data, serde_json::to_string_pretty(&list["executions"]).unwrap(), "indented by two spaces");
    let today = list["executions"][0]["executedAt"].as_str().unwrap()[..10].to_owned();
    assert_eq!(file["filename"], format!("executions-{today}.json"));
    assert_eq!(export(&ada, "?status=failed").await["data"], "[]");
}

#[tokio::test]
async fn the_csv_file_has_exactly_these_columns() {
    let mut app = Installation::new().await;
    app.leave_jobs();
    let ada = app.owner().await;
    let (done, waiting) = two(&app, &ada).await;
    app.sql(&format!("UPDATE skill_executions SET cost_cents = 0, duration_ms = 0 WHERE id = '{done}'")).await;
    let file = export(&ada, "?format=csv").await;
    assert!(file["filename"].as_str().unwrap().ends_with(".csv"), "{file}");
    let data = file["data"].as_str().unwrap();
    assert!(!data.ends_with('\n') && !data.contains('\r') && data.is_ascii(), "{data}");
    let lines: Vec<&str> = data.split('\n').collect();
    let header = "id,skillId,skillName,executionType,status,tokensUsed,durationMs,costCents,executedAt,completedAt";
    assert_eq!((lines.len(), lines[0]), (3, header));
    let e = ada.execution(&waiting).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    assert_eq!(
        lines[1],
        format!(
            r#""{waiting}","{}","Summary (v2)","manual","pending","","","","{}","""#,
            text(&e["skillId"]),
            text(&e["executedAt"])
        )
    );
    let e = ada.execution(&done).await;
    let row = &cells(&file["data"])[2];
    let expected = [
        done.clone(),
        text(&e["skillId"]),
        "Summary (v2)".to_owned(),
        "manual".to_owned(),
        "completed".to_owned(),
        e["tokensUsed"].to_string(),
        "0".to_owned(),
        "0".to_owned(),
        text(&e["executedAt"]),
        text(&e["completedAt"]),
    ];
    assert_eq!(row, &expected);
}

#[tokio::test]
async fn no_cell_is_a_formula_and_every_name_comes_through() {
    let mut app = Installation::new().await;
    app.leave_jobs();
    let ada = app.owner().await;
    // No skill can get most of these names today; a file must stand them all the same.
    let names = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "a \"b\", c", "two\nlines", "Zoë 日本", "'=1"];
    for (i, name) in names.iter().enumerate() {
        let skill = ada.create_skill(&format!("Skill {i}")).await;
        ada.execute(&skill, json!({})).await;
        app.advance(1);
        let sql = "UPDATE skills SET name = $1 WHERE id = $2::uuid";
        sqlx::query(sql).bind(name).bind(&skill).execute(&app.superuser).await.unwrap();
    }
    let file = export(&ada, "?format=csv").await;
    let found: Vec<String> = cells(&file["data"])[1..].iter().rev().map(|row| row[2].clone()).collect();
    let expected: Vec<String> =
        names.iter().enumerate().map(|(i, name)| if i < 6 { format!("'{name}") } else { (*name).to_owned() }).collect();
    assert_eq!(found, expected);
    assert!(cells(&file["data"]).iter().all(|row| row.len() == 10), "every row has all columns");
}

#[tokio::test]
async fn filters_apply_and_pages_do_not() {
    let mut app = Installation::new().await;
    app.leave_jobs();
    let ada = app.owner().await;
    let (done, waiting) = two(&app, &ada).await;
    let listed = async |query: &str| -> Vec<String> {
        let file = export(&ada, &format!("?format=csv&{query}")).await;
        cells(&file["data"])[1..].iter().map(|row| row[0].clone()).collect()
    };
    assert_eq!(listed("limit=1&offset=1").await, [waiting.clone(), done.clone()]);
    assert_eq!(listed("status=completed").await, [&*done]);
    assert_eq!(listed("executionType=api").await, Vec::<String>::new());
    let moment = ada.execution(&waiting).await["executedAt"].as_str().unwrap().to_owned();
    assert_eq!(listed(&format!("startDate={moment}")).await, [&*waiting]);
    for (query, field) in [
        ("?format=xml", "format"),
        ("?status=x", "status"),
        ("?skillId=x", "skillId"),
        ("?startDate=2026-02-02&endDate=2026-02-01", "startDate"),
    ] {
        let refused = ada.get(&format!("/api/v1/executions/export{query}")).await;
        refused.refused_field(422, "VALIDATION_ERROR", field);
    }
    let stranger = app.stranger().await;
    assert_eq!(export(&stranger, "").await["data"], "[]");
}

/// So many executions with outputs of this length.
async fn many(app: &Installation, person: &Person, count: u32, output: &str) {
    let sql = format!(
        "INSERT INTO skill_executions (organization_id, id, user_id, execution_type, input, status, output, executed_at,
                                       completed_at)
         SELECT '{}', gen_random_uuid(), '{}', 'manual', '{{}}', 'completed', {output}, now() - n * interval '1 ms', now()
           FROM generate_series(1, {count}) n",
        person.organization_id(),
        person.user_id(),
    );
    sqlx::query(AssertSqlSafe(sql)).execute(&app.superuser).await.unwrap();
}

#[tokio::test]
async fn ten_thousand_rows_are_the_most_and_what_is_left_out_is_said() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    many(&app, &ada, 10_000, "''").await;
    let reply = ada.get("/api/v1/executions/export?format=csv").await;
    assert_eq!(reply.header("x-export-truncated"), None, "ten thousand are not too many");
    assert_eq!(cells(&reply.ok(200)["data"]).len(), 10_001);
    many(&app, &ada, 1, "''").await;
    let reply = ada.get("/api/v1/executions/export?format=csv").await;
    assert_eq!(reply.header("x-export-truncated"), Some("true"));
    let rows = cells(&reply.ok(200)["data"]);
    assert_eq!(rows.len(), 10_001);
    assert!(rows[1..].windows(2).all(|pair| pair[0][8] >= pair[1][8]), "newest first");
}

#[tokio::test]
async fn a_file_that_would_be_too_large_is_refused() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    many(&app, &ada, 63, "repeat('x', 1 << 20)").await;
    ada.get("/api/v1/executions/export").await.ok(200);
    many(&app, &ada, 2, "repeat('x', 1 << 20)").await;
    let refused = ada.get("/api/v1/executions/export").await.refused(422, "EXPORT_TOO_LARGE");
    assert!(refused["detail"].as_str().unwrap().contains("64 MiB"), "{refused}");
    let csv = ada.get("/api/v1/executions/export?format=csv").await.ok(200);
    assert_eq!(cells(&csv["data"]).len(), 66, "the outputs are not part of it");
}
