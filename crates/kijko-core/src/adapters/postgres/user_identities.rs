//! What providers call our people.

use async_trait::async_trait;

use super::accounts::AccountRow;
use super::errors::translate;
use super::tx::PgSystemTx;
use crate::domain::accounts::Account;
use crate::domain::ids::UserId;
use crate::domain::oauth::OauthProvider;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ports::oauth::IdentityRepo;

#[async_trait]
impl IdentityRepo for PgSystemTx {
    async fn find(&mut self, provider: OauthProvider, account_id: &str) -> Result<Option<Account>> {
        let row = sqlx::query_as!(
            AccountRow,
            r#"SELECT u.id, u.email, u.email_verified_at, NULL::text AS password_hash, u.first_name, u.last_name,
                      u.is_platform_admin, u.disabled_at, m.organization_id AS "organization_id?",
                      o.name AS "organization_name?", o.plan AS "plan?", m.role AS "role?"
                 FROM user_identities i
                 JOIN users u ON u.id = i.user_id
                 LEFT JOIN organization_members m ON m.user_id = u.id AND m.status = 'active'
                 LEFT JOIN organizations o ON o.id = m.organization_id
                WHERE i.provider = $1 AND i.provider_account_id = $2
                ORDER BY m.joined_at, m.organization_id
                LIMIT 1"#,
            provider.as_str(),
            account_id,
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        Ok(row.map(AccountRow::into_account).transpose()?.map(|(account, _)| account))
    }

    async fn insert(
        &mut self,
        provider: OauthProvider,
        account_id: &str,
        user: UserId,
        now: Timestamp,
    ) -> Result<bool> {
        let done = sqlx::query!(
            "INSERT INTO user_identities (provider, provider_account_id, user_id, created_at)
             VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            provider.as_str(),
            account_id,
            user.0,
            now,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(done.rows_affected() == 1)
    }
}
