//! The use cases. One public function is one use case and one transaction, in the order: permission, check, open,
//! decide, write, announce, commit. Nothing from outside is awaited while a transaction is open.

pub mod administration;
pub(crate) mod admission;
pub mod api_keys;
pub(crate) mod audit;
pub(crate) mod calls;
pub mod executions;
pub mod health;
pub mod history;
pub(crate) mod idempotency;
pub mod identity;
pub mod invitations;
pub mod limits;
pub mod links;
pub(crate) mod login_attempts;
pub(crate) mod mails;
pub mod models;
pub mod oauth;
pub mod operators;
pub mod organizations;
pub mod pieces;
pub mod provider_keys;
pub(crate) mod realm_accounts;
pub(crate) mod realm_sessions;
mod reauthentication;
pub(crate) mod runs;
pub mod sessions;
pub mod signing_keys;
pub mod skill_versions;
pub mod skills;
mod social;
pub mod statistics;
pub mod team;
pub mod test_runs;
pub(crate) mod tickets;
pub(crate) mod usage;
pub mod worker;
