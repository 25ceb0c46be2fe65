//! Lets a client repeat a request that it does not know the end of: the first one is carried out, every later one with
//! the same key gets the same reply. For use cases of one transaction, which then carries the reply as well:
//!
//! `let once = Once::new(…); … if let Some(reply) = once.replay(…) { return Ok(reply) } … once.keep(…); tx.commit()`

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::context::TenantContext;
use crate::domain::idempotency::{IdempotencyKey, KEPT, KeptReply};
use crate::error::{Code, Error, Result};
use crate::ports::{SystemTask, TenantTx};

/// One request, as its key and what it asks for.
pub(crate) struct Once<'a>(Option<Named<'a>>);

struct Named<'a> {
    key: &'a IdempotencyKey,
    /// Of the operation and the body.
    fingerprint: [u8; 32],
    /// What the reply is sealed for: it opens for nobody else.
    row: String,
}

impl<'a> Once<'a> {
    /// Without a key it does nothing, and each request is a new one.
    pub(crate) fn new(
        app: &App,
        ctx: &TenantContext,
        key: Option<&'a IdempotencyKey>,
        operation: &'static str,
        body: &impl Serialize,
    ) -> Result<Self> {
        let Some(key) = key else { return Ok(Self(None)) };
        let body = serde_json::to_string(&(operation, body)).map_err(|e| Error::internal("reading a request", e))?;
        let fingerprint = app.secrets.keyed_hash("idempotent request", body.as_bytes());
        let row = format!("idempotency_keys/{}/{}/{}", ctx.organization_id(), ctx.user_id(), key.as_str());
        Ok(Self(Some(Named { key, fingerprint, row })))
    }

    /// The reply of an earlier request with this key. Others with it wait until the transaction ends.
    /// Refuses with `IDEMPOTENCY_CONFLICT` when that one asked for something else.
    pub(crate) async fn replay<T: DeserializeOwned>(&self, app: &App, tx: &mut dyn TenantTx) -> Result<Option<T>> {
        let Some(named) = &self.0 else { return Ok(None) };
        let kept = tx.idempotency().find(named.key, app.clock.now() - KEPT).await?;
        let Some(kept) = kept else { return Ok(None) };
        if kept.fingerprint != named.fingerprint {
            return Err(Error::conflict(Code::IdempotencyConflict));
        }
        let unreadable = |why: String| Error::internal("reading a kept reply", why);
        let reply = app.secrets.open(&kept.sealed, &named.row);
        let reply = reply.ok_or_else(|| unreadable("it does not open with this ENCRYPTION_KEY".to_owned()))?;
        serde_json::from_slice(&reply).map(Some).map_err(|e| unreadable(e.to_string()))
    }

    /// Keeps the reply, if this transaction commits.
    pub(crate) async fn keep(&self, app: &App, tx: &mut dyn TenantTx, reply: &impl Serialize) -> Result<()> {
        let Some(named) = &self.0 else { return Ok(()) };
        let reply = serde_json::to_vec(reply).map_err(|e| Error::internal("writing a reply", e))?;
        let sealed = app.secrets.seal(&reply, &named.row)?;
        let kept = KeptReply { fingerprint: named.fingerprint, sealed };
        tx.idempotency().upsert(named.key, &kept, app.clock.now()).await
    }
}

/// Forgets replies that nobody gets any more; says how many.
pub(crate) async fn forget_old(app: &App) -> Result<u64> {
    let mut tx = app.store.system(SystemTask::ForgetReplies).await?;
    let forgotten = tx.old_replies().delete_before(app.clock.now() - KEPT).await?;
    tx.commit().await?;
    Ok(forgotten)
}
