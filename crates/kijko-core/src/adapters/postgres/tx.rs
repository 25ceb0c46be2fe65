//! The only file that opens a transaction.
//!
//! `BEGIN` and the context travel in one message, so opening costs one round trip. Two dangers are met here:
//!
//! * A caller may be dropped at any await (a client hangs up). With sqlx 0.9 a dropped `BEGIN` would return a
//!   connection to the pool whose transaction, and tenant context, are still open. So opening runs in a task of its
//!   own, which nobody can cancel. Everything after it may be dropped: what was not committed is rolled back.
//! * Should a connection come back with an open transaction all the same, the message begins with `ROLLBACK`.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Transaction};

use super::errors;
use crate::context::TenantContext;
use crate::domain::events::Event;
use crate::error::{Error, Result};
use crate::ports::accounts::AccountRepo;
use crate::ports::audit::AuditRepo;
use crate::ports::executions::{ActiveExecutionRepo, ExecutionRepo};
use crate::ports::identity::SigningKeyRepo;
use crate::ports::sessions::SessionRepo;
use crate::ports::skills::SkillRepo;
use crate::ports::{SystemTask, SystemTx, TenantTx};

/// Works as the tenant role for one user in one organisation; implements every tenant repository.
pub(super) struct PgTenantTx {
    tx: Transaction<'static, Postgres>,
}

/// Works as the system role.
pub(super) struct PgSystemTx {
    tx: Transaction<'static, Postgres>,
}

impl PgTenantTx {
    pub(super) async fn begin(pool: &PgPool, ctx: &TenantContext) -> Result<Self> {
        // Typed UUIDs print as hexadecimal digits and hyphens, so there is nothing to escape.
        let statement = format!(
            "ROLLBACK; BEGIN; SET LOCAL ROLE kijko_tenant; SET LOCAL app.current_org_id = '{}'; \
             SET LOCAL app.current_user_id = '{}'",
            ctx.organization_id(),
            ctx.user_id(),
        );
        Ok(Self { tx: begin(pool, statement).await? })
    }

    pub(super) fn conn(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}

impl PgSystemTx {
    pub(super) async fn begin(pool: &PgPool, task: SystemTask) -> Result<Self> {
        tracing::debug!(?task, "system transaction");
        Ok(Self { tx: begin(pool, "ROLLBACK; BEGIN; SET LOCAL ROLE kijko_system".to_owned()).await? })
    }

    pub(super) fn conn(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}

async fn begin(pool: &PgPool, statement: String) -> Result<Transaction<'static, Postgres>> {
    let pool = pool.clone();
    let opening = tokio::spawn(async move {
        // After a restart of the database every pooled connection is dead, and each is found out here.
        let mut dead_connections_left = pool.size();
        loop {
            #[expect(clippy::disallowed_methods, reason = "this is the one place")]
            let opened = pool.begin_with(AssertSqlSafe(statement.clone())).await;
            match opened {
                Err(error) if errors::is_dead_connection(&error) && dead_connections_left > 0 => {
                    dead_connections_left -= 1;
                }
                other => return other,
            }
        }
    });
    opening.await.map_err(|e| Error::internal("opening a transaction", e))?.map_err(errors::translate)
}

#[async_trait]
impl TenantTx for PgTenantTx {
    fn executions(&mut self) -> &mut dyn ExecutionRepo {
        self
    }

    fn skills(&mut self) -> &mut dyn SkillRepo {
        self
    }

    async fn announce(&mut self, event: &Event) -> Result<()> {
        super::events::notify(self.conn(), event).await
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        self.tx.commit().await.map_err(errors::translate)
    }
}

#[async_trait]
impl SystemTx for PgSystemTx {
    fn accounts(&mut self) -> &mut dyn AccountRepo {
        self
    }

    fn audit(&mut self) -> &mut dyn AuditRepo {
        self
    }

    fn executions(&mut self) -> &mut dyn ActiveExecutionRepo {
        self
    }

    fn sessions(&mut self) -> &mut dyn SessionRepo {
        self
    }

    fn signing_keys(&mut self) -> &mut dyn SigningKeyRepo {
        self
    }

    async fn announce(&mut self, event: &Event) -> Result<()> {
        super::events::notify(self.conn(), event).await
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        self.tx.commit().await.map_err(errors::translate)
    }
}
