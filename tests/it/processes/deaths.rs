//! A server that is killed loses nothing that waited and repeats nothing that ran.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::harness::{Deployment, within};
use crate::harness::provider::Reply;

/// The lease, the next sweep, and a slow machine.
const LOST_WITHIN: Duration = Duration::from_secs(25);
/// Jobs that the dead worker had fetched but not begun are given to others after 42 to 52 seconds.
const ALL_WITHIN: Duration = Duration::from_secs(80);

#[tokio::test]
async fn a_killed_server_loses_no_waiting_run_and_repeats_no_running_one() {
    let settings = [("JOB_CONCURRENCY", "50"), ("MAX_ACTIVE_EXECUTIONS", "200"), ("EXECUTION_LEASE_SECS", "4")];
    let (deployment, provider) = Deployment::with_provider(&settings).await;
    provider.always(Reply::text(&["late"], 10, 5).held());
    let mut server = deployment.server(&[]).await;
    let ada = server.owner().await;
    let skill = ada.create_skill("Summary").await;
    let texts: Vec<_> = (0..100).map(|n| format!("<{n}>")).collect();
    let ids = join_all(texts.iter().map(|text| ada.execute(&skill, text))).await;
    provider.wait_for_calls(50).await;
    assert_eq!((deployment.runs("running").await, deployment.runs("pending").await), (50, 50));

    server.process.kill().await;
    let killed = Instant::now();
    provider.always(Reply::text(&["ok"], 10, 5));
    let server = deployment.server(&[]).await;
    let ada = server.with_token(&ada.token);
    within(LOST_WITHIN, "what ran is told as lost", async || deployment.runs("running").await == 0).await;
    deployment.all_runs_end(ALL_WITHIN.saturating_sub(killed.elapsed())).await;

    assert_eq!(provider.call_count(), 100, "each run called the provider once");
    for (text, id) in texts.iter().zip(&ids) {
        let calls = provider.calls_with(text);
        assert_eq!(calls.len(), 1, "the run of {text} called the provider again");
        let run = ada.execution(id).await;
        if calls[0].left_at().is_some() {
            assert_eq!((run["status"].as_str(), run["errorCode"].as_str()), (Some("failed"), Some("WORKER_LOST")));
        } else {
            assert_eq!((run["status"].as_str(), run["output"].as_str()), (Some("completed"), Some("ok")));
        }
    }
    assert_eq!((deployment.runs("failed").await, deployment.runs("completed").await), (50, 50));
    assert_eq!(ada.execution_count(&skill).await, 50, "each completed run counts once");
    // The engine takes its time to find out that their worker is dead; then it finds nothing to do.
    let left = ALL_WITHIN.saturating_sub(killed.elapsed());
    within(left, "no job is left behind", async || deployment.count("graphile_worker._private_jobs").await == 0).await;
    server.stop().await;
}
