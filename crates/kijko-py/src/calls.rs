//! Every call that Python can make, on one page: what it takes, which service answers, and how far an API key must
//! reach for it. The counterpart of the routes of the HTTP server, with the same bodies and the same answers.

use std::str::FromStr;
use std::time::Duration;

pub use kijko_core::domain::api_keys::Scope as Demand;
use kijko_core::domain::executions::{ExecuteRequest, ExecutionFilter, ExecutionStatus, ExecutionType};
use kijko_core::domain::history::Wanted;
use kijko_core::domain::idempotency::IdempotencyKey;
use kijko_core::domain::ids::{ExecutionId, SkillId};
use kijko_core::domain::page::Page;
use kijko_core::domain::reading::{self, Unreadable};
use kijko_core::domain::skill_library::{DuplicateRequest, SkillImport};
use kijko_core::domain::skills::{BasedOn, NewSkill, SkillCategory, SkillFilter, SkillPatch, SkillSort};
use kijko_core::domain::statistics::StatsPeriod;
use kijko_core::domain::test_runs::{DraftTest, TestRequest};
use kijko_core::services::{
    executions, history, skill_exchange, skill_library, skill_versions, skills, statistics, test_runs,
};
use kijko_core::{App, Code, Error, TenantContext};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What a list of skills can be narrowed to.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SkillsQuery {
    category: Option<String>,
    is_active: Option<bool>,
    search: Option<String>,
    page: Option<u32>,
    page_size: Option<u32>,
    sort: Option<SkillSort>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecutionsQuery {
    skill_id: Option<SkillId>,
    status: Option<ExecutionStatus>,
    execution_type: Option<ExecutionType>,
    start_date: Option<String>,
    end_date: Option<String>,
    limit: Option<u32>,
    after: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageQuery {
    page: Option<u32>,
    page_size: Option<u32>,
}

#[derive(Deserialize)]
struct StatsQuery {
    period: StatsPeriod,
}

#[derive(Deserialize)]
struct VersionQuery {
    number: i32,
}

/// How far a key must reach, as over HTTP: deleting takes `admin`, changing `write`.
pub fn demand(call: &str) -> Demand {
    match call {
        "skills.get" | "skills.list" | "skills.versions" | "skills.version" | "skills.stats" | "skills.export"
        | "executions.get" | "executions.list" | "tests.get" => Demand::Read,
        "skills.delete" => Demand::Admin,
        _ => Demand::Write,
    }
}

/// Makes the call; the answer is JSON.
pub async fn answer(
    app: &App,
    ctx: &TenantContext,
    call: &str,
    target: Option<&str>,
    body: &[u8],
    key: Option<&str>,
) -> Result<Vec<u8>, Error> {
    let key = key.map(IdempotencyKey::parse).transpose()?;
    let key = key.as_ref();
    match call {
        "skills.create" => json(&skills::create(app, ctx, read::<NewSkill>(body)?, key).await?),
        "skills.get" => json(&skills::get(app, ctx, skill(target)?).await?),
        "skills.list" => {
            let query: SkillsQuery = read(body)?;
            let page = Page::numbered(query.page, query.page_size)?;
            let filter = SkillFilter {
                categories: SkillCategory::parse_list(query.category.as_deref().unwrap_or_default())?,
                is_active: query.is_active,
                sort: query.sort.unwrap_or_default(),
                ..SkillFilter::searching(query.search)?
            };
            let listed = skills::list(app, ctx, &filter, page).await?;
            json(&json!({ "rows": listed.rows, "total": listed.total }))
        }
        "skills.update" => {
            json(&skills::update(app, ctx, skill(target)?, read::<SkillPatch>(body)?, &BasedOn::any()).await?)
        }
        "skills.delete" => json(&skills::delete(app, ctx, skill(target)?, &BasedOn::any()).await?),
        "skills.execute" => {
            json(&executions::execute(app, ctx, skill(target)?, read::<ExecuteRequest>(body)?, key).await?.reply)
        }
        "skills.duplicate" => {
            json(&skill_library::duplicate(app, ctx, skill(target)?, read::<DuplicateRequest>(body)?, key).await?)
        }
        "skills.export" => json(&skill_exchange::export(app, ctx, skill(target)?).await?),
        "skills.import" => json(&skill_exchange::import(app, ctx, read::<SkillImport>(body)?, key).await?),
        "skills.test" => {
            json(&test_runs::test_skill(app, ctx, skill(target)?, read::<TestRequest>(body)?, key).await?.reply)
        }
        "skills.test_draft" => json(&test_runs::test_draft(app, ctx, read::<DraftTest>(body)?, key).await?.reply),
        "tests.get" => json(&test_runs::get(app, ctx, id(target, Code::ExecutionNotFound)?).await?),
        "skills.versions" => {
            let query: PageQuery = read(body)?;
            let page = Page::numbered(query.page, query.page_size)?;
            let listed = skill_versions::list(app, ctx, skill(target)?, page).await?;
            json(&json!({ "rows": listed.rows, "total": listed.total }))
        }
        "skills.version" => {
            let number = read::<VersionQuery>(body)?.number;
            json(&skill_versions::get(app, ctx, skill(target)?, number).await?)
        }
        "skills.restore" => {
            let number = read::<VersionQuery>(body)?.number;
            json(&skill_versions::restore(app, ctx, skill(target)?, number, &BasedOn::any(), key).await?)
        }
        "skills.stats" => {
            let period = read::<StatsQuery>(body)?.period;
            json(&statistics::of_skill(app, ctx, skill(target)?, period).await?)
        }
        "executions.get" => json(&executions::get(app, ctx, execution(target)?).await?),
        "executions.list" => {
            let query: ExecutionsQuery = read(body)?;
            let filter = ExecutionFilter {
                skill_id: query.skill_id,
                status: query.status,
                execution_type: query.execution_type,
                ..ExecutionFilter::between(query.start_date.as_deref(), query.end_date.as_deref())?
            };
            let wanted = Wanted::new(query.limit, None, query.after, None)?;
            let part = history::list(app, ctx, &filter, &wanted).await?;
            json(&json!({ "rows": part.rows, "total": part.total, "next": part.next_cursor }))
        }
        "executions.cancel" => json(&executions::cancel(app, ctx, execution(target)?, key).await?),
        "executions.retry" => json(&executions::retry(app, ctx, execution(target)?, key).await?.reply),
        _ => Err(Error::internal("calling from Python", format!("there is no call {call:?}"))),
    }
}

/// The execution as JSON, if it has ended.
pub async fn ended(app: &App, ctx: &TenantContext, id: &str) -> Result<Option<Vec<u8>>, Error> {
    let execution = executions::get(app, ctx, execution(Some(id))?).await?;
    match execution.status {
        ExecutionStatus::Pending | ExecutionStatus::Running => Ok(None),
        ExecutionStatus::Completed | ExecutionStatus::Failed | ExecutionStatus::Cancelled => json(&execution).map(Some),
    }
}

/// Between two looks at a run: short at first, so that a quick one is seen at once.
pub fn pauses() -> impl Iterator<Item = Duration> {
    let longest = Duration::from_millis(250);
    std::iter::successors(Some(Duration::from_millis(5)), move |pause| Some((*pause * 3 / 2).min(longest)))
}

fn json(answer: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(answer).map_err(|error| Error::internal("writing an answer for Python", error))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    reading::object(body).map_err(|unreadable| match unreadable {
        Unreadable::Invalid(error) => error,
        // Python knows texts and numbers that JSON does not.
        Unreadable::Syntax(problem) => Error::invalid("input", "json", format!("input is not JSON: {problem}")),
    })
}

fn skill(target: Option<&str>) -> Result<SkillId, Error> {
    id(target, Code::SkillNotFound)
}

fn execution(target: Option<&str>) -> Result<ExecutionId, Error> {
    id(target, Code::ExecutionNotFound)
}

/// What is no UUID is no row of ours.
fn id<T: FromStr>(target: Option<&str>, not_found: Code) -> Result<T, Error> {
    target.and_then(|text| text.parse().ok()).ok_or(Error::not_found(not_found))
}
