//! The only file that opens a transaction.
//!
//! `BEGIN` and the context travel in one message, so opening costs one round trip. Two dangers are met here:
//!
//! * A caller may be dropped at any await (a client hangs up). With sqlx 0.9 a dropped `BEGIN` would return a
//!   connection to the pool whose transaction, and tenant context, are still open. So opening runs in a task of its
//!   own, which nobody can cancel. Everything after it may be dropped: what was not committed is rolled back.
//! * Should a connection come back with an open transaction all the same, nobody goes on in it: PostgreSQL refuses
//!   `NOT DEFERRABLE` once a transaction has run a query, and then such connections are closed. (A `ROLLBACK` in front
//!   would do too, and leave a warning in the database's log for every unit of work.)

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Transaction};

use super::errors;
use crate::context::TenantContext;
use crate::domain::events::Event;
use crate::error::{Error, Result};
use crate::ports::accounts::AccountRepo;
use crate::ports::administration::{AllOrganizationsRepo, AllUsersRepo};
use crate::ports::api_keys::{AllApiKeysRepo, ApiKeyRepo};
use crate::ports::audit::{AuditRepo, OwnAuditRepo};
use crate::ports::budgets::{AllUsageRepo, BudgetNoticeRepo, BudgetRepo};
use crate::ports::executions::ExecutionRepo;
use crate::ports::history::HistoryRepo;
use crate::ports::idempotency::{IdempotencyRepo, OldRepliesRepo};
use crate::ports::identity::SigningKeyRepo;
use crate::ports::invitations::{InvitationRepo, JoinRepo};
use crate::ports::login_attempts::LoginAttemptRepo;
use crate::ports::mails::{MailRepo, Outbox};
use crate::ports::memberships::MembershipRepo;
use crate::ports::oauth::IdentityRepo;
use crate::ports::offered_models::{AnnouncedModelRepo, OfferedModelRepo};
use crate::ports::provider_keys::ProviderKeyRepo;
use crate::ports::realms::{RealmSessionRepo, RealmUserRepo};
use crate::ports::runs::{ActiveRunRepo, RunRepo};
use crate::ports::sessions::SessionRepo;
use crate::ports::skill_stars::SkillStarRepo;
use crate::ports::skill_versions::SkillVersionRepo;
use crate::ports::skills::{SkillNameRepo, SkillRepo};
use crate::ports::statistics::{AllStatisticsRepo, StatisticsRepo};
use crate::ports::team::{MemberRepo, TeamRepo};
use crate::ports::test_runs::{OldTestRunRepo, TestRunRepo};
use crate::ports::tickets::TicketRepo;
use crate::ports::usage::{OldUsageRepo, UsageRepo};
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
            "BEGIN NOT DEFERRABLE; SET LOCAL ROLE kijko_tenant; SET LOCAL app.current_org_id = '{}'; \
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
        Ok(Self { tx: begin(pool, "BEGIN NOT DEFERRABLE; SET LOCAL ROLE kijko_system".to_owned()).await? })
    }

    pub(super) fn conn(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}

async fn begin(pool: &PgPool, statement: String) -> Result<Transaction<'static, Postgres>> {
    let pool = pool.clone();
    let opening = tokio::spawn(async move {
        // After a restart of the database every pooled connection is dead, and each is found out here.
        let mut bad_connections_left = pool.size();
        loop {
            #[expect(clippy::disallowed_methods, reason = "this is the one place")]
            let opened = pool.begin_with(AssertSqlSafe(statement.clone())).await;
            match opened {
                Err(error) if bad_connections_left > 0 && errors::is_dead_connection(&error) => {}
                Err(error) if bad_connections_left > 0 && errors::is_left_open(&error) => {
                    tracing::error!("a connection came back with an open transaction");
                    close_idle(&pool).await?;
                }
                other => return other,
            }
            bad_connections_left -= 1;
        }
    });
    opening.await.map_err(|e| Error::internal("opening a transaction", e))?.map_err(errors::translate)
}

/// What is left open cannot be told from outside, so every connection that waits for work goes. Its end rolls it back.
async fn close_idle(pool: &PgPool) -> Result<(), sqlx::Error> {
    // The one in question may be on its way back, so the first is waited for.
    #[expect(clippy::disallowed_methods, reason = "nothing is asked on it")]
    let mut waiting = Some(pool.acquire().await?);
    while let Some(connection) = waiting {
        connection.close().await.ok();
        waiting = pool.try_acquire();
    }
    Ok(())
}

#[async_trait]
impl TenantTx for PgTenantTx {
    fn api_keys(&mut self) -> &mut dyn ApiKeyRepo {
        self
    }

    fn audit(&mut self) -> &mut dyn OwnAuditRepo {
        self
    }

    fn budgets(&mut self) -> &mut dyn BudgetRepo {
        self
    }

    fn executions(&mut self) -> &mut dyn ExecutionRepo {
        self
    }

    fn history(&mut self) -> &mut dyn HistoryRepo {
        self
    }

    fn idempotency(&mut self) -> &mut dyn IdempotencyRepo {
        self
    }

    fn outbox(&mut self) -> &mut dyn Outbox {
        self
    }

    fn invitations(&mut self) -> &mut dyn InvitationRepo {
        self
    }

    fn members(&mut self) -> &mut dyn MemberRepo {
        self
    }

    fn offered_models(&mut self) -> &mut dyn OfferedModelRepo {
        self
    }

    fn runs(&mut self) -> &mut dyn RunRepo {
        self
    }

    fn skill_names(&mut self) -> &mut dyn SkillNameRepo {
        self
    }

    fn skill_stars(&mut self) -> &mut dyn SkillStarRepo {
        self
    }

    fn skill_versions(&mut self) -> &mut dyn SkillVersionRepo {
        self
    }

    fn skills(&mut self) -> &mut dyn SkillRepo {
        self
    }

    fn statistics(&mut self) -> &mut dyn StatisticsRepo {
        self
    }

    fn provider_keys(&mut self) -> &mut dyn ProviderKeyRepo {
        self
    }

    fn team(&mut self) -> &mut dyn TeamRepo {
        self
    }

    fn test_runs(&mut self) -> &mut dyn TestRunRepo {
        self
    }

    fn usage(&mut self) -> &mut dyn UsageRepo {
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

    fn all_organizations(&mut self) -> &mut dyn AllOrganizationsRepo {
        self
    }

    fn all_users(&mut self) -> &mut dyn AllUsersRepo {
        self
    }

    fn all_usage(&mut self) -> &mut dyn AllUsageRepo {
        self
    }

    fn api_keys(&mut self) -> &mut dyn AllApiKeysRepo {
        self
    }

    fn audit(&mut self) -> &mut dyn AuditRepo {
        self
    }

    fn budget_notices(&mut self) -> &mut dyn BudgetNoticeRepo {
        self
    }

    fn login_attempts(&mut self) -> &mut dyn LoginAttemptRepo {
        self
    }

    fn mails(&mut self) -> &mut dyn MailRepo {
        self
    }

    fn memberships(&mut self) -> &mut dyn MembershipRepo {
        self
    }

    fn offered_models(&mut self) -> &mut dyn AnnouncedModelRepo {
        self
    }

    fn outbox(&mut self) -> &mut dyn Outbox {
        self
    }

    fn old_replies(&mut self) -> &mut dyn OldRepliesRepo {
        self
    }

    fn old_usage(&mut self) -> &mut dyn OldUsageRepo {
        self
    }

    fn identities(&mut self) -> &mut dyn IdentityRepo {
        self
    }

    fn invitations(&mut self) -> &mut dyn JoinRepo {
        self
    }

    fn realm_sessions(&mut self) -> &mut dyn RealmSessionRepo {
        self
    }

    fn realm_users(&mut self) -> &mut dyn RealmUserRepo {
        self
    }

    fn runs(&mut self) -> &mut dyn ActiveRunRepo {
        self
    }

    fn sessions(&mut self) -> &mut dyn SessionRepo {
        self
    }

    fn signing_keys(&mut self) -> &mut dyn SigningKeyRepo {
        self
    }

    fn statistics(&mut self) -> &mut dyn AllStatisticsRepo {
        self
    }

    fn old_tests(&mut self) -> &mut dyn OldTestRunRepo {
        self
    }

    fn tickets(&mut self) -> &mut dyn TicketRepo {
        self
    }

    async fn announce(&mut self, event: &Event) -> Result<()> {
        super::events::notify(self.conn(), event).await
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        self.tx.commit().await.map_err(errors::translate)
    }
}
