//! An answer can be followed while it is being written, in any process and by nobody who may not see it; who follows
//! gets the output of the run, all of it and nothing twice.

use std::net::{IpAddr, Ipv4Addr};

use kijko_core::domain::ids::ExecutionId;
use kijko_core::domain::sessions::Origin;
use kijko_core::services::{identity, pieces};
use kijko_core::{Code, TenantContext};
use serde_json::json;

use crate::harness::{Installation, Person};

/// In whose name the core is called here, as `kijko-py` does.
async fn context(app: &Installation, person: &Person) -> TenantContext {
    let identity = identity::authenticate(&app.app, Some(person.access_token())).await.expect("they signed in");
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let context = identity.context(Origin { request_id: "test".into(), user_agent: None, address });
    context.expect("they belong to an organisation")
}

/// Everything that following this run yields until it has ended.
async fn all_pieces(app: &Installation, person: &Person, run: &str) -> Vec<String> {
    let ctx = context(app, person).await;
    let mut following = pieces::follow(&app.app, &ctx, id(run)).await.expect("the run is there");
    let mut all = Vec::new();
    while let Some(piece) = following.next(&app.app, &ctx).await.expect("the run is still there") {
        all.push(piece);
    }
    all
}

fn id(run: &str) -> ExecutionId {
    run.parse().expect("a run has a UUID")
}

#[tokio::test]
async fn whoever_follows_a_run_gets_its_output_in_pieces_in_another_process_too() {
    let app = Installation::new().await;
    let beside = Installation::beside(&app, &[]).await;
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    // Letters that JSON spells longer must not make a piece too long to be told.
    let text = "\u{1}\u{2}🦀 ".repeat(2000);
    let run = ada.execute(&skill, json!({ "text": text })).await;
    let (_, here, there) = tokio::join!(app.run_jobs(), all_pieces(&app, &ada, &run), all_pieces(&beside, &ada, &run));
    let output = ada.execution(&run).await["output"].as_str().expect("the offline model answered").to_owned();
    assert_eq!(here.concat(), output, "who follows gets the output, all of it and nothing twice");
    assert_eq!(there.concat(), output, "so does who follows in another process");
    assert!(here.len() > 1, "it came while it was written, not at the end: {here:?}");
}

#[tokio::test]
async fn whoever_begins_to_follow_after_the_end_gets_the_output_at_once() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    let run = ada.execute(&skill, json!({ "text": "late" })).await;
    app.run_jobs().await;
    let output = ada.execution(&run).await["output"].as_str().expect("the offline model answered").to_owned();
    assert_eq!(all_pieces(&app, &ada, &run).await, [output]);
}

#[tokio::test]
async fn following_a_run_that_was_cancelled_ends() {
    let mut app = Installation::new().await;
    app.leave_jobs();
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    let run = ada.execute(&skill, json!({ "text": "never mind" })).await;
    let (_, pieces) = tokio::join!(
        async { ada.post(&format!("/api/v1/executions/{run}/cancel"), json!({})).await.ok(200) },
        all_pieces(&app, &ada, &run),
    );
    assert_eq!(pieces, Vec::<String>::new());
}

#[tokio::test]
async fn nobody_follows_the_run_of_somebody_else() {
    let app = Installation::new().await;
    let (ada, eve) = (app.owner().await, app.stranger().await);
    let skill = ada.create_skill("Summary").await;
    let run = ada.execute(&skill, json!({ "text": "secret" })).await;
    let refused = pieces::follow(&app.app, &context(&app, &eve).await, id(&run)).await;
    assert_eq!(refused.err().map(|error| error.code()), Some(Code::ExecutionNotFound));
    app.run_jobs().await;
}
