//! Links that are sent by mail: each a ticket, good for one thing, once.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::identity::Credential;
use super::sessions::{Origin, audit, end_all_sessions, open, open_session};
use super::{limits, login_attempts, mails, tickets};
use crate::app::App;
use crate::domain::accounts::{Account, LinkRequest, PasswordReset, User};
use crate::domain::audit::{AuditEntry, AuditEvent};
use crate::domain::events::Event;
use crate::domain::ids::{MailId, SessionId};
use crate::domain::limits::Counter;
use crate::domain::mails::{Mail, Outgoing};
use crate::domain::sessions::{AuthMethod, TokenResponse};
use crate::domain::tickets::TicketKind;
use crate::domain::time::Timestamp;
use crate::error::{Code, Error, Result};
use crate::ports::{SystemTask, SystemTx};

/// What a link was sent for. It is void when the account has another address by now.
#[derive(Serialize, Deserialize)]
struct Addressee {
    email: String,
}

/// Notes that whoever signed up reads the mail of their address.
/// Refuses with `LINK_INVALID`, `ACCOUNT_DISABLED`.
pub async fn verify_email(app: &App, token: &SecretString, origin: &Origin) -> Result<()> {
    refuse_where_a_realm_decides(app)?;
    let now = app.clock.now();
    let mut tx = open(app, SystemTask::UseLink).await?;
    let account = redeem(app, &mut *tx, TicketKind::EmailVerify, token, now).await?;
    tx.accounts().confirm_email(account.user.id, now).await?;
    let entry = AuditEntry {
        event: AuditEvent::UserProfileUpdated,
        user_id: Some(account.user.id),
        description: "Confirmed the e-mail address".into(),
        metadata: json!({ "emailVerified": true }),
    };
    note(app, &mut *tx, &account, &entry, origin, now).await?;
    tx.announce(&Event::UserChanged { user_id: account.user.id }).await?;
    tx.commit().await?;
    forget(app, &account.user, &[]);
    Ok(())
}

/// Mails a link to reset the password of this address, if it has an account that may sign in.
/// Refuses with `VALIDATION_ERROR`, `RATE_LIMITED`.
pub async fn request_password_reset(app: &App, request: LinkRequest) -> Result<()> {
    ask(app, TicketKind::PasswordReset, request).await
}

/// Mails a link that signs in, if this address has an account that may sign in.
/// Refuses with `VALIDATION_ERROR`, `RATE_LIMITED`.
pub async fn request_magic_link(app: &App, request: LinkRequest) -> Result<()> {
    ask(app, TicketKind::MagicLink, request).await
}

/// Passwords and addresses are the realm's, which has such mails of its own.
fn refuse_where_a_realm_decides(app: &App) -> Result<()> {
    if app.realm.is_some() { Err(Error::Forbidden { code: Code::AuthMethodDisabled }) } else { Ok(()) }
}

/// Only notes the wish: the account is looked up by the job, so that known and unknown addresses cost the same.
async fn ask(app: &App, kind: TicketKind, request: LinkRequest) -> Result<()> {
    refuse_where_a_realm_decides(app)?;
    let request = request.checked()?;
    limits::of_account(app, Counter::LinkOfAccount, &request.email).await?;
    let mut tx = open(app, SystemTask::RequestLink).await?;
    mails::put(app, tx.outbox(), &Outgoing::RequestedLink { kind, email: request.email }).await?;
    tx.commit().await
}

/// Turns a wish in the outbox into a mail with a link, or into nothing.
pub(super) async fn answer(app: &App, wish: MailId, kind: TicketKind, email: &str) -> Result<()> {
    let now = app.clock.now();
    let mut tx = open(app, SystemTask::RequestLink).await?;
    tx.mails().delete(wish).await?;
    let account = tx.accounts().find_by_email(email).await?.map(|(account, _)| account);
    if let Some(account) = account.filter(|account| !account.disabled) {
        let link = new_link(app, &mut *tx, kind, &account.user, now).await?;
        let mail = match kind {
            TicketKind::PasswordReset => Mail::password_reset(email, &link),
            TicketKind::MagicLink => Mail::magic_link(email, &link),
            TicketKind::EmailVerify | TicketKind::OauthState => {
                return Err(Error::internal("answering a wish for a link", kind.as_str()));
            }
        };
        mails::enqueue(app, tx.outbox(), &mail.until(now + kind.lifetime())).await?;
    }
    tx.commit().await
}

/// Sets a new password, which ends every session of the account, at once and everywhere, and voids its other links.
/// Whoever could open the mail also owns the address.
/// Refuses with `VALIDATION_ERROR`, `LINK_INVALID`, `ACCOUNT_DISABLED`.
pub async fn reset_password(app: &App, reset: PasswordReset, origin: &Origin) -> Result<()> {
    refuse_where_a_realm_decides(app)?;
    let reset = reset.checked()?;
    let hash = app.passwords.hash(reset.new_password).await?;
    let now = app.clock.now();
    let mut tx = open(app, SystemTask::UseLink).await?;
    let account = redeem(app, &mut *tx, TicketKind::PasswordReset, &reset.token, now).await?;
    let user = &account.user;
    tx.accounts().set_password_hash(user.id, &hash, now).await?;
    login_attempts::forgive(app, &mut *tx, &user.email).await?;
    tx.accounts().confirm_email(user.id, now).await?;
    tx.tickets().discard(user.id, now).await?;
    let ended = end_all_sessions(app, &mut *tx, user.id, "password_reset", origin, now).await?;
    let entry = AuditEntry {
        event: AuditEvent::UserPasswordChanged,
        user_id: Some(user.id),
        description: "Set a new password with a link that was mailed".into(),
        metadata: json!({ "sessionsEnded": ended.len() }),
    };
    note(app, &mut *tx, &account, &entry, origin, now).await?;
    mails::enqueue(app, tx.outbox(), &Mail::password_changed(&user.email, &app.config.http.app_url)).await?;
    tx.announce(&Event::UserChanged { user_id: user.id }).await?;
    tx.commit().await?;
    forget(app, user, &ended);
    Ok(())
}

/// Signs in whoever holds a link that was mailed. The first proof that an address is theirs takes the account over:
/// somebody else may have signed up with it before, so that the password and the sessions of that time end.
/// Refuses with `LINK_INVALID`, `ACCOUNT_DISABLED`, `NO_ORGANIZATION`.
pub async fn sign_in(app: &App, token: &SecretString, origin: &Origin) -> Result<TokenResponse> {
    refuse_where_a_realm_decides(app)?;
    let now = app.clock.now();
    let mut tx = open(app, SystemTask::UseLink).await?;
    let mut account = redeem(app, &mut *tx, TicketKind::MagicLink, token, now).await?;
    let mut ended = Vec::new();
    if !account.user.email_verified {
        tx.accounts().forget_password(account.user.id, now).await?;
        tx.accounts().confirm_email(account.user.id, now).await?;
        tx.tickets().discard(account.user.id, now).await?;
        ended = end_all_sessions(app, &mut *tx, account.user.id, "email_confirmed", origin, now).await?;
        tx.announce(&Event::UserChanged { user_id: account.user.id }).await?;
        account.user.email_verified = true;
    }
    let reply = open_session(app, &mut *tx, &account, AuthMethod::MagicLink, origin, now).await?;
    tx.commit().await?;
    forget(app, &account.user, &ended);
    Ok(reply)
}

/// What changed is announced to every process, this one included, but only in a moment.
fn forget(app: &App, user: &User, ended: &[SessionId]) {
    for session in ended {
        app.identities.end(Credential::Session(*session));
    }
    app.identities.forget(user.id);
}

/// Mails a link to confirm the address and commits, since nobody gets in before that.
pub(super) async fn demand_verification<T>(
    app: &App,
    mut tx: Box<dyn SystemTx>,
    user: &User,
    now: Timestamp,
) -> Result<T> {
    send_verification(app, &mut *tx, user, now).await?;
    tx.commit().await?;
    Err(Error::Forbidden { code: Code::EmailNotVerified })
}

/// Mails a new account the link that confirms its address, when the transaction commits.
pub(super) async fn send_verification(app: &App, tx: &mut dyn SystemTx, user: &User, now: Timestamp) -> Result<()> {
    let link = new_link(app, tx, TicketKind::EmailVerify, user, now).await?;
    let mail = Mail::email_verification(&user.email, &link).until(now + TicketKind::EmailVerify.lifetime());
    mails::enqueue(app, tx.outbox(), &mail).await
}

/// The link that sets a new password, for whoever may hand it over themselves.
pub(super) async fn password_reset_link(
    app: &App,
    tx: &mut dyn SystemTx,
    user: &User,
    now: Timestamp,
) -> Result<String> {
    new_link(app, tx, TicketKind::PasswordReset, user, now).await
}

/// A link into the front end that carries a new ticket.
async fn new_link(app: &App, tx: &mut dyn SystemTx, kind: TicketKind, user: &User, now: Timestamp) -> Result<String> {
    let path = match kind {
        TicketKind::EmailVerify => "auth/verify-email",
        TicketKind::PasswordReset => "auth/reset-password",
        TicketKind::MagicLink => "auth/magic-link",
        TicketKind::OauthState => {
            return Err(Error::internal("making a link", "a state goes by redirect, not by mail"));
        }
    };
    let addressee = Addressee { email: user.email.clone() };
    let secret = tickets::issue(app, tx, kind, Some(user.id), &addressee, now).await?;
    Ok(format!("{}/{path}?token={}", app.config.http.app_url, secret.expose_secret()))
}

/// In the log of the organisation that the person enters first; whoever belongs to none has none.
async fn note(
    app: &App,
    tx: &mut dyn SystemTx,
    account: &Account,
    entry: &AuditEntry,
    origin: &Origin,
    now: Timestamp,
) -> Result<()> {
    let Some(membership) = &account.membership else { return Ok(()) };
    audit(app, tx, membership.organization.id, entry, origin, now).await
}

/// Whose link it was; it is used up when the transaction commits.
async fn redeem(
    app: &App,
    tx: &mut dyn SystemTx,
    kind: TicketKind,
    token: &SecretString,
    now: Timestamp,
) -> Result<Account> {
    let invalid = || Error::Unauthenticated { code: Code::LinkInvalid, reason: None };
    let link = tickets::redeem::<Addressee>(app, tx, kind, token, now).await?.ok_or_else(invalid)?;
    let found = tx.accounts().find_by_email(&link.payload.email).await?;
    let account = found.map(|(account, _)| account).filter(|account| Some(account.user.id) == link.user_id);
    let account = account.ok_or_else(invalid)?;
    if account.disabled { Err(Error::Forbidden { code: Code::AccountDisabled }) } else { Ok(account) }
}
