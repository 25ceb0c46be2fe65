//! Any number of processes may work on one database, and no run is anybody's twice.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::harness::Deployment;
use crate::harness::provider::{Provider, Reply};

const RUNS: usize = 1000;

#[tokio::test]
async fn three_processes_share_a_thousand_runs_and_each_is_run_once() {
    let deployment = Deployment::new(&[("JOB_CONCURRENCY", "8"), ("MAX_ACTIVE_EXECUTIONS", "1000")]).await;
    // A double for each process, to see who did what; they answer once all three have begun.
    let providers = [Provider::start().await, Provider::start().await, Provider::start().await];
    for provider in &providers {
        provider.always(Reply::text(&["ok"], 10, 5).held());
    }
    let models = providers.each_ref().map(|provider| {
        [("ANTHROPIC_API_KEY", crate::harness::provider::API_KEY), ("ANTHROPIC_BASE_URL", provider.url())]
    });
    let servers = [deployment.server(&models[0]).await, deployment.server(&models[1]).await];
    let worker = deployment.worker(&models[2]);

    let mut skills = Vec::new();
    for server in &servers {
        let owner = server.owner().await;
        let skill = owner.create_skill("Summary").await;
        skills.push((owner, skill));
    }
    let requests = (0..RUNS).map(|n| {
        let (owner, skill) = skills[n % skills.len()].clone();
        async move { owner.execute(&skill, &format!("<{n}>")).await }
    });
    stream::iter(requests).buffer_unordered(8).collect::<Vec<_>>().await;
    for provider in &providers {
        provider.wait_for_calls(1).await;
    }
    providers.iter().for_each(|provider| provider.release(RUNS));
    deployment.all_runs_end(Duration::from_secs(120)).await;

    let mut calls: HashMap<String, usize> = HashMap::new();
    for call in providers.iter().flat_map(Provider::calls) {
        *calls.entry(call.prompt().to_owned()).or_default() += 1;
    }
    assert_eq!(calls.len(), RUNS, "every run called the provider");
    assert!(calls.values().all(|count| *count == 1), "no run called it twice");
    assert_eq!(deployment.runs("completed").await, RUNS);
    for (owner, skill) in &skills {
        assert_eq!(owner.execution_count(skill).await, RUNS / 2, "each completed run counts once");
    }
    for server in servers {
        server.stop().await;
    }
    worker.signal("TERM").await;
    let (code, output) = worker.ends().await;
    assert_eq!(code, 0, "a worker that is told to stop ends well; it said:\n{output}");
    assert_eq!(deployment.count("graphile_worker._private_jobs").await, 0, "no job is left behind");
}
