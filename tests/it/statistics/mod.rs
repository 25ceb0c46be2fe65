//! Statistics: exact for whatever happened (`property`, against `brute_force` over the rows of a random `history`), and
//! each endpoint with its success and its errors here.

use serde_json::{Value, json};

use crate::harness::Installation;

mod brute_force;
mod history;
mod property;

const UNKNOWN: &str = "11111111-1111-4111-8111-111111111111";

#[tokio::test]
async fn without_any_execution_everything_is_zero_and_nothing_is_missing() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let types = json!({ "manual": 0, "habit": 0, "reflex": 0, "api": 0 });
    let statuses = json!({ "pending": 0, "running": 0, "completed": 0, "failed": 0, "cancelled": 0 });
    let skills = ada.get("/api/v1/skills/stats").await.ok(200);
    assert_eq!(
        skills,
        json!({ "totalSkills": 0, "activeSkills": 0, "totalExecutions": 0, "totalTokensUsed": 0, "totalCostCents": 0,
                "executionsByStatus": statuses, "executionsByType": types, "topSkillsByUsage": [] })
    );
    let executions = ada.get("/api/v1/executions/stats").await.ok(200);
    assert_eq!((&executions["averageDurationMs"], &executions["executionsByStatus"]), (&json!(0), &statuses));
    let daily = executions["dailyExecutions"].as_array().unwrap();
    assert!(daily.len() == 14 && daily.iter().all(|day| day["count"] == 0 && day["tokens"] == 0), "{executions}");
    let cost = ada.get("/api/v1/executions/cost-breakdown").await.ok(200);
    assert_eq!((&cost["costBySkill"], &cost["costByType"]), (&json!([]), &types));
    assert_eq!(cost["costByDay"].as_array().unwrap().len(), 30);
    let performance = ada.get("/api/v1/executions/performance").await.ok(200);
    assert_eq!(
        performance,
        json!({ "averageDurationMs": 0, "p50DurationMs": 0, "p90DurationMs": 0, "p99DurationMs": 0, "successRate": 0,
                "durationByHour": [] })
    );
    let aggregated = ada.get("/api/v1/skills/stats/aggregated").await.ok(200);
    assert_eq!(aggregated["executionsOverTime"].as_array().unwrap().len(), 30, "30d is the default");
    assert_eq!(
        aggregated["overview"],
        json!({ "totalRuns": 0, "successRate": 0, "avgTokens": 0, "avgDurationMs": 0, "totalCostCents": 0 })
    );
    let percentiles = ada.get("/api/v1/skills/stats/percentiles").await.ok(200);
    assert_eq!(percentiles, json!({ "p50DurationMs": 0, "p90DurationMs": 0, "p99DurationMs": 0, "avgDurationMs": 0 }));
    let projection = ada.get("/api/v1/skills/stats/projection").await.ok(200);
    assert_eq!(projection, json!({ "projectedCostCents": 0, "projectedRuns": 0, "averageDailyCost": 0 }));
    assert_eq!(ada.get("/api/v1/executions/stats/by-skill").await.ok(200), json!([]));
    assert_eq!(ada.get("/api/v1/executions/stats/by-period").await.ok(200), json!([]));
}

#[tokio::test]
async fn a_run_is_in_every_statistic_as_soon_as_it_has_ended() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    let id = ada.execute(&skill, json!({ "text": "x" })).await;
    let waiting = ada.get("/api/v1/executions/stats").await.ok(200);
    assert_eq!((&waiting["totalExecutions"], &waiting["executionsByStatus"]["pending"]), (&json!(1), &json!(1)));
    app.run_jobs().await;
    let run = ada.execution(&id).await;
    let stats = ada.get("/api/v1/executions/stats").await.ok(200);
    assert_eq!((&stats["successfulExecutions"], &stats["totalTokensUsed"]), (&json!(1), &run["tokensUsed"]));
    let of_skill = ada.get(&format!("/api/v1/skills/{skill}/stats?period=7d")).await.ok(200);
    assert_eq!((&of_skill["overview"]["totalRuns"], &of_skill["overview"]["successRate"]), (&json!(1), &json!(100)));
    let top = &ada.get("/api/v1/skills/stats").await.ok(200)["topSkillsByUsage"];
    assert_eq!(top, &json!([{ "skillId": skill, "name": "Summary", "count": 1 }]));
}

#[tokio::test]
async fn percentiles_are_those_of_the_contract() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    for duration in [400, 100, 300, 200] {
        history::Run { duration: Some(duration), ..history::Run::completed(&skill) }.happen(&app, &ada).await;
    }
    for path in ["executions/performance".to_owned(), format!("executions/performance?skillId={skill}")] {
        let all = ada.get(&format!("/api/v1/{path}")).await.ok(200);
        let numbers = ["averageDurationMs", "p50DurationMs", "p90DurationMs", "p99DurationMs"].map(|name| &all[name]);
        assert_eq!(numbers, [&json!(250), &json!(300), &json!(400), &json!(400)], "{path}");
    }
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_with_the_field() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    for (path, field) in [
        (format!("skills/{skill}/stats?period=8d"), "period"),
        ("skills/stats/aggregated?period=1y".to_owned(), "period"),
        ("skills/stats/percentiles?skillId=x".to_owned(), "skillId"),
        ("skills/stats/projection?daysAhead=0".to_owned(), "daysAhead"),
        ("skills/stats/projection?daysAhead=366".to_owned(), "daysAhead"),
        ("executions/stats?startDate=yesterday".to_owned(), "startDate"),
        ("executions/stats?startDate=2026-02-01&endDate=2026-01-31".to_owned(), "startDate"),
        ("executions/stats?skillId=x".to_owned(), "skillId"),
        ("executions/cost-breakdown?endDate=2026-02-30".to_owned(), "endDate"),
        ("executions/performance?skillId=x".to_owned(), "skillId"),
        ("executions/stats/by-skill?limit=101".to_owned(), "limit"),
        ("executions/stats/by-period?days=366".to_owned(), "days"),
        ("executions/stats/by-period?granularity=year".to_owned(), "granularity"),
    ] {
        ada.get(&format!("/api/v1/{path}")).await.refused_field(422, "VALIDATION_ERROR", field);
    }
    for id in [UNKNOWN, "x"] {
        ada.get(&format!("/api/v1/skills/{id}/stats")).await.refused(404, "SKILL_NOT_FOUND");
    }
    ada.get(&format!("/api/v1/skills/stats/percentiles?skillId={UNKNOWN}")).await.refused(404, "SKILL_NOT_FOUND");
    let none = ada.get(&format!("/api/v1/executions/performance?skillId={UNKNOWN}")).await.ok(200);
    assert_eq!((&none["successRate"], &none["durationByHour"]), (&json!(0), &json!([])));
    let none = ada.get(&format!("/api/v1/executions/stats?skillId={UNKNOWN}")).await.ok(200);
    assert_eq!(none["totalExecutions"], 0);
}

#[tokio::test]
async fn statistics_are_ones_own() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let (colleague, stranger) = (app.member(&ada, "admin").await, app.stranger().await);
    let skill = ada.create_skill("Summary").await;
    history::Run::completed(&skill).happen(&app, &ada).await;
    app.run_jobs().await;
    for other in [&colleague, &stranger] {
        for path in ["skills/stats", "executions/stats", &format!("executions/stats?skillId={skill}")] {
            let stats: Value = other.get(&format!("/api/v1/{path}")).await.ok(200);
            assert_eq!((&stats["totalExecutions"], &stats["totalCostCents"]), (&json!(0), &json!(0)), "{path}");
        }
        assert_eq!(other.get("/api/v1/executions/stats/by-skill").await.ok(200), json!([]));
        other.get(&format!("/api/v1/skills/{skill}/stats")).await.refused(404, "SKILL_NOT_FOUND");
        other.get(&format!("/api/v1/skills/stats/percentiles?skillId={skill}")).await.refused(404, "SKILL_NOT_FOUND");
    }
}

#[tokio::test]
async fn merging_leaves_one_entry_of_each_kind_and_changes_nothing() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    for _ in 0..20 {
        history::Run::completed(&skill).happen(&app, &ada).await;
    }
    assert_eq!(app.count("execution_statistics").await, 60);
    let before = ada.get("/api/v1/executions/stats").await.ok(200);
    app.run_jobs().await;
    assert_eq!(app.count("execution_statistics WHERE NOT is_new AND executions = 20").await, 3);
    assert_eq!(app.count("execution_statistics").await, 3);
    assert_eq!(ada.get("/api/v1/executions/stats").await.ok(200), before);
    app.advance(86_400);
    let ada = app.signed_in_again(&ada).await;
    ada.delete("/api/v1/executions/cleanup?olderThanDays=1").await.ok(200);
    history::Run::completed(&skill).happen(&app, &ada).await;
    app.run_jobs().await;
    let left = ada.get("/api/v1/executions/stats").await.ok(200);
    assert_eq!(left["totalExecutions"], app.count("skill_executions").await, "what went is taken away");
}
