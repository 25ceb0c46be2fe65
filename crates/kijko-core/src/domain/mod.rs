//! The rules, and the shapes that the contract names. Pure: no I/O, no async, no clock.

pub mod accounts;
pub mod addresses;
pub mod api_keys;
pub mod audit;
pub mod check;
pub mod events;
pub mod executions;
pub mod idempotency;
pub mod ids;
pub mod input_schema;
pub mod jobs;
pub mod limits;
pub mod login_attempts;
pub mod mails;
pub mod models;
pub mod money;
pub mod organizations;
pub mod page;
pub mod plans;
pub mod sessions;
pub mod skills;
pub mod templates;
pub mod tickets;
pub mod time;
pub mod vocabulary;
