//! Announcements between processes, by NOTIFY: sent when the transaction commits, or not at all.

use std::time::Duration;

use sqlx::postgres::PgListener;
use sqlx::{PgConnection, PgPool};
use tokio::sync::{broadcast, mpsc};

use super::errors;
use crate::domain::events::{Event, Piece};
use crate::error::{Error, Result};
use crate::ports::events::{Events, Heard};

const CHANNEL: &str = "kijko_events";
/// Apart, so that a flood of pieces cannot crowd out what must be heard.
const PIECES: &str = "kijko_pieces";
/// Pieces that may wait to be sent.
const WAITING_PIECES: usize = 1024;

pub(super) async fn notify(conn: &mut PgConnection, event: &Event) -> Result<()> {
    let payload = serde_json::to_string(event).map_err(|e| Error::internal("writing an event", e))?;
    sqlx::query!("SELECT pg_notify($1, $2)", CHANNEL, payload).execute(conn).await.map_err(errors::translate)?;
    Ok(())
}

/// Listens for as long as the process lives; when the connection is lost it says so and comes back.
pub(crate) struct PgEvents {
    heard: broadcast::Sender<Heard>,
    pieces: broadcast::Sender<Piece>,
    outgoing: mpsc::Sender<Piece>,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

impl PgEvents {
    pub(crate) fn listen(pool: PgPool) -> Self {
        let (heard, _) = broadcast::channel(1024);
        let (pieces, _) = broadcast::channel(1024);
        let (outgoing, waiting) = mpsc::channel(WAITING_PIECES);
        let listening = tokio::spawn(listen(pool.clone(), heard.clone(), pieces.clone()));
        let sending = tokio::spawn(send(pool, waiting));
        Self { heard, pieces, outgoing, tasks: [listening, sending] }
    }
}

impl Drop for PgEvents {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

async fn listen(pool: PgPool, heard: broadcast::Sender<Heard>, pieces: broadcast::Sender<Piece>) {
    loop {
        let Err(error) = forward(&pool, &heard, &pieces).await;
        if pool.is_closed() {
            return;
        }
        tracing::warn!(error = %error, "events are not heard; trying again");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn forward(
    pool: &PgPool,
    heard: &broadcast::Sender<Heard>,
    pieces: &broadcast::Sender<Piece>,
) -> Result<std::convert::Infallible, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen_all([CHANNEL, PIECES]).await?;
    // What was announced until now was announced to nobody here.
    heard.send(Heard::Lost).ok();
    loop {
        match listener.try_recv().await? {
            Some(notification) if notification.channel() == PIECES => {
                if let Ok(piece) = serde_json::from_str(notification.payload()) {
                    pieces.send(piece).ok();
                }
            }
            Some(notification) => match serde_json::from_str(notification.payload()) {
                Ok(event) => drop(heard.send(Heard::Event(event))),
                Err(error) => tracing::warn!(error = %error, "an event that this version does not know"),
            },
            // The listener reconnects by itself, but what was sent in between is gone.
            None => drop(heard.send(Heard::Lost)),
        }
    }
}

/// As many at a time as wait: a database that is slow gets fewer statements, not more.
async fn send(pool: PgPool, mut waiting: mpsc::Receiver<Piece>) {
    let mut pieces = Vec::new();
    while waiting.recv_many(&mut pieces, WAITING_PIECES).await > 0 {
        let payloads: Vec<String> = pieces.drain(..).filter_map(|piece| serde_json::to_string(&piece).ok()).collect();
        let sent = sqlx::query!("SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload", PIECES, &payloads);
        if let Err(error) = sent.execute(&pool).await {
            if pool.is_closed() {
                return;
            }
            tracing::debug!(error = %error, "pieces of answers were not shown");
        }
    }
}

impl Events for PgEvents {
    fn subscribe(&self) -> broadcast::Receiver<Heard> {
        self.heard.subscribe()
    }

    fn show(&self, piece: Piece) {
        self.outgoing.try_send(piece).ok();
    }

    fn watch(&self) -> broadcast::Receiver<Piece> {
        self.pieces.subscribe()
    }
}
