//! For tests only: a clock that can be moved, a mailbox that can be read, and a door to the embedded server. There is
//! no second store.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Instant;

use async_trait::async_trait;
use chrono::TimeDelta;

use crate::adapters::postgres::PgStore;
pub use crate::adapters::postgres::embedded::{EmbeddedError, EmbeddedOptions, EmbeddedPostgres, default_data_dir};
use crate::app::{self, App, StartError};
use crate::config::{Config, MailProvider};
use crate::domain::ids::MailId;
pub use crate::domain::mails::Mail;
use crate::domain::time::{Timestamp, storable};
use crate::error::Result;
use crate::ports::clock::Clock;
use crate::ports::mails::{MailError, Mailer};
use crate::ports::{Store, SystemTask};

/// Stands still until it is moved; or goes on like any clock, for tests with somebody whose clock cannot be held.
#[derive(Debug)]
pub struct FixedClock {
    at: Mutex<Timestamp>,
    going_since: Option<Instant>,
}

impl FixedClock {
    pub fn starting_now() -> Arc<Self> {
        Self::start(None)
    }

    pub fn going_from_now() -> Arc<Self> {
        Self::start(Some(Instant::now()))
    }

    #[expect(clippy::disallowed_methods, reason = "a test begins now, and moves on from there")]
    fn start(going_since: Option<Instant>) -> Arc<Self> {
        Arc::new(Self { at: Mutex::new(storable(chrono::Utc::now())), going_since })
    }

    /// The moment that everything in this installation takes for now.
    pub fn at(&self) -> Timestamp {
        self.now()
    }

    pub fn advance(&self, by: TimeDelta) {
        *self.lock() += by;
    }

    /// What it shows.
    pub fn time(&self) -> Timestamp {
        self.now()
    }

    pub fn set(&self, at: Timestamp) {
        *self.lock() = at;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Timestamp> {
        self.at.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        let gone = self
            .going_since
            .map_or(TimeDelta::zero(), |since| TimeDelta::from_std(since.elapsed()).unwrap_or(TimeDelta::MAX));
        storable(*self.lock() + gone)
    }
}

/// What was sent, in order; stands in for the log.
#[derive(Default)]
pub struct SentMails(Mutex<Vec<Mail>>);

impl SentMails {
    pub fn all(&self) -> Vec<Mail> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Mailer for SentMails {
    async fn send(&self, _: MailId, mail: &Mail) -> Result<(), MailError> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(mail.clone());
        Ok(())
    }
}

/// An `App` whose time is in the test's hands, and whose mail too unless the settings name a server.
pub async fn connect(config: Config, clock: Arc<FixedClock>, mails: Arc<SentMails>) -> Result<App, StartError> {
    let mailer: Arc<dyn Mailer> = match config.mail.provider {
        MailProvider::Log => mails,
        MailProvider::Smtp => app::mailer(&config)?,
    };
    App::connect_with(config, clock, mailer).await
}

/// A unit of work that asks nothing, on a pool whose connections the test prepared.
pub async fn open_and_commit(pool: &sqlx::PgPool) -> Result<()> {
    PgStore::on(pool.clone()).system(SystemTask::CheckHealth).await?.commit().await
}
