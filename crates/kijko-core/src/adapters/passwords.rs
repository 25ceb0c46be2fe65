//! Argon2id, 19 MiB and two passes, on threads of its own and only a few at a time.

use std::sync::Arc;

use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc};
use argon2::{Algorithm, Argon2, Params, Version};
use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use crate::error::{Error, Result};
use crate::ports::clock::Random;
use crate::ports::identity::{Passwords, Verified};

const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;

pub(crate) struct Argon2Passwords {
    random: Arc<dyn Random>,
    /// A password costs a core for a while; more at once would only starve the requests beside it.
    turns: Arc<Semaphore>,
    /// Verified when there is no account, so that the time taken does not tell.
    dummy: tokio::sync::OnceCell<String>,
}

impl Argon2Passwords {
    pub(crate) fn new(random: Arc<dyn Random>) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self { random, turns: Arc::new(Semaphore::new(cores)), dummy: tokio::sync::OnceCell::new() }
    }

    async fn on_a_thread<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let turn = self.turns.clone().acquire_owned().await.map_err(|e| Error::internal("hashing a password", e))?;
        let result = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        result.await.map_err(|e| Error::internal("hashing a password", e))?
    }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

#[async_trait]
impl Passwords for Argon2Passwords {
    async fn hash(&self, password: SecretString) -> Result<String> {
        let mut salt = [0; 16];
        self.random.fill(&mut salt);
        self.on_a_thread(move || {
            let hash: phc::PasswordHash = argon2()
                .hash_password_with_salt(password.expose_secret().as_bytes(), &salt)
                .map_err(|e| Error::internal("hashing a password", e.to_string()))?;
            Ok(hash.to_string())
        })
        .await
    }

    async fn verify(&self, password: SecretString, hash: Option<String>) -> Result<Verified> {
        let known = hash.is_some();
        let hash = match hash {
            Some(hash) => hash,
            None => self.dummy.get_or_try_init(|| self.hash(SecretString::from("no such account"))).await?.clone(),
        };
        self.on_a_thread(move || {
            let parsed = phc::PasswordHash::new(&hash).map_err(|e| Error::internal("reading a hash", e.to_string()))?;
            let right = argon2().verify_password(password.expose_secret().as_bytes(), &parsed).is_ok();
            let current = Params::try_from(&parsed).is_ok_and(|p| p.m_cost() == MEMORY_KIB && p.t_cost() == PASSES);
            Ok(match (right && known, current) {
                (false, _) => Verified::Wrong,
                (true, true) => Verified::Right,
                (true, false) => Verified::RightButOutdated,
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::system::SystemRandom;

    #[tokio::test]
    async fn the_right_password_is_told_from_a_wrong_one() {
        let passwords = Argon2Passwords::new(Arc::new(SystemRandom));
        let hash = passwords.hash("correct horse".into()).await.expect("hashed");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "the parameters are the contract's: {hash}");
        assert_eq!(passwords.verify("correct horse".into(), Some(hash.clone())).await.expect("read"), Verified::Right);
        assert_eq!(passwords.verify("wrong horse".into(), Some(hash)).await.expect("read"), Verified::Wrong);
        assert_eq!(passwords.verify("no such account".into(), None).await.expect("read"), Verified::Wrong);
    }

    #[tokio::test]
    async fn a_hash_with_older_parameters_is_right_but_outdated() {
        let params = Params::new(8192, 1, 1, None).expect("valid");
        let older = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash: phc::PasswordHash = older.hash_password_with_salt(b"correct horse", &[7; 16]).expect("hashed");
        let passwords = Argon2Passwords::new(Arc::new(SystemRandom));
        let verified = passwords.verify("correct horse".into(), Some(hash.to_string())).await.expect("read");
        assert_eq!(verified, Verified::RightButOutdated);
    }
}
