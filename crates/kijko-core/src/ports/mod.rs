//! What the services need from the world, one trait per need. They speak domain and nothing else.
//!
//! `Store` hands out units of work. A repository is only reachable through a `TenantTx`, a `TenantTx` only with a
//! `TenantContext`, and that only from `services::identity`.

use async_trait::async_trait;

use crate::context::TenantContext;
use crate::domain::events::Event;
use crate::error::Result;

pub mod accounts;
pub mod administration;
pub mod api_keys;
pub mod audit;
pub mod budgets;
pub mod clock;
pub mod events;
pub mod executions;
pub mod history;
pub mod idempotency;
pub mod identity;
pub mod invitations;
pub mod jobs;
pub mod login_attempts;
pub mod mails;
pub mod memberships;
pub mod models;
pub mod oauth;
pub mod offered_models;
pub mod outbound;
pub mod provider_keys;
pub mod rate_limits;
pub mod realms;
pub mod runs;
pub mod secrets;
pub mod sessions;
pub mod skill_stars;
pub mod skill_versions;
pub mod skills;
pub mod statistics;
pub mod team;
pub mod test_runs;
pub mod tickets;
pub mod usage;

#[async_trait]
pub trait Store: Send + Sync {
    /// Opens a transaction that can see one user's rows in one organisation and nothing else.
    async fn tenant(&self, ctx: &TenantContext) -> Result<Box<dyn TenantTx>>;

    /// Opens a transaction for work that precedes, or spans, organisations.
    async fn system(&self, task: SystemTask) -> Result<Box<dyn SystemTx>>;

    /// Asks the database a trivial question, and how its schema and its guards stand. Says what is wrong.
    async fn health(&self) -> Result<StoreHealth>;

    /// Whether a login role could read past the policies.
    async fn bypasses_policies(&self) -> Result<bool>;

    /// Closes every connection; open transactions are rolled back.
    async fn close(&self);
}

/// Dropping it rolls back, so that a function which only reads may simply return.
#[async_trait]
pub trait TenantTx: Send {
    fn api_keys(&mut self) -> &mut dyn api_keys::ApiKeyRepo;
    fn audit(&mut self) -> &mut dyn audit::OwnAuditRepo;
    fn budgets(&mut self) -> &mut dyn budgets::BudgetRepo;
    fn executions(&mut self) -> &mut dyn executions::ExecutionRepo;
    fn history(&mut self) -> &mut dyn history::HistoryRepo;
    fn idempotency(&mut self) -> &mut dyn idempotency::IdempotencyRepo;
    fn outbox(&mut self) -> &mut dyn mails::Outbox;
    fn invitations(&mut self) -> &mut dyn invitations::InvitationRepo;
    fn members(&mut self) -> &mut dyn team::MemberRepo;
    fn offered_models(&mut self) -> &mut dyn offered_models::OfferedModelRepo;
    fn provider_keys(&mut self) -> &mut dyn provider_keys::ProviderKeyRepo;
    fn runs(&mut self) -> &mut dyn runs::RunRepo;
    fn skill_names(&mut self) -> &mut dyn skills::SkillNameRepo;
    fn skill_stars(&mut self) -> &mut dyn skill_stars::SkillStarRepo;
    fn skill_versions(&mut self) -> &mut dyn skill_versions::SkillVersionRepo;
    fn skills(&mut self) -> &mut dyn skills::SkillRepo;
    fn statistics(&mut self) -> &mut dyn statistics::StatisticsRepo;
    fn team(&mut self) -> &mut dyn team::TeamRepo;
    fn test_runs(&mut self) -> &mut dyn test_runs::TestRunRepo;
    fn usage(&mut self) -> &mut dyn usage::UsageRepo;

    /// Tells every process, when this transaction commits.
    async fn announce(&mut self, event: &Event) -> Result<()>;

    async fn commit(self: Box<Self>) -> Result<()>;
}

/// A handful of narrow questions. Dropping it rolls back.
#[async_trait]
pub trait SystemTx: Send {
    fn accounts(&mut self) -> &mut dyn accounts::AccountRepo;
    fn all_organizations(&mut self) -> &mut dyn administration::AllOrganizationsRepo;
    fn all_users(&mut self) -> &mut dyn administration::AllUsersRepo;
    fn all_usage(&mut self) -> &mut dyn budgets::AllUsageRepo;
    fn api_keys(&mut self) -> &mut dyn api_keys::AllApiKeysRepo;
    fn audit(&mut self) -> &mut dyn audit::AuditRepo;
    fn budget_notices(&mut self) -> &mut dyn budgets::BudgetNoticeRepo;
    fn login_attempts(&mut self) -> &mut dyn login_attempts::LoginAttemptRepo;
    fn old_replies(&mut self) -> &mut dyn idempotency::OldRepliesRepo;
    fn old_tests(&mut self) -> &mut dyn test_runs::OldTestRunRepo;
    fn old_usage(&mut self) -> &mut dyn usage::OldUsageRepo;
    fn mails(&mut self) -> &mut dyn mails::MailRepo;
    fn memberships(&mut self) -> &mut dyn memberships::MembershipRepo;
    fn offered_models(&mut self) -> &mut dyn offered_models::AnnouncedModelRepo;
    fn outbox(&mut self) -> &mut dyn mails::Outbox;
    fn identities(&mut self) -> &mut dyn oauth::IdentityRepo;
    fn invitations(&mut self) -> &mut dyn invitations::JoinRepo;
    fn realm_sessions(&mut self) -> &mut dyn realms::RealmSessionRepo;
    fn realm_users(&mut self) -> &mut dyn realms::RealmUserRepo;
    fn runs(&mut self) -> &mut dyn runs::ActiveRunRepo;
    fn sessions(&mut self) -> &mut dyn sessions::SessionRepo;
    fn signing_keys(&mut self) -> &mut dyn identity::SigningKeyRepo;
    fn statistics(&mut self) -> &mut dyn statistics::AllStatisticsRepo;
    fn tickets(&mut self) -> &mut dyn tickets::TicketRepo;

    /// Tells every process, when this transaction commits.
    async fn announce(&mut self, event: &Event) -> Result<()>;

    async fn commit(self: Box<Self>) -> Result<()>;
}

/// Why somebody works outside the tenants; closed, and in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemTask {
    SignUp,
    SignIn,
    Refresh,
    SignOut,
    Authenticate,
    JoinOrganization,
    ListOrganizations,
    SwitchOrganization,
    CheckPassword,
    LoadSigningKeys,
    RotateSigningKeys,
    SweepRuns,
    ForgetTests,
    AnnounceModels,
    ReleaseJobs,
    AnnounceBudget,
    ManageApiKeys,
    Administer,
    RecordKeyUse,
    ForgetReplies,
    ForgetMails,
    ForgetRealmSessions,
    ForgetUsage,
    SendMail,
    PurgeTickets,
    RequestLink,
    UseLink,
    ForgetFailures,
    MergeStatistics,
    FindOldExecutions,
    CheckHealth,
}

/// How the database stands.
#[derive(Clone, Debug)]
pub struct StoreHealth {
    pub migrations: MigrationState,
    /// Tables with tenant data whose row security is not enabled and forced; empty when all is well.
    pub unguarded_tables: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MigrationState {
    Current,
    /// Migrations that this program carries and the database lacks.
    Behind(Vec<String>),
    /// The database was migrated by a newer program.
    Ahead(Vec<i64>),
    /// A migration in the database differs from the one of the same number in this program.
    Changed(i64),
}
