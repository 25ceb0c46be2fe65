//! Kijko's core: every rule and every adapter, and no transport.
//!
//! * `domain` knows nothing: types and rules, no I/O.
//! * `ports` say what the services need, in words of the domain.
//! * `services` are the use cases: one public function each, one transaction each.
//! * `adapters` implement the ports: PostgreSQL, the job engine, model providers, cryptography. Private.
//! * `app` wires them once.
//!
//! Invariants: no query without a tenant transaction, no tenant transaction without a `TenantContext`, no
//! `TenantContext` without an identified caller; nothing from outside is awaited while a transaction is open.
#![forbid(unsafe_code)]

mod adapters;
pub mod app;
pub mod config;
mod context;
pub mod domain;
mod error;
mod ports;
pub mod services;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;

pub use app::{App, StartError};
pub use config::Config;
pub use context::{Actor, Permission, TenantContext};
pub use error::{AuthReason, Code, Error, Result, Violation};
