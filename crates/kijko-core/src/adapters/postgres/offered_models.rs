//! Models that programs serve.

use async_trait::async_trait;
use rust_decimal::Decimal;

use super::errors::translate;
use super::tx::{PgSystemTx, PgTenantTx};
use crate::domain::offered_models::{OfferedModel, SeenModel};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ports::offered_models::{AnnouncedModelRepo, OfferedModelRepo};

struct Row {
    name: String,
    input_cost_per_million: Decimal,
    output_cost_per_million: Decimal,
    max_output_tokens: i32,
    seen_at: Timestamp,
}

impl From<Row> for SeenModel {
    fn from(row: Row) -> Self {
        let model = OfferedModel {
            name: row.name,
            input_cost_per_million: row.input_cost_per_million,
            output_cost_per_million: row.output_cost_per_million,
            max_output_tokens: row.max_output_tokens.unsigned_abs(),
        };
        Self { model, seen_at: row.seen_at }
    }
}

#[async_trait]
impl OfferedModelRepo for PgTenantTx {
    async fn find(&mut self, name: &str) -> Result<Option<SeenModel>> {
        let row = sqlx::query_as!(
            Row,
            "SELECT name, input_cost_per_million, output_cost_per_million, max_output_tokens, seen_at
               FROM offered_models WHERE name = $1",
            name,
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        Ok(row.map(SeenModel::from))
    }

    async fn list(&mut self) -> Result<Vec<SeenModel>> {
        let rows = sqlx::query_as!(
            Row,
            "SELECT name, input_cost_per_million, output_cost_per_million, max_output_tokens, seen_at
               FROM offered_models ORDER BY name LIMIT 500",
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        Ok(rows.into_iter().map(SeenModel::from).collect())
    }
}

#[async_trait]
impl AnnouncedModelRepo for PgSystemTx {
    async fn announce(&mut self, models: &[OfferedModel], now: Timestamp) -> Result<()> {
        for model in models {
            sqlx::query!(
                "INSERT INTO offered_models
                     (name, input_cost_per_million, output_cost_per_million, max_output_tokens, seen_at)
                 VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (name) DO UPDATE SET input_cost_per_million = excluded.input_cost_per_million,
                     output_cost_per_million = excluded.output_cost_per_million,
                     max_output_tokens = excluded.max_output_tokens, seen_at = excluded.seen_at",
                model.name,
                model.input_cost_per_million,
                model.output_cost_per_million,
                model.max_output_tokens.cast_signed(),
                now,
            )
            .execute(self.conn())
            .await
            .map_err(translate)?;
        }
        Ok(())
    }

    async fn delete_older(&mut self, before: Timestamp) -> Result<u64> {
        let done = sqlx::query!("DELETE FROM offered_models WHERE seen_at < $1", before)
            .execute(self.conn())
            .await
            .map_err(translate)?;
        Ok(done.rows_affected())
    }

    async fn release_jobs(&mut self, seen_since: Timestamp) -> Result<u64> {
        // Not a checked query: the engine's tables are made by its own migrations, in its own schema.
        let done = sqlx::query(
            "UPDATE graphile_worker._private_jobs SET flags = NULL
              WHERE flags IS NOT NULL AND locked_at IS NULL
                AND NOT flags ?| ARRAY(SELECT name FROM public.offered_models WHERE seen_at >= $1)",
        )
        .bind(seen_since)
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(done.rows_affected())
    }
}
