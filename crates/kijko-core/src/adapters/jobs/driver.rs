//! The engine's database connection, made to outlive a restart of the database.
//!
//! As shipped, an engine whose database goes away for a moment ends and drops what it runs, or goes on without ever
//! hearing of new jobs again. Here its writes, which are all repeatable, wait for the database, and it listens anew.

use std::any::Any;
use std::time::{Duration, Instant};

use futures_util::stream;
use graphile_worker::sqlx::SqlxDatabase;
use graphile_worker::{
    BoxFuture, DatabaseDriver, DbError, DbExecutor, DbParams, DbRow, DbTransaction, Notification, NotificationStream,
};
use sqlx::postgres::{PgListener, PgPool};
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Debug)]
pub(super) struct PatientDatabase {
    inner: SqlxDatabase,
}

impl PatientDatabase {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { inner: SqlxDatabase::new(pool) }
    }
}

/// Shutting down, starting up, or not reachable at all.
fn is_away(error: &DbError) -> bool {
    error.code().is_none_or(|code| code.starts_with("57P") || code.starts_with("08"))
}

impl DbExecutor for PatientDatabase {
    /// Complete, fail, return, heartbeat: doing one of them twice is the same as once.
    fn execute<'a>(&'a self, sql: &'a str, params: DbParams) -> BoxFuture<'a, Result<u64, DbError>> {
        Box::pin(async move {
            let (started, mut wait) = (Instant::now(), Duration::from_millis(100));
            loop {
                match self.inner.execute(sql, params.clone()).await {
                    Err(error) if is_away(&error) && started.elapsed() < PATIENCE => {
                        tracing::warn!(error = %error, "the database of the jobs is away; trying again");
                        tokio::time::sleep(wait).await;
                        wait = (wait * 2).min(Duration::from_secs(2));
                    }
                    result => return result,
                }
            }
        })
    }

    /// Claims: never repeated here, only slowed down, since the engine asks again by itself.
    fn fetch_all<'a>(&'a self, sql: &'a str, params: DbParams) -> BoxFuture<'a, Result<Vec<DbRow>, DbError>> {
        Box::pin(async move {
            let result = self.inner.fetch_all(sql, params).await;
            if result.is_err() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            result
        })
    }
}

impl DatabaseDriver for PatientDatabase {
    fn as_any(&self) -> &dyn Any {
        &self.inner
    }

    fn begin<'a>(&'a self) -> BoxFuture<'a, Result<DbTransaction, DbError>> {
        self.inner.begin()
    }

    fn listen<'a>(&'a self, channel: &'a str) -> BoxFuture<'a, Result<Option<NotificationStream>, DbError>> {
        let (sender, receiver) = mpsc::channel(16);
        let (pool, channel) = (self.inner.pool().clone(), channel.to_owned());
        tokio::spawn(async move {
            tokio::select! {
                () = listen_for_ever(&pool, &channel, &sender) => {}
                () = sender.closed() => {}
            }
        });
        let heard = stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|heard| (heard, receiver)));
        Box::pin(async move { Ok(Some(Box::pin(heard) as NotificationStream)) })
    }
}

async fn listen_for_ever(pool: &PgPool, channel: &str, sender: &mpsc::Sender<Result<Notification, DbError>>) {
    while !pool.is_closed() {
        if let Err(error) = forward(pool, channel, sender).await {
            tracing::warn!(error = %error, "new jobs are not heard of; listening again");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn forward(
    pool: &PgPool,
    channel: &str,
    sender: &mpsc::Sender<Result<Notification, DbError>>,
) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(channel).await?;
    // Wakes the engine once: something may have been missed.
    let mut heard = Notification { channel: channel.to_owned(), payload: String::new() };
    while sender.send(Ok(heard)).await.is_ok() {
        let next = listener.recv().await?;
        heard = Notification { channel: next.channel().to_owned(), payload: next.payload().to_owned() };
    }
    Ok(())
}
