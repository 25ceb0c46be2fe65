//! Encryption at rest with the installation's master key, and keyed hashes derived from it.
//!
//! XChaCha20-Poly1305: its 192-bit nonces may be random. What is sealed is bound to its row by associated data.
//! A sealed value is: version byte, key id (4 bytes), nonce (24 bytes), ciphertext.

use std::sync::Arc;

use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};

use crate::error::{Error, Result};
use crate::ports::clock::Random;
use crate::ports::secrets::Secrets;

const VERSION: u8 = 1;
const HEADER: usize = 1 + 4 + 24;

pub(crate) struct MasterKey {
    cipher: XChaCha20Poly1305,
    id: [u8; 4],
    mac_key: hmac::Key,
}

impl MasterKey {
    pub(crate) fn from_base64(text: &str) -> Result<Self, String> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| "must be base64".to_owned())?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| "must be 32 bytes in base64".to_owned())?;
        // Each use has a key of its own, so that none of them tells anything about another.
        let root = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        let derive = |purpose: &[u8]| hmac::sign(&root, purpose);
        let cipher = XChaCha20Poly1305::new_from_slice(derive(b"kijko sealing v1").as_ref())
            .map_err(|_| "must be 32 bytes".to_owned())?;
        let mut id = [0; 4];
        id.copy_from_slice(&derive(b"kijko key id v1").as_ref()[..4]);
        let mac_key = hmac::Key::new(hmac::HMAC_SHA256, derive(b"kijko mac v1").as_ref());
        Ok(Self { cipher, id, mac_key })
    }

    pub(crate) fn seal(&self, plain: &[u8], row: &str, random: &dyn Random) -> Result<Vec<u8>> {
        let mut nonce = [0; 24];
        random.fill(&mut nonce);
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: row.as_bytes() })
            .map_err(|_| Error::internal("sealing", "the cipher refused"))?;
        Ok([&[VERSION][..], &self.id, &nonce, &sealed].concat())
    }

    /// None when it was sealed with another key, for another row, or changed since.
    pub(crate) fn open(&self, sealed: &[u8], row: &str) -> Option<Vec<u8>> {
        let (header, ciphertext) = sealed.split_at_checked(HEADER)?;
        if header[0] != VERSION || header[1..5] != self.id {
            return None;
        }
        let nonce: [u8; 24] = header[5..].try_into().ok()?;
        self.cipher.decrypt(&XNonce::from(nonce), Payload { msg: ciphertext, aad: row.as_bytes() }).ok()
    }

    /// HMAC-SHA-256, told apart by purpose.
    pub(crate) fn mac(&self, purpose: &str, message: &[u8]) -> [u8; 32] {
        keyed(&self.mac_key, purpose, message)
    }
}

/// The master key and the pepper, in the hands of the services.
pub(crate) struct Sealing {
    master: Arc<MasterKey>,
    pepper: hmac::Key,
    random: Arc<dyn Random>,
}

impl Sealing {
    /// Without a pepper of its own (in `local`), one is derived from the master key.
    pub(crate) fn new(master: Arc<MasterKey>, pepper: Option<&[u8]>, random: Arc<dyn Random>) -> Self {
        let pepper = match pepper {
            Some(pepper) => hmac::Key::new(hmac::HMAC_SHA256, pepper),
            None => hmac::Key::new(hmac::HMAC_SHA256, &master.mac("api key pepper", b"")),
        };
        Self { master, pepper, random }
    }
}

impl Secrets for Sealing {
    fn seal(&self, plain: &[u8], row: &str) -> Result<Vec<u8>> {
        self.master.seal(plain, row, &*self.random)
    }

    fn open(&self, sealed: &[u8], row: &str) -> Option<Vec<u8>> {
        self.master.open(sealed, row)
    }

    fn keyed_hash(&self, purpose: &'static str, secret: &[u8]) -> [u8; 32] {
        keyed(&self.pepper, purpose, secret)
    }
}

fn keyed(key: &hmac::Key, purpose: &str, message: &[u8]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    context.update(purpose.as_bytes());
    context.update(&[0]);
    context.update(message);
    let mut out = [0; 32];
    out.copy_from_slice(context.sign().as_ref());
    out
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// A new master key in the form of the setting.
pub(crate) fn generate(random: &dyn Random) -> String {
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::system::SystemRandom;

    #[test]
    fn what_is_sealed_opens_only_with_its_key_and_for_its_row() {
        let key = MasterKey::from_base64(&generate(&SystemRandom)).expect("a fresh key");
        let other = MasterKey::from_base64(&generate(&SystemRandom)).expect("a fresh key");
        let sealed = key.seal(b"secret", "signing_keys/1", &SystemRandom).expect("sealed");
        assert_eq!(key.open(&sealed, "signing_keys/1").as_deref(), Some(&b"secret"[..]));
        assert_eq!(key.open(&sealed, "signing_keys/2"), None);
        assert_eq!(other.open(&sealed, "signing_keys/1"), None);
        let mut changed = sealed.clone();
        *changed.last_mut().expect("not empty") ^= 1;
        assert_eq!(key.open(&changed, "signing_keys/1"), None);
        assert_eq!(key.open(&sealed[..10], "signing_keys/1"), None);
    }
}
