//! Links that are sent by mail: each a ticket, good for one thing, once.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::sessions::{Origin, audit, open};
use super::{mails, tickets};
use crate::app::App;
use crate::domain::accounts::{Account, User};
use crate::domain::audit::{AuditEntry, AuditEvent};
use crate::domain::events::Event;
use crate::domain::mails::Mail;
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
/// Refuses with `LINK_INVALID`.
pub async fn verify_email(app: &App, token: &SecretString, origin: &Origin) -> Result<()> {
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
    if let Some(membership) = &account.membership {
        audit(app, &mut *tx, membership.organization.id, &entry, origin, now).await?;
    }
    tx.announce(&Event::UserChanged { user_id: account.user.id }).await?;
    tx.commit().await?;
    app.identities.forget(account.user.id);
    Ok(())
}

/// Mails a new account the link that confirms its address, when the transaction commits.
pub(super) async fn send_verification(app: &App, tx: &mut dyn SystemTx, user: &User, now: Timestamp) -> Result<()> {
    let link = new_link(app, tx, TicketKind::EmailVerify, user, now).await?;
    mails::enqueue(app, tx.outbox(), &Mail::email_verification(&user.email, &link)).await
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
    account.ok_or_else(invalid)
}
