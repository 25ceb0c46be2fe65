//! Sessions and their refresh tokens.

use async_trait::async_trait;

use crate::domain::ids::{OrganizationId, RefreshTokenId, SessionId, UserId};
use crate::domain::sessions::{Origin, RefreshToken, Session};
use crate::domain::time::Timestamp;
use crate::error::Result;

#[async_trait]
pub trait SessionRepo: Send {
    async fn find(&mut self, id: SessionId) -> Result<Option<Session>>;

    async fn insert(&mut self, session: &Session, origin: &Origin) -> Result<()>;

    /// Prolongs a session that was just used.
    async fn touch(&mut self, id: SessionId, now: Timestamp, expires_at: Timestamp) -> Result<()>;

    /// Ends it for the given reason. False when it had ended before.
    async fn revoke(&mut self, id: SessionId, reason: &'static str, now: Timestamp) -> Result<bool>;

    /// Ends every session of a user that is still open, and says which, and in which organisation.
    async fn revoke_all(
        &mut self,
        user: UserId,
        reason: &'static str,
        now: Timestamp,
    ) -> Result<Vec<(SessionId, OrganizationId)>>;

    async fn find_token(&mut self, hash: &[u8; 32]) -> Result<Option<RefreshToken>>;

    async fn insert_token(&mut self, token: &RefreshToken) -> Result<()>;

    /// Exchanges a token for its successor. False when somebody else did it first.
    async fn rotate_token(&mut self, id: RefreshTokenId, successor: RefreshTokenId, now: Timestamp) -> Result<bool>;
}
