//! Tests of skills: ask for one, look at it, run it. They pass the same admission and ask models in the same way as
//! runs, and leave no history.

use crate::app::App;
use crate::context::{Permission, TenantContext};
use crate::domain::executions::{Ending, ExecutionStatus, ModelCall, Outcome};
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::SkillId;
use crate::domain::jobs::Workplace;
use crate::domain::test_runs::{DraftTest, NewTestRun, TestQuestion, TestRequest, TestRun, TestRunId};
use crate::domain::time::Timestamp;
use crate::domain::usage::{Metered, Metric};
use crate::error::{Code, Error, Result};
use crate::ports::executions::Transition;
use crate::ports::test_runs::ActiveTestRun;
use crate::ports::{SystemTask, TenantTx};
use crate::services::calls::{Call, Question, lost};
use crate::services::idempotency::Once;
use crate::services::models::{self, Wish};
use crate::services::programs::workplace;
use crate::services::runs::{lease, persist};
use crate::services::worker::Worker;
use crate::services::{admission, identity, usage};

/// Tests a stored skill, active or not, as it is now.
/// Refuses, in this order, with `SKILL_NOT_FOUND`, `VALIDATION_ERROR`, `MODEL_NOT_SUPPORTED`, `PROVIDER_NOT_CONFIGURED`,
/// `TOO_MANY_ACTIVE_EXECUTIONS`, `QUOTA_EXCEEDED`, `BUDGET_EXCEEDED`.
pub async fn test_skill(
    app: &App,
    ctx: &TenantContext,
    skill_id: SkillId,
    request: TestRequest,
    key: Option<&IdempotencyKey>,
) -> Result<Metered<TestRun>> {
    ctx.require(Permission::UseSkills)?;
    let once = Once::new(app, ctx, key, "test_skill", &(skill_id, &request))?;
    let mut tx = app.store.tenant(ctx).await?;
    if let Some(reply) = once.replay(app, &mut *tx).await? {
        let quota = usage::standing(app, &mut *tx, Metric::ApiCalls).await?;
        return Ok(Metered { reply, quota });
    }
    let skill = tx.skills().find(skill_id).await?.ok_or(Error::not_found(Code::SkillNotFound))?;
    let metered = begin(app, &mut *tx, Some(skill_id), request.question(&skill)?).await?;
    once.keep(app, &mut *tx, &metered.reply).await?;
    tx.commit().await?;
    Ok(metered)
}

/// Tests what is not stored. Refuses as `test_skill` does, but for `SKILL_NOT_FOUND`.
pub async fn test_draft(
    app: &App,
    ctx: &TenantContext,
    draft: DraftTest,
    key: Option<&IdempotencyKey>,
) -> Result<Metered<TestRun>> {
    ctx.require(Permission::UseSkills)?;
    let once = Once::new(app, ctx, key, "test_draft", &draft)?;
    let question = draft.question()?;
    let mut tx = app.store.tenant(ctx).await?;
    if let Some(reply) = once.replay(app, &mut *tx).await? {
        let quota = usage::standing(app, &mut *tx, Metric::ApiCalls).await?;
        return Ok(Metered { reply, quota });
    }
    let metered = begin(app, &mut *tx, None, question).await?;
    once.keep(app, &mut *tx, &metered.reply).await?;
    tx.commit().await?;
    Ok(metered)
}

/// Writes a waiting test and the job that carries it, together.
async fn begin(
    app: &App,
    tx: &mut dyn TenantTx,
    skill_id: Option<SkillId>,
    question: TestQuestion,
) -> Result<Metered<TestRun>> {
    let targets = models::targets(app, tx, Wish::from(&question)).await?;
    let reserved_usd = asked(question.clone()).worst_case(&targets);
    let (id, now) = (TestRunId(app.random.uuid()), app.clock.now());
    let quota = admission::admit(app, tx, skill_id, reserved_usd, now).await?;
    let test = NewTestRun { id, question, skill_id, reserved_usd, created_at: now };
    tx.test_runs().insert(&test, &workplace(&targets)).await?;
    Ok(Metered { reply: TestRun::pending(id), quota })
}

fn asked(question: TestQuestion) -> Question {
    let TestQuestion { system, prompt, parameters, .. } = question;
    Question { system, prompt, parameters }
}

/// One's own test, for an hour after its end. Refuses with `EXECUTION_NOT_FOUND`.
pub async fn get(app: &App, ctx: &TenantContext, id: TestRunId) -> Result<TestRun> {
    ctx.require(Permission::ReadSkills)?;
    let mut tx = app.store.tenant(ctx).await?;
    tx.test_runs().find(id, app.clock.now()).await?.ok_or(Error::not_found(Code::ExecutionNotFound))
}

/// Runs a waiting test; finds nothing to do if it is not waiting any more.
/// An error means that nothing was called and the job may be tried again.
pub(crate) async fn run(app: &App, ctx: &TenantContext, id: TestRunId, worker: &Worker) -> Result<()> {
    let Some(mut call) = claim(app, ctx, id, worker).await? else { return Ok(()) };
    let outcome = tokio::select! {
        outcome = call.make(&worker.abandon) => Some(outcome),
        () = ended_elsewhere(app, ctx, id) => None,
    };
    let call = call.cost();
    persist(&id, || Box::pin(write_end(app, ctx, id, outcome.clone(), call.clone()))).await;
    Ok(())
}

/// pending → running, or → failed if it cannot run at all. None when there is nothing to run, or others must do it.
async fn claim<'a>(app: &'a App, ctx: &TenantContext, id: TestRunId, worker: &Worker) -> Result<Option<Call<'a>>> {
    let mut tx = app.store.tenant(ctx).await?;
    let Some(question) = tx.test_runs().question(id).await? else { return Ok(None) };
    let now = app.clock.now();
    let (call, transition) = match models::targets(app, &mut *tx, Wish::from(&question)).await {
        Ok(targets) if !worker.takes(&workplace(&targets)) => {
            tx.test_runs().enqueue(id, &workplace(&targets)).await?;
            tx.commit().await?;
            return Ok(None);
        }
        Ok(targets) => {
            let call = Call::new(app, id.to_string(), asked(question), targets);
            (Some(call), Transition::Claim { skill_version: None, lease_expires_at: lease(app, now) })
        }
        Err(refusal) => {
            let ending = Ending { outcome: Outcome::Failed(models::failure(refusal)?), call: None };
            (None, Transition::End { from: &[ExecutionStatus::Pending], ending })
        }
    };
    let is_ours = tx.test_runs().change(id, &transition, now).await?;
    tx.commit().await?;
    Ok(call.filter(|_| is_ours))
}

/// Returns when the test is not ours any more, because we were taken for lost. Renews the lease until then.
async fn ended_elsewhere(app: &App, ctx: &TenantContext, id: TestRunId) {
    loop {
        tokio::time::sleep(app.config.runs.lease / 4).await;
        match renew(app, ctx, id).await {
            Ok(true) => {}
            Ok(false) => return,
            // The call goes on: its result may still find a database.
            Err(error) => tracing::warn!(error = error.internal_text(), "the lease of a test could not be renewed"),
        }
    }
}

async fn renew(app: &App, ctx: &TenantContext, id: TestRunId) -> Result<bool> {
    let now = app.clock.now();
    let mut tx = app.store.tenant(ctx).await?;
    let running = tx.test_runs().change(id, &Transition::Renew { lease_expires_at: lease(app, now) }, now).await?;
    tx.commit().await?;
    Ok(running)
}

async fn write_end(
    app: &App,
    ctx: &TenantContext,
    id: TestRunId,
    outcome: Option<Outcome>,
    call: ModelCall,
) -> Result<()> {
    let now = app.clock.now();
    let mut tx = app.store.tenant(ctx).await?;
    let ended = match outcome {
        Some(outcome) => {
            let ending = Ending { outcome, call: Some(call.clone()) };
            tx.test_runs().change(id, &Transition::End { from: &[ExecutionStatus::Running], ending }, now).await?
        }
        None => false,
    };
    if !ended {
        // Somebody was first. Their status stands; what the call had cost is still true.
        tx.test_runs().change(id, &Transition::RecordUsage { call }, now).await?;
    }
    tx.commit().await
}

/// Ends tests whose worker is gone, and gives waiting tests a job that have none. Returns how many were touched.
/// Without `judge`, workers that are silent are left alone: after an outage all of them are.
pub(crate) async fn sweep(app: &App, judge: bool) -> Result<usize> {
    const AT_A_TIME: i64 = 200;
    let now = app.clock.now();
    let mut tx = app.store.system(SystemTask::SweepTests).await?;
    let lapsed = if judge { tx.test_runs().lapsed(now, AT_A_TIME).await? } else { Vec::new() };
    let stranded = tx.test_runs().stranded(now - app.config.runs.lease, AT_A_TIME).await?;
    drop(tx);
    let mut touched = 0;
    for (test, is_lapsed) in lapsed.iter().map(|t| (t, true)).chain(stranded.iter().map(|t| (t, false))) {
        match rescue(app, test, is_lapsed, now).await {
            Ok(done) => touched += usize::from(done),
            // The others are not to wait for this one.
            Err(error) => tracing::warn!(error = error.internal_text(), id = %test.id, "a test could not be rescued"),
        }
    }
    Ok(touched)
}

async fn rescue(app: &App, test: &ActiveTestRun, is_lapsed: bool, now: Timestamp) -> Result<bool> {
    let ctx = identity::for_job(test.organization_id, test.user_id);
    let mut tx = app.store.tenant(&ctx).await?;
    let done = if is_lapsed {
        let ending = Ending { outcome: Outcome::Failed(lost()), call: None };
        tx.test_runs().change(test.id, &Transition::EndLapsed { ending }, now).await?
    } else {
        tx.test_runs().enqueue(test.id, &Workplace::Anywhere).await?;
        true
    };
    tx.commit().await?;
    Ok(done)
}

/// Forgets results that nobody can read any more; says how many.
pub(crate) async fn forget_old(app: &App) -> Result<u64> {
    let mut tx = app.store.system(SystemTask::SweepTests).await?;
    let forgotten = tx.test_runs().delete_expired(app.clock.now()).await?;
    tx.commit().await?;
    Ok(forgotten)
}
