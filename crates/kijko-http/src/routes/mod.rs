//! One function per verb: extract, call, answer.

pub mod api_keys;
pub mod auth;
pub mod budgets;
pub mod docs;
pub mod executions;
pub mod health;
pub mod history;
pub mod invitations;
pub mod links;
pub mod models;
pub mod oauth;
pub mod organizations;
pub mod provider_keys;
pub mod skill_library;
pub mod skill_templates;
pub mod skill_versions;
pub mod skills;
pub mod statistics;
pub mod team;
pub mod test_runs;
pub mod well_known;
