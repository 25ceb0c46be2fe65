//! For tests only: a clock that can be moved, and a door to the embedded server. There is no second store.

use std::sync::Arc;
use std::sync::Mutex;

use chrono::TimeDelta;

use crate::adapters::postgres::PgStore;
pub use crate::adapters::postgres::embedded::{EmbeddedError, EmbeddedOptions, EmbeddedPostgres, default_data_dir};
use crate::app::{App, StartError};
use crate::config::Config;
use crate::domain::time::{Timestamp, storable};
use crate::error::Result;
use crate::ports::clock::Clock;
use crate::ports::{Store, SystemTask};

/// Stands still until it is moved.
#[derive(Debug)]
pub struct FixedClock(Mutex<Timestamp>);

impl FixedClock {
    #[expect(clippy::disallowed_methods, reason = "a test begins now, and moves on from there")]
    pub fn starting_now() -> Arc<Self> {
        Arc::new(Self(Mutex::new(storable(chrono::Utc::now()))))
    }

    pub fn advance(&self, by: TimeDelta) {
        *self.lock() += by;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Timestamp> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        *self.lock()
    }
}

/// An `App` whose time is in the test's hands.
pub async fn connect(config: Config, clock: Arc<FixedClock>) -> std::result::Result<App, StartError> {
    App::connect_with(config, clock).await
}

/// A unit of work that asks nothing, on a pool whose connections the test prepared.
pub async fn open_and_commit(pool: &sqlx::PgPool) -> Result<()> {
    PgStore::on(pool.clone()).system(SystemTask::CheckHealth).await?.commit().await
}
