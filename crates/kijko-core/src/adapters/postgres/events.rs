//! Announcements between processes, by NOTIFY: sent when the transaction commits, or not at all.

use std::time::Duration;

use sqlx::postgres::PgListener;
use sqlx::{PgConnection, PgPool};
use tokio::sync::broadcast;

use super::errors;
use crate::domain::events::Event;
use crate::error::{Error, Result};
use crate::ports::events::{Events, Heard};

const CHANNEL: &str = "kijko_events";

pub(super) async fn notify(conn: &mut PgConnection, event: &Event) -> Result<()> {
    let payload = serde_json::to_string(event).map_err(|e| Error::internal("writing an event", e))?;
    sqlx::query!("SELECT pg_notify($1, $2)", CHANNEL, payload).execute(conn).await.map_err(errors::translate)?;
    Ok(())
}

/// Listens for as long as the process lives; when the connection is lost it says so and comes back.
pub(crate) struct PgEvents {
    heard: broadcast::Sender<Heard>,
    listening: tokio::task::JoinHandle<()>,
}

impl PgEvents {
    pub(crate) fn listen(pool: PgPool) -> Self {
        let (heard, _) = broadcast::channel(1024);
        let sender = heard.clone();
        let listening = tokio::spawn(async move {
            loop {
                let Err(error) = forward(&pool, &sender).await;
                if pool.is_closed() {
                    return;
                }
                tracing::warn!(error = %error, "events are not heard; trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        Self { heard, listening }
    }
}

impl Drop for PgEvents {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn forward(pool: &PgPool, heard: &broadcast::Sender<Heard>) -> Result<std::convert::Infallible, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    // What was announced until now was announced to nobody here.
    heard.send(Heard::Lost).ok();
    loop {
        match listener.try_recv().await? {
            Some(notification) => match serde_json::from_str(notification.payload()) {
                Ok(event) => drop(heard.send(Heard::Event(event))),
                Err(error) => tracing::warn!(error = %error, "an event that this version does not know"),
            },
            // The listener reconnects by itself, but what was sent in between is gone.
            None => drop(heard.send(Heard::Lost)),
        }
    }
}

impl Events for PgEvents {
    fn subscribe(&self) -> broadcast::Receiver<Heard> {
        self.heard.subscribe()
    }
}
