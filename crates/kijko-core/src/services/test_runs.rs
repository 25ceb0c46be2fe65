//! Tests of skills: ask for one, look at it, run it. They pass the same admission and ask models in the same way as
//! runs, and leave no history.

use crate::app::App;
use crate::context::{Permission, TenantContext};
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::SkillId;
use crate::domain::test_runs::{DraftTest, NewTestRun, TestQuestion, TestRequest, TestRun, TestRunId};
use crate::domain::usage::{Metered, Metric};
use crate::error::{Code, Error, Result};
use crate::ports::{SystemTask, TenantTx};
use crate::services::calls::{Call, Question};
use crate::services::idempotency::Once;
use crate::services::models::{self, Wish};
use crate::services::programs::workplace;
use crate::services::runs::{Carrier, Prepared};
use crate::services::{admission, usage};

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

/// Everything that is decided before the first attempt.
pub(crate) async fn prepare<'a>(
    app: &'a App,
    tx: &mut dyn TenantTx,
    id: TestRunId,
    carrier: &Carrier,
) -> Result<Prepared<'a>> {
    let Some(question) = tx.test_runs().question(id).await? else { return Ok(Prepared::Gone) };
    match models::targets(app, tx, Wish::from(&question)).await.map(|targets| carrier.callable(app, targets)) {
        Ok(Ok(targets)) => {
            let call = Call::new(app, id.to_string(), asked(question), targets);
            Ok(Prepared::Call(Box::new(call), None))
        }
        Ok(Err(place)) => Ok(Prepared::Misplaced(place)),
        Err(refusal) => carrier.refused(refusal),
    }
}

/// Forgets results that nobody can read any more; says how many.
pub(crate) async fn forget_old(app: &App) -> Result<u64> {
    let mut tx = app.store.system(SystemTask::ForgetTests).await?;
    let forgotten = tx.old_tests().delete_expired(app.clock.now()).await?;
    tx.commit().await?;
    Ok(forgotten)
}
