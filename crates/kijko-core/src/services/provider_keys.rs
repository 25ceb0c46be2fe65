//! An organisation's own keys for model providers: stored after the provider took them, never shown again.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::app::App;
use crate::context::{Permission, TenantContext};
use crate::domain::audit::AuditEvent;
use crate::domain::executions::FailureCode;
use crate::domain::models::Provider;
use crate::domain::provider_keys::{NewProviderKey, ProviderKey, SealedProviderKey, row};
use crate::error::{Code, Error, Result};
use crate::ports::models::{ModelError, ModelProvider};
use crate::services::audit;

/// How long a provider may take to say whether it takes a key.
const PATIENCE: Duration = Duration::from_secs(15);

/// By provider; at most one for each.
pub async fn list(app: &App, ctx: &TenantContext) -> Result<Vec<ProviderKey>> {
    ctx.require(Permission::ManageProviderKeys)?;
    let mut tx = app.store.tenant(ctx).await?;
    tx.provider_keys().list().await
}

/// Refuses with `NOT_FOUND`.
pub async fn get(app: &App, ctx: &TenantContext, provider: Provider) -> Result<ProviderKey> {
    let keys = list(app, ctx).await?;
    keys.into_iter().find(|key| key.provider == provider).ok_or(Error::not_found(Code::NotFound))
}

/// Stores the key once the provider takes it, in the place of the one before; runs that begin from now on use it.
/// Refuses with `VALIDATION_ERROR`, naming what the provider did not take, and with `DEPENDENCY_UNAVAILABLE` when it
/// cannot say.
pub async fn store(app: &App, ctx: &TenantContext, provider: Provider, new: NewProviderKey) -> Result<ProviderKey> {
    ctx.require(Permission::ManageProviderKeys)?;
    let new = new.checked(provider)?;
    let connected = app.models.connect(provider, &new.api_key, new.endpoint().as_ref())?;
    try_out(provider, &*connected, new.base_url.is_some()).await?;
    let key = ProviderKey {
        provider,
        last_four: new.last_four(),
        base_url: new.base_url,
        api_version: new.api_version,
        stored_by: Some(ctx.user_id()),
        stored_at: app.clock.now(),
    };
    let plain = new.api_key.expose_secret().as_bytes();
    let sealed = app.secrets.seal(plain, &row(ctx.organization_id(), provider))?;
    let mut tx = app.store.tenant(ctx).await?;
    if !tx.provider_keys().store(&key, &sealed).await? {
        return Err(Error::Forbidden { code: Code::Forbidden });
    }
    let metadata = json!({ "provider": provider, "lastFour": key.last_four, "baseUrl": key.base_url });
    let event = AuditEvent::SecurityProviderKeyStored;
    audit::note(app, &mut *tx, ctx, event, "Stored a key for a model provider", metadata).await?;
    tx.commit().await?;
    Ok(key)
}

/// Runs that begin from now on use the key of the installation, if it has one. Refuses with `NOT_FOUND`.
pub async fn delete(app: &App, ctx: &TenantContext, provider: Provider) -> Result<()> {
    ctx.require(Permission::ManageProviderKeys)?;
    let mut tx = app.store.tenant(ctx).await?;
    if !tx.provider_keys().delete(provider).await? {
        return Err(Error::not_found(Code::NotFound));
    }
    let event = AuditEvent::SecurityProviderKeyDeleted;
    let metadata = json!({ "provider": provider });
    audit::note(app, &mut *tx, ctx, event, "Deleted a key for a model provider", metadata).await?;
    tx.commit().await
}

/// None when it was sealed for another row or with another key than ours.
pub(crate) fn open(app: &App, key: &SealedProviderKey) -> Option<SecretString> {
    let plain = app.secrets.open(&key.sealed, &key.row())?;
    String::from_utf8(plain).ok().map(SecretString::from)
}

async fn try_out(provider: Provider, connected: &dyn ModelProvider, has_address: bool) -> Result<()> {
    let result = tokio::time::timeout(PATIENCE, connected.check()).await;
    let error = match result {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => Some(error),
        Err(_) => None,
    };
    Err(match error.map(|ModelError { failure, is_retryable, .. }| (failure.code, is_retryable)) {
        Some((FailureCode::ModelNotSupported, _)) if has_address => {
            Error::invalid("baseUrl", "format", "There is no list of models below baseUrl; does it end in /v1?")
        }
        None | Some((FailureCode::ProviderUnreachable, _)) if has_address => {
            Error::invalid("baseUrl", "format", "Nobody answers at a public address of baseUrl")
        }
        None | Some((_, true)) => Error::Unavailable { code: Code::DependencyUnavailable, source: None },
        Some((_, false)) => Error::invalid("apiKey", "refused", format!("{} refuses this key", provider.as_str())),
    })
}
