//! One function per verb: extract, call, answer.

pub mod api_keys;
pub mod auth;
pub mod docs;
pub mod executions;
pub mod health;
pub mod links;
pub mod skills;
pub mod well_known;
