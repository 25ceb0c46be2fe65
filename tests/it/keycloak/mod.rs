//! Keycloak decides who signs in, and the database still decides what they may do: tokens of the realm are told from
//! all others, people are let in once they are known for sure, and whoever is signed in stays so while Keycloak is away.

use crate::harness::{Installation, Mode};

mod codes;
mod outages;
mod ownership;
mod people;
mod sessions;

/// None where there is no Keycloak, which was said aloud.
async fn installation(settings: &[(&str, &str)]) -> Option<Installation> {
    Installation::in_mode(Mode::Keycloak, settings).await
}
