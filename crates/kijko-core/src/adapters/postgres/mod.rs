//! PostgreSQL, the only store. `tx` opens every transaction; each other file is the SQL of one aggregate.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::context::TenantContext;
use crate::error::Result;
use crate::ports::{Store, StoreHealth, SystemTask, SystemTx, TenantTx};

mod accounts;
mod administration;
mod api_keys;
mod audit;
mod budgets;
pub(crate) mod connect;
pub(crate) mod embedded;
pub(crate) mod errors;
pub(crate) mod events;
mod executions;
mod health;
mod history;
mod idempotency;
mod invitations;
mod login_attempts;
mod mails;
mod memberships;
pub(crate) mod migrations;
mod offered_models;
mod provider_keys;
mod realms;
mod runs;
mod sessions;
mod signing_keys;
mod skill_stars;
mod skill_versions;
mod skills;
mod statistics;
mod team;
mod test_runs;
mod tickets;
mod tx;
mod usage;
mod user_identities;

/// Tenant work and system work have a pool each, so that neither can starve or taint the other.
pub(crate) struct PgStore {
    tenant: PgPool,
    system: PgPool,
}

const SYSTEM_CONNECTIONS: u32 = 6;

impl PgStore {
    pub(crate) fn new(tenant: PgConnectOptions, system: PgConnectOptions, max_connections: u32) -> Self {
        Self {
            tenant: pool(tenant, max_connections),
            system: pool(system, SYSTEM_CONNECTIONS.min(max_connections.max(3))),
        }
    }

    /// Everything on one pool of somebody else's.
    #[cfg(feature = "testing")]
    pub(crate) fn on(pool: PgPool) -> Self {
        Self { tenant: pool.clone(), system: pool }
    }

    /// For the listener, which keeps one of its connections.
    pub(crate) fn system_pool(&self) -> &PgPool {
        &self.system
    }
}

/// Connections are not tested before use: that would cost a round trip per request, and `tx` tries again when one
/// turns out to be dead.
fn pool(options: PgConnectOptions, max_connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(Duration::from_secs(10))
        .test_before_acquire(false)
        .connect_lazy_with(options)
}

#[async_trait]
impl Store for PgStore {
    async fn tenant(&self, ctx: &TenantContext) -> Result<Box<dyn TenantTx>> {
        Ok(Box::new(tx::PgTenantTx::begin(&self.tenant, ctx).await?))
    }

    async fn system(&self, task: SystemTask) -> Result<Box<dyn SystemTx>> {
        Ok(Box::new(tx::PgSystemTx::begin(&self.system, task).await?))
    }

    async fn health(&self) -> Result<StoreHealth> {
        let mut tx = tx::PgSystemTx::begin(&self.system, SystemTask::CheckHealth).await?;
        health::check(&mut tx).await
    }

    async fn bypasses_policies(&self) -> Result<bool> {
        Ok(health::bypasses_policies(&self.tenant).await? || health::bypasses_policies(&self.system).await?)
    }

    async fn close(&self) {
        self.tenant.close().await;
        self.system.close().await;
    }
}
