//! The ports, implemented: PostgreSQL, the job engine, model providers, cryptography. Private to the core.

pub(crate) mod access_tokens;
pub(crate) mod jobs;
pub(crate) mod keycloak;
pub(crate) mod mail;
pub(crate) mod models;
mod oidc;
pub(crate) mod outbound;
pub(crate) mod passwords;
pub(crate) mod postgres;
pub(crate) mod rate_limits;
pub(crate) mod sealing;
pub(crate) mod social;
pub(crate) mod system;
