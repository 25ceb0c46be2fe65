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
    async fn find(&mut self, names: &[&str]) -> Result<Vec<SeenModel>> {
        let rows = sqlx::query_as!(
            Row,
            "SELECT name, input_cost_per_million, output_cost_per_million, max_output_tokens, seen_at
               FROM offered_models WHERE name = ANY($1)",
            names as &[&str],
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        Ok(rows.into_iter().map(SeenModel::from).collect())
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
        let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
        let inputs: Vec<Decimal> = models.iter().map(|model| model.input_cost_per_million).collect();
        let outputs: Vec<Decimal> = models.iter().map(|model| model.output_cost_per_million).collect();
        let longest: Vec<i32> = models.iter().map(|model| model.max_output_tokens.cast_signed()).collect();
        // In one order, so that programs which say the same do not wait for each other in a circle.
        sqlx::query!(
            "INSERT INTO offered_models AS o
                 (name, input_cost_per_million, output_cost_per_million, max_output_tokens, seen_at)
             SELECT said.*, $5 FROM unnest($1::text[], $2::numeric[], $3::numeric[], $4::integer[]) said ORDER BY 1
             ON CONFLICT (name) DO UPDATE SET input_cost_per_million = excluded.input_cost_per_million,
                 output_cost_per_million = excluded.output_cost_per_million,
                 max_output_tokens = excluded.max_output_tokens, seen_at = greatest(o.seen_at, excluded.seen_at)",
            &names as &[&str],
            &inputs,
            &outputs,
            &longest,
            now,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }

    async fn seen_since(&mut self, since: Timestamp) -> Result<Vec<String>> {
        sqlx::query_scalar!("SELECT name FROM offered_models WHERE seen_at >= $1", since)
            .fetch_all(self.conn())
            .await
            .map_err(translate)
    }

    async fn delete_older(&mut self, before: Timestamp) -> Result<u64> {
        let done = sqlx::query!("DELETE FROM offered_models WHERE seen_at < $1", before)
            .execute(self.conn())
            .await
            .map_err(translate)?;
        Ok(done.rows_affected())
    }
}
