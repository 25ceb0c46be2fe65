//! Tickets: a secret for one thing, once, for a while. The secret goes out in a link or a redirect; what stays is its
//! keyed hash, and what belongs to it, sealed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::domain::ids::{TicketId, UserId};
use crate::domain::tickets::{Ticket, TicketKind};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ports::{SystemTask, SystemTx};

/// For how long a ticket is kept after it expired, to be looked at when something went wrong.
const KEPT: TimeDelta = TimeDelta::days(1);

/// What a ticket was made for.
pub(crate) struct Redeemed<P> {
    pub user_id: Option<UserId>,
    pub payload: P,
}

/// Makes a ticket in the transaction; its secret of 256 bits exists nowhere but in the reply.
pub(crate) async fn issue<P: Serialize + Sync>(
    app: &App,
    tx: &mut dyn SystemTx,
    kind: TicketKind,
    user_id: Option<UserId>,
    payload: &P,
    now: Timestamp,
) -> Result<SecretString> {
    let mut bytes = [0; 32];
    app.random.fill(&mut bytes);
    let secret = SecretString::from(URL_SAFE_NO_PAD.encode(bytes));
    let id = TicketId(app.random.uuid());
    let plain = serde_json::to_vec(payload).map_err(|e| Error::internal("writing a ticket", e))?;
    let ticket = Ticket {
        id,
        kind,
        user_id,
        secret_hash: hash_of(app, kind, &secret),
        sealed: app.secrets.seal(&plain, &row(id))?,
        created_at: now,
        expires_at: now + kind.lifetime(),
    };
    tx.tickets().insert(&ticket).await?;
    Ok(secret)
}

/// Uses a ticket up, if the transaction commits. None when the secret is of no open ticket of this kind.
pub(crate) async fn redeem<P: DeserializeOwned>(
    app: &App,
    tx: &mut dyn SystemTx,
    kind: TicketKind,
    secret: &SecretString,
    now: Timestamp,
) -> Result<Option<Redeemed<P>>> {
    let Some(ticket) = tx.tickets().redeem(kind, &hash_of(app, kind, secret), now).await? else { return Ok(None) };
    // One that was sealed with another key is as good as none.
    let plain = app.secrets.open(&ticket.sealed, &row(ticket.id));
    let payload = plain.and_then(|plain| serde_json::from_slice(&plain).ok());
    Ok(payload.map(|payload| Redeemed { user_id: ticket.user_id, payload }))
}

/// Removes what expired long ago.
pub(crate) async fn purge(app: &App) -> Result<()> {
    let mut tx = app.store.system(SystemTask::PurgeTickets).await?;
    tx.tickets().purge(app.clock.now() - KEPT).await?;
    tx.commit().await
}

/// The kind is part of what is hashed, so that a ticket of one kind cannot even be found as one of another.
fn hash_of(app: &App, kind: TicketKind, secret: &SecretString) -> [u8; 32] {
    app.secrets.keyed_hash("auth ticket", format!("{} {}", kind.as_str(), secret.expose_secret()).as_bytes())
}

fn row(id: TicketId) -> String {
    format!("auth_tickets/{id}")
}
