//! What attempts to sign in leave behind: the lock after wrong passwords, and a line for the account's owner.
//!
//! Nothing here may tell whether an address has an account, in text or in time. So what a caller waits for is the same
//! for all addresses, and whatever depends on the account is written beside the reply.

use chrono::TimeDelta;
use serde_json::json;

use super::sessions::{audit, open};
use crate::app::App;
use crate::domain::accounts::Account;
use crate::domain::audit::{AuditEntry, AuditEvent};
use crate::domain::ids::LoginAttemptId;
use crate::domain::login_attempts::{AccountHash, FORGOTTEN_AFTER, FailureReason, LoginAttempt};
use crate::domain::sessions::{AuthMethod, Origin};
use crate::domain::time::Timestamp;
use crate::error::{Code, Error, Result};
use crate::ports::{SystemTask, SystemTx};

/// For how long people see where their account was signed in to.
const HISTORY_KEPT: TimeDelta = TimeDelta::days(90);

/// Refuses with `ACCOUNT_LOCKED` after too many wrong passwords in a row.
pub(super) async fn refuse_while_locked(app: &App, email: &str, origin: &Origin) -> Result<()> {
    let mut tx = open(app, SystemTask::SignIn).await?;
    let failures = tx.login_attempts().failures(&hash(app, email)).await?;
    drop(tx);
    let Some(retry_after) = failures.and_then(|failures| failures.locked_for(app.clock.now())) else { return Ok(()) };
    note_failure_later(app, email, AuthMethod::Password, FailureReason::AccountLocked, origin);
    Err(Error::Locked { code: Code::AccountLocked, retry_after })
}

/// Counts a wrong password towards the lock, and notes it.
pub(super) async fn count_wrong_password(app: &App, email: &str, origin: &Origin) -> Result<()> {
    let now = app.clock.now();
    let mut tx = open(app, SystemTask::SignIn).await?;
    tx.login_attempts().add_failure(&hash(app, email), now, now - FORGOTTEN_AFTER).await?;
    tx.commit().await?;
    note_failure_later(app, email, AuthMethod::Password, FailureReason::InvalidPassword, origin);
    Ok(())
}

/// Lifts the lock: after the right password, or a reset.
pub(super) async fn forgive(app: &App, tx: &mut dyn SystemTx, email: &str) -> Result<()> {
    tx.login_attempts().clear_failures(&hash(app, email)).await
}

/// Notes a sign-in that succeeds if this transaction commits.
pub(super) async fn note_success(
    app: &App,
    tx: &mut dyn SystemTx,
    account: &Account,
    auth_method: AuthMethod,
    origin: &Origin,
    at: Timestamp,
) -> Result<()> {
    let attempt = attempt(Some(account), auth_method, None, at);
    tx.login_attempts().insert(LoginAttemptId(app.random.uuid()), &attempt, origin).await
}

/// Notes an attempt that did not succeed, beside the reply.
pub(super) fn note_failure_later(
    app: &App,
    email: &str,
    auth_method: AuthMethod,
    reason: FailureReason,
    origin: &Origin,
) {
    let (app, email, origin, at) = (app.clone(), email.to_owned(), origin.clone(), app.clock.now());
    tokio::spawn(async move {
        if let Err(error) = note_failure(&app, &email, auth_method, reason, &origin, at).await {
            tracing::warn!(error = error.internal_text(), "a failed sign-in could not be noted");
        }
    });
}

async fn note_failure(
    app: &App,
    email: &str,
    auth_method: AuthMethod,
    reason: FailureReason,
    origin: &Origin,
    at: Timestamp,
) -> Result<()> {
    let mut tx = open(app, SystemTask::SignIn).await?;
    let account = tx.accounts().find_by_email(email).await?.map(|(account, _)| account);
    let reason = match (&account, reason) {
        (None, FailureReason::InvalidPassword) => FailureReason::UnknownAccount,
        _ => reason,
    };
    let attempt = attempt(account.as_ref(), auth_method, Some(reason), at);
    tx.login_attempts().insert(LoginAttemptId(app.random.uuid()), &attempt, origin).await?;
    if let Some(organization) = attempt.organization_id {
        let entry = AuditEntry {
            event: AuditEvent::SecurityLoginFailed,
            user_id: attempt.user_id,
            description: format!("Sign-in refused: {}", reason.as_str().to_lowercase()),
            metadata: json!({ "reason": reason }),
        };
        audit(app, &mut *tx, organization, &entry, origin, at).await?;
    }
    tx.commit().await
}

fn attempt(
    account: Option<&Account>,
    auth_method: AuthMethod,
    failure: Option<FailureReason>,
    at: Timestamp,
) -> LoginAttempt {
    LoginAttempt {
        user_id: account.map(|account| account.user.id),
        organization_id: account.and_then(|account| Some(account.membership.as_ref()?.organization.id)),
        auth_method,
        failure,
        at,
    }
}

/// Forgets wrong passwords that lock nobody any more, and attempts that are history.
pub(crate) async fn forget_old(app: &App) -> Result<()> {
    let now = app.clock.now();
    let mut tx = app.store.system(SystemTask::ForgetFailures).await?;
    tx.login_attempts().delete_failures_before(now - FORGOTTEN_AFTER).await?;
    tx.login_attempts().purge(now - HISTORY_KEPT).await?;
    tx.commit().await
}

/// Neither the table nor whoever reads it learns which addresses were tried.
fn hash(app: &App, email: &str) -> AccountHash {
    AccountHash(app.secrets.keyed_hash("login attempts", email.as_bytes()))
}
