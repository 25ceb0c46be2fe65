//! The behaviour of the whole, through HTTP, in one process and in parallel.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests make ids, read the clock, say what they skip and may fail loudly"
)]

mod harness;

mod access;
mod admission;
mod api_keys;
mod auth;
mod bad_input;
mod budgets;
mod cancellation;
mod embedded;
mod executions;
mod exports;
mod front_end;
mod health;
mod history;
mod hostile_tokens;
mod isolation;
mod keycloak;
mod layers;
mod limits;
mod links;
mod mail;
mod mass_assignment;
mod models;
mod openapi;
mod pieces;
mod processes;
mod programs;
mod provider_keys;
mod refusals;
mod retention;
mod runs;
mod schema;
mod signing_keys;
mod skill_edits;
mod skill_exchange;
mod skill_library;
mod skill_versions;
mod skills;
mod social;
mod statistics;
mod team;
mod templates;
mod test_runs;
