//! The history of the caller: look at parts of it, take it along as a file, clean it up.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;

use crate::app::App;
use crate::context::{Permission, TenantContext};
use crate::domain::check::Check;
use crate::domain::executions::{ExecutionFilter, ExecutionWithSkill};
use crate::domain::exports::{ExportFile, ExportFormat, Exported, MAX_ROWS};
use crate::domain::history::{CleanedUp, Deleted, HistoryPart, Part, Place, Side, Wanted, retention_ends};
use crate::domain::ids::ExecutionId;
use crate::domain::page::Page;
use crate::domain::time::Timestamp;
use crate::error::{Code, Error, Result};
use crate::ports::SystemTask;
use crate::services::identity;

/// No list is longer.
const MOST: u32 = 500;
/// Rows that are held at a time while a file is written; each may have two megabytes.
const ROWS_AT_A_TIME: u32 = 50;
/// Rows that are deleted at a time: a second's work, whatever else a transaction may take.
const DELETED_AT_A_TIME: u32 = 5_000;

/// The caller's own runs, newest first: by page, or beside a place that an earlier reply named.
/// Refuses with `VALIDATION_ERROR`.
pub async fn list(app: &App, ctx: &TenantContext, filter: &ExecutionFilter, wanted: &Wanted) -> Result<HistoryPart> {
    ctx.require(Permission::ReadSkills)?;
    let (part, limit) = match wanted {
        Wanted::Page(page) => (Part::Offset(page.offset()), page.limit()),
        Wanted::Beside { side: Side::After, cursor, limit } => (Part::After(place(app, ctx, "after", cursor)?), *limit),
        Wanted::Beside { side: Side::Before, cursor, limit } => {
            (Part::Before(place(app, ctx, "before", cursor)?), *limit)
        }
    };
    let mut tx = app.store.tenant(ctx).await?;
    let total = tx.history().count(filter).await?;
    let rows = match part {
        Part::Offset(offset) if offset >= total => Vec::new(),
        // One more, to know whether there are more.
        _ => tx.history().part(filter, &part, limit + 1).await?,
    };
    Ok(arranged(app, ctx, rows, total, wanted, part))
}

/// Cuts off the one that only says that there are more, and makes the cursors that lead on.
fn arranged(
    app: &App,
    ctx: &TenantContext,
    mut rows: Vec<ExecutionWithSkill>,
    total: u64,
    wanted: &Wanted,
    part: Part,
) -> HistoryPart {
    let (page, page_size) = match wanted {
        Wanted::Page(page) => (Some(page.number()), page.limit()),
        Wanted::Beside { limit, .. } => (None, *limit),
    };
    let limit = page_size as usize;
    let more = rows.len() > limit;
    // Read from the older end, the superfluous one is the newest.
    let superfluous = if more && matches!(part, Part::Before(_)) { 0 } else { limit };
    if more {
        rows.remove(superfluous);
    }
    let (newer, older) = match part {
        Part::Offset(offset) => (offset > 0, more),
        Part::After(_) => (true, more),
        Part::Before(_) => (more, true),
    };
    let cursor = |row: Option<&ExecutionWithSkill>| row.map(|row| cursor(app, ctx, Place::of(&row.execution)));
    HistoryPart {
        next_cursor: cursor(rows.last().filter(|_| older)),
        prev_cursor: cursor(rows.first().filter(|_| newer)),
        has_more: older,
        rows,
        total,
        page,
        page_size,
    }
}

/// A place as a text that only this caller can use, and nobody can make.
fn cursor(app: &App, ctx: &TenantContext, place: Place) -> String {
    let bytes = place.to_bytes();
    URL_SAFE_NO_PAD.encode([&bytes[..], &proof(app, ctx, &bytes)].concat())
}

/// Refuses with `VALIDATION_ERROR`.
fn place(app: &App, ctx: &TenantContext, field: &str, cursor: &str) -> Result<Place> {
    let decoded = URL_SAFE_NO_PAD.decode(cursor).ok();
    let parts = decoded.as_ref().and_then(|bytes| bytes.split_first_chunk::<{ Place::BYTES }>());
    let place =
        parts.filter(|(bytes, tag)| proof(app, ctx, *bytes) == *tag).and_then(|(bytes, _)| Place::from_bytes(bytes));
    place.ok_or_else(|| Error::invalid(field, "format", format!("{field} must be a cursor of an earlier reply")))
}

fn proof(app: &App, ctx: &TenantContext, place: &[u8]) -> [u8; 16] {
    let (organization, user) = (ctx.organization_id().0, ctx.user_id().0);
    let signed = [organization.as_bytes(), user.as_bytes(), place].concat();
    let hash = app.secrets.keyed_hash("cursor", &signed);
    std::array::from_fn(|i| hash[i])
}

/// The newest, without a count. Refuses with `VALIDATION_ERROR`.
pub async fn recent(app: &App, ctx: &TenantContext, limit: u32) -> Result<Vec<ExecutionWithSkill>> {
    ctx.require(Permission::ReadSkills)?;
    let mut check = Check::default();
    check.range("limit", limit, 1, Page::MAX);
    check.done()?;
    let mut tx = app.store.tenant(ctx).await?;
    tx.history().part(&ExecutionFilter::default(), &Part::Offset(0), limit).await
}

/// Waiting and running ones, newest first.
pub async fn running(app: &App, ctx: &TenantContext) -> Result<Vec<ExecutionWithSkill>> {
    ctx.require(Permission::ReadSkills)?;
    let mut tx = app.store.tenant(ctx).await?;
    tx.history().active(MOST).await
}

/// One, with its skill. Refuses with `EXECUTION_NOT_FOUND`.
pub async fn full(app: &App, ctx: &TenantContext, id: ExecutionId) -> Result<ExecutionWithSkill> {
    ctx.require(Permission::ReadSkills)?;
    let mut tx = app.store.tenant(ctx).await?;
    tx.history().find(id).await?.ok_or(Error::not_found(Code::ExecutionNotFound))
}

/// What fits, newest first, as a file. It is written piece by piece, and given up as soon as it is too large; few are
/// written at a time, since each is held in memory until it was sent.
/// Refuses with `EXPORT_TOO_LARGE`.
pub async fn export(
    app: &App,
    ctx: &TenantContext,
    filter: &ExecutionFilter,
    format: ExportFormat,
) -> Result<Exported> {
    ctx.require(Permission::ReadSkills)?;
    let _turn = app.exports.acquire().await.map_err(|e| Error::internal("waiting to export", e))?;
    let mut file = ExportFile::new(format);
    let mut part = Part::Offset(0);
    let mut tx = app.store.tenant(ctx).await?;
    let is_truncated = loop {
        let rows = tx.history().part(filter, &part, ROWS_AT_A_TIME).await?;
        let Some(last) = rows.last() else { break false };
        part = Part::After(Place::of(&last.execution));
        let left = (MAX_ROWS - file.rows()) as usize;
        rows.iter().take(left).try_for_each(|row| file.push(row))?;
        if rows.len() > left {
            break true;
        }
    };
    Ok(file.finish(app.clock.now().date_naive(), is_truncated))
}

/// Deletes the caller's executions that have ended and were asked for more than so many days ago. Goes on where it was
/// when it is asked again after an interruption, because each batch is a transaction. Refuses with `VALIDATION_ERROR`.
pub async fn clean_up(app: &App, ctx: &TenantContext, older_than_days: u32) -> Result<CleanedUp> {
    ctx.require(Permission::UseSkills)?;
    let mut check = Check::default();
    check.range("olderThanDays", older_than_days, 1, 3650);
    check.done()?;
    let before = app.clock.now() - TimeDelta::days(older_than_days.into());
    Ok(delete_before(app, ctx, before).await?.into())
}

async fn delete_before(app: &App, ctx: &TenantContext, moment: Timestamp) -> Result<Deleted> {
    let mut all = Deleted::default();
    loop {
        let mut tx = app.store.tenant(ctx).await?;
        let deleted = tx.history().delete_before(moment, DELETED_AT_A_TIME).await?;
        tx.commit().await?;
        all += deleted;
        if deleted.count < u64::from(DELETED_AT_A_TIME) {
            return Ok(all);
        }
    }
}

/// Deletes what everybody has kept long enough. Doing it again finds nothing until 03:00 UTC comes round, so it may be
/// called as often as one likes; says how many.
pub(crate) async fn enforce_retention(app: &App) -> Result<u64> {
    const AT_A_TIME: i64 = 1_000;
    let before = retention_ends(app.clock.now(), app.config.runs.kept);
    let mut tx = app.store.system(SystemTask::FindOldExecutions).await?;
    let owners = tx.statistics().owners_of_old(before, AT_A_TIME).await?;
    drop(tx);
    let mut deleted = 0;
    for (organization, user) in owners {
        let ctx = identity::for_job(organization, user);
        deleted += delete_before(app, &ctx, before).await?.count;
    }
    if deleted > 0 {
        tracing::info!(deleted, %before, "executions were deleted because they are too old");
    }
    Ok(deleted)
}
