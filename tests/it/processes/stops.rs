//! A server that is told to stop takes nothing new, finishes what it has, and goes.

use std::time::Duration;

use reqwest::Method;
use tokio::net::TcpStream;

use super::harness::{Deployment, within};
use crate::harness::provider::Reply;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_stopping_server_finishes_the_run_and_the_request_it_has() {
    let (deployment, provider) = Deployment::with_provider(&[("SHUTDOWN_GRACE_SECS", "20")]).await;
    provider.always(Reply::text(&["in time"], 10, 5).held());
    let server = deployment.server(&[]).await;
    let ada = server.owner().await;
    let skill = ada.create_skill("Summary").await;
    let running = ada.execute(&skill, "x").await;
    provider.wait_for_calls(1).await;

    // A request that is under way for as long as the test wants.
    let mut lock = deployment.superuser.begin().await.unwrap();
    sqlx::query("LOCK TABLE skills IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    let open = tokio::spawn({
        let ada = ada.clone();
        async move { ada.get("/api/v1/skills").await }
    });
    within(SOON, "the request waits for the database", async || {
        deployment.count("pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()").await == 1
    })
    .await;

    server.process.signal("TERM").await;
    let address = server.url.trim_start_matches("http://").to_owned();
    within(SOON, "nobody is let in any more, or told that the server is not ready", async || {
        match server.nobody().call(Method::GET, "/health/ready", None).await {
            Ok(reply) => reply.status == 503,
            Err(_) => TcpStream::connect(&address).await.is_err(),
        }
    })
    .await;
    lock.rollback().await.unwrap();
    let listed = open.await.unwrap().ok(200);
    assert_eq!(listed["skills"][0]["name"], "Summary", "the open request is answered: {listed}");
    assert_eq!(deployment.runs("running").await, 1, "the run goes on");
    provider.release(1);
    let (code, output) = server.process.ends().await;
    assert_eq!(code, 0, "it ends well; it said:\n{output}");
    let ended = format!("skill_executions WHERE id = '{running}' AND status = 'completed' AND output = 'in time'");
    assert_eq!(deployment.count(&ended).await, 1, "the run was finished before the end");
    assert_eq!(deployment.count("skills WHERE execution_count = 1").await, 1);
    assert_eq!(deployment.count("graphile_worker._private_jobs").await, 0, "no job is left behind");
}

#[tokio::test]
async fn a_run_that_outlasts_the_grace_period_is_told_as_lost() {
    for works_alone in [false, true] {
        let (deployment, provider) = Deployment::with_provider(&[("SHUTDOWN_GRACE_SECS", "1")]).await;
        provider.always(Reply::hang_after(&["Once "]));
        let server = deployment.server_with(if works_alone { &["--no-worker"] } else { &[] }, &[]).await;
        let worker = works_alone.then(|| deployment.worker(&[]));
        let ada = server.owner().await;
        let skill = ada.create_skill("Summary").await;
        ada.execute(&skill, "x").await;
        provider.wait_for_calls(1).await;
        let process = worker.unwrap_or(server.process);
        process.signal("INT").await;
        let (code, output) = process.ends().await;
        assert_eq!(code, 0, "it ends well; it said:\n{output}");
        let lost = "skill_executions WHERE status = 'failed' AND error_code = 'WORKER_LOST' AND prompt_tokens = 25";
        assert_eq!(deployment.count(lost).await, 1, "the run ends with what it had used; it said:\n{output}");
        assert_eq!(deployment.count("graphile_worker._private_jobs").await, 0, "no job is left behind");
        assert_eq!(provider.call_count(), 1);
    }
}
