//! Single-use secrets.

use async_trait::async_trait;

use super::errors::translate;
use super::tx::PgSystemTx;
use crate::domain::ids::UserId;
use crate::domain::tickets::{Ticket, TicketKind};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ports::tickets::TicketRepo;

#[async_trait]
impl TicketRepo for PgSystemTx {
    async fn insert(&mut self, ticket: &Ticket) -> Result<()> {
        sqlx::query!(
            "INSERT INTO auth_tickets (id, kind, user_id, secret_hash, sealed, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            ticket.id.0,
            ticket.kind.as_str(),
            ticket.user_id.map(|id| id.0),
            ticket.secret_hash.as_slice(),
            ticket.sealed,
            ticket.created_at,
            ticket.expires_at,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }

    async fn redeem(&mut self, kind: TicketKind, hash: &[u8; 32], now: Timestamp) -> Result<Option<Ticket>> {
        let row = sqlx::query!(
            "UPDATE auth_tickets SET used_at = $3
              WHERE secret_hash = $2 AND kind = $1 AND used_at IS NULL AND expires_at > $3
              RETURNING id, user_id, sealed, created_at, expires_at",
            kind.as_str(),
            hash.as_slice(),
            now,
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        Ok(row.map(|row| Ticket {
            id: row.id.into(),
            kind,
            user_id: row.user_id.map(UserId),
            secret_hash: *hash,
            sealed: row.sealed,
            created_at: row.created_at,
            expires_at: row.expires_at,
        }))
    }

    async fn discard(&mut self, user: UserId, now: Timestamp) -> Result<()> {
        sqlx::query!("UPDATE auth_tickets SET used_at = $2 WHERE user_id = $1 AND used_at IS NULL", user.0, now)
            .execute(self.conn())
            .await
            .map_err(translate)?;
        Ok(())
    }

    async fn purge(&mut self, before: Timestamp) -> Result<()> {
        sqlx::query!("DELETE FROM auth_tickets WHERE expires_at < $1", before)
            .execute(self.conn())
            .await
            .map_err(translate)?;
        Ok(())
    }
}
