//! API keys: make, list, revoke, and count how they are used. Who holds one is found out in `identity`.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use serde_json::json;

use crate::app::{App, Ports};
use crate::config::Environment;
use crate::context::{Permission, TenantContext};
use crate::domain::api_keys::{
    ApiKey, CreatedApiKey, KeyEnvironment, KeyUse, MAX_LIVE_KEYS, NewApiKey, Scope, shown_prefix,
};
use crate::domain::audit::{AuditEntry, AuditEvent};
use crate::domain::events::Event;
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::{ApiKeyId, AuditLogId, OrganizationId};
use crate::domain::mails::Mail;
use crate::domain::time::Timestamp;
use crate::error::{Code, Error, Result};
use crate::ports::SystemTask;
use crate::ports::api_keys::StoredKey;
use crate::services::idempotency::Once;
use crate::services::identity::Credential;
use crate::services::{audit, mails};

/// Between two writings of how often keys were used.
const RECORD_INTERVAL: Duration = Duration::from_secs(2);

/// The caller's own keys; those of everybody in the organisation with `all`, which only administrators may ask for.
pub async fn list(app: &App, ctx: &TenantContext, all: bool) -> Result<Vec<ApiKey>> {
    ctx.require(if all { Permission::ManageAllApiKeys } else { Permission::ManageApiKeys })?;
    let now = app.clock.now();
    if all {
        let mut tx = app.store.system(SystemTask::ManageApiKeys).await?;
        return tx.api_keys().list(ctx.organization_id(), now).await;
    }
    let mut tx = app.store.tenant(ctx).await?;
    tx.api_keys().list(now).await
}

/// Makes a key, which is shown this once. With an idempotency key, asking again within a day shows the same one.
/// Refuses with `VALIDATION_ERROR`, `TOO_MANY_API_KEYS`, `IDEMPOTENCY_CONFLICT`.
pub async fn create(
    app: &App,
    ctx: &TenantContext,
    new: NewApiKey,
    key: Option<&IdempotencyKey>,
) -> Result<CreatedApiKey> {
    ctx.require(Permission::ManageApiKeys)?;
    let new = new.checked()?;
    if new.scopes.contains(&Scope::Admin) {
        ctx.require(Permission::ManageAllApiKeys)?;
    }
    let once = Once::new(app, ctx, key, "create_api_key", &new)?;
    let now = app.clock.now();
    let mut tx = app.store.tenant(ctx).await?;
    if let Some(reply) = once.replay(app, &mut *tx).await? {
        return Ok(reply);
    }
    let live = tx.api_keys().count_live(now).await?;
    if live >= MAX_LIVE_KEYS {
        let details = json!({ "limit": MAX_LIVE_KEYS, "used": live });
        return Err(Error::Conflict { code: Code::TooManyApiKeys, field: None, details: Some(details) });
    }
    let created = make(app, new.clone(), now);
    let hash = hash_of(app, &created.key);
    let stored =
        StoredKey { id: created.id, hash, prefix: &created.key_prefix, new: &new, expires_at: created.expires_at };
    tx.api_keys().insert(&stored, now).await?;
    let metadata = json!({ "keyName": created.name, "scopes": created.scopes, "keyPrefix": created.key_prefix });
    audit::note(app, &mut *tx, ctx, AuditEvent::SecurityApiKeyCreated, "Created an API key", metadata).await?;
    // Whoever took over a session must not be able to make a way in that nobody hears of.
    if let Some(owner) = tx.members().find_by_user(ctx.user_id()).await? {
        let notice = Mail::api_key_created(&owner.email, &created.key_prefix, &app.config.http.app_url);
        mails::enqueue(app, tx.outbox(), &notice).await?;
    }
    once.keep(app, &mut *tx, &created).await?;
    tx.commit().await?;
    Ok(created)
}

/// Ends a key, at once and everywhere; administrators may end anybody's in their organisation.
/// Refuses with `NOT_FOUND`.
pub async fn revoke(app: &App, ctx: &TenantContext, id: ApiKeyId) -> Result<()> {
    ctx.require(Permission::ManageApiKeys)?;
    let now = app.clock.now();
    let event = Event::ApiKeyRevoked { api_key_id: id };
    let mut tx = app.store.tenant(ctx).await?;
    if let Some(name) = tx.api_keys().revoke(id, now).await? {
        let metadata = json!({ "keyName": name });
        audit::note(app, &mut *tx, ctx, AuditEvent::SecurityApiKeyRevoked, "Revoked an API key", metadata).await?;
        tx.announce(&event).await?;
        tx.commit().await?;
    } else {
        drop(tx);
        ctx.require(Permission::ManageAllApiKeys).map_err(|_| Error::not_found(Code::NotFound))?;
        revoke_of_another(app, ctx, id, now).await?;
    }
    // The announcement reaches this process too, but only in a moment.
    app.identities.end(Credential::ApiKey(id));
    Ok(())
}

async fn revoke_of_another(app: &App, ctx: &TenantContext, id: ApiKeyId, now: Timestamp) -> Result<()> {
    let organization = ctx.organization_id();
    let mut tx = app.store.system(SystemTask::ManageApiKeys).await?;
    let name = tx.api_keys().revoke(organization, id, now).await?.ok_or(Error::not_found(Code::NotFound))?;
    let entry = AuditEntry {
        event: AuditEvent::SecurityApiKeyRevoked,
        user_id: Some(ctx.user_id()),
        description: "Revoked the API key of somebody else".into(),
        metadata: json!({ "keyName": name }),
    };
    let entry_id = AuditLogId(app.random.uuid());
    tx.audit().insert(organization, entry_id, &entry, ctx.origin(), now).await?;
    tx.announce(&Event::ApiKeyRevoked { api_key_id: id }).await?;
    tx.commit().await
}

/// What is stored of a key, and found again by it.
pub(crate) fn hash_of(app: &App, key: &str) -> [u8; 32] {
    app.secrets.keyed_hash("api key", key.as_bytes())
}

/// Keys of another environment are good for nothing here.
pub(crate) fn environment(app: &App) -> KeyEnvironment {
    if app.config.environment == Environment::Ai { KeyEnvironment::Live } else { KeyEnvironment::Test }
}

fn make(app: &App, new: NewApiKey, now: Timestamp) -> CreatedApiKey {
    let mut random = [0; 24];
    app.random.fill(&mut random);
    let key = environment(app).key(random);
    CreatedApiKey {
        id: ApiKeyId(app.random.uuid()),
        key_prefix: shown_prefix(&key).to_owned(),
        key,
        expires_at: new.expires_at(now),
        name: new.name,
        scopes: new.scopes,
    }
}

/// Uses that were seen and not written yet.
#[derive(Default)]
pub struct KeyUses {
    noted: Mutex<Noted>,
    /// Held while writing, so that a shutdown waits for what is on its way.
    writing: tokio::sync::Mutex<()>,
}

type Noted = HashMap<(OrganizationId, ApiKeyId), (i64, Timestamp)>;

impl KeyUses {
    pub(crate) fn note(&self, organization: OrganizationId, id: ApiKeyId, now: Timestamp) {
        self.add([KeyUse { organization_id: organization, id, count: 1, last_used_at: now }]);
    }

    fn add(&self, uses: impl IntoIterator<Item = KeyUse>) {
        let mut noted = self.lock();
        for new in uses {
            let entry = noted.entry((new.organization_id, new.id)).or_insert((0, new.last_used_at));
            *entry = (entry.0 + new.count, entry.1.max(new.last_used_at));
        }
    }

    fn take(&self) -> Vec<KeyUse> {
        let noted = std::mem::take(&mut *self.lock());
        let key_use =
            |((organization_id, id), (count, last_used_at))| KeyUse { organization_id, id, count, last_used_at };
        noted.into_iter().map(key_use).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes how often keys were used since the last time, all in one statement. What cannot be written now is kept.
pub(crate) async fn record_use(app: &App) -> Result<()> {
    let _writing = app.key_uses.writing.lock().await;
    let uses = app.key_uses.take();
    if uses.is_empty() {
        return Ok(());
    }
    let write = async {
        let mut tx = app.store.system(SystemTask::RecordKeyUse).await?;
        tx.api_keys().record_use(&uses).await?;
        tx.commit().await
    };
    write.await.inspect_err(|_| app.key_uses.add(uses.iter().copied()))
}

/// Does so for as long as the process lives.
pub(crate) async fn record_use_regularly(ports: Weak<Ports>) {
    let mut interval = tokio::time::interval(RECORD_INTERVAL);
    loop {
        interval.tick().await;
        let Some(app) = App::from_weak(&ports) else { return };
        if let Err(error) = record_use(&app).await {
            tracing::warn!(error = error.internal_text(), "the use of API keys could not be written; trying again");
        }
    }
}
