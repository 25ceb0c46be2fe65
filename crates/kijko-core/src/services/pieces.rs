//! An answer while it is being written: the run shows it piece by piece, and whoever may see the run can follow it, in
//! any process.

use std::time::Duration;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::Instant;

use crate::app::App;
use crate::context::TenantContext;
use crate::domain::events::Piece;
use crate::domain::executions::ExecutionStatus;
use crate::domain::ids::ExecutionId;
use crate::error::Result;
use crate::services::executions;

/// Between two pieces of one run; what comes faster is merged.
const PACE: Duration = Duration::from_millis(50);
/// Characters of one piece: in the worst of JSON's spellings they fit into one notification, which has 8 000 bytes.
const LONGEST: usize = 1200;
/// Between two looks at a run that shows nothing.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The side that writes.
pub(crate) struct Shown<'a> {
    app: &'a App,
    run: String,
    seq: u32,
    waiting: String,
    /// Not before this moment is the next piece shown.
    due: Instant,
}

impl<'a> Shown<'a> {
    pub(crate) fn new(app: &'a App, run: String) -> Self {
        Self { app, run, seq: 0, waiting: String::new(), due: Instant::now() + PACE }
    }

    pub(crate) fn push(&mut self, text: &str) {
        self.waiting.push_str(text);
        if Instant::now() >= self.due {
            self.flush();
        }
    }

    /// When what waits should be shown, if anything does.
    pub(crate) async fn due(&self) {
        match self.waiting.is_empty() {
            true => std::future::pending().await,
            false => tokio::time::sleep_until(self.due).await,
        }
    }

    pub(crate) fn flush(&mut self) {
        self.due = Instant::now() + PACE;
        let waiting = std::mem::take(&mut self.waiting);
        let mut rest = waiting.as_str();
        while !rest.is_empty() {
            let end = rest.char_indices().nth(LONGEST).map_or(rest.len(), |(index, _)| index);
            let (text, after) = rest.split_at(end);
            self.app.events.show(Piece { run: self.run.clone(), seq: self.seq, text: text.to_owned() });
            self.seq += 1;
            rest = after;
        }
    }
}

/// The side that reads: all that the run writes, exactly once, in order. Who begins late, or misses something, gets the
/// rest in one piece at the end.
pub struct Following {
    id: ExecutionId,
    run: String,
    pieces: broadcast::Receiver<Piece>,
    next: u32,
    /// Bytes of the output that were given.
    given: usize,
    missed: bool,
    ended: bool,
}

/// Begins to follow a run. Refuses with `EXECUTION_NOT_FOUND`.
pub async fn follow(app: &App, ctx: &TenantContext, id: ExecutionId) -> Result<Following> {
    // Before looking whether it is there, so that nothing falls between.
    let pieces = app.events.watch();
    executions::get(app, ctx, id).await?;
    Ok(Following { id, run: id.to_string(), pieces, next: 0, given: 0, missed: false, ended: false })
}

impl Following {
    /// The next piece, or None when the run has ended, however it did. Refuses with `EXECUTION_NOT_FOUND` when the run
    /// is gone.
    pub async fn next(&mut self, app: &App, ctx: &TenantContext) -> Result<Option<String>> {
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        while !self.ended {
            tokio::select! {
                biased;
                heard = self.pieces.recv() => match heard {
                    Ok(piece) if piece.run == self.run && piece.seq == self.next && !self.missed => {
                        self.next += 1;
                        self.given += piece.text.len();
                        return Ok(Some(piece.text));
                    }
                    Ok(piece) => self.missed |= piece.run == self.run,
                    Err(RecvError::Lagged(_)) => self.missed = true,
                    Err(RecvError::Closed) => self.ended = true,
                },
                _ = look.tick() => {
                    let execution = executions::get(app, ctx, self.id).await?;
                    if matches!(execution.status, ExecutionStatus::Pending | ExecutionStatus::Running) {
                        continue;
                    }
                    self.ended = true;
                    let output = execution.output.unwrap_or_default();
                    return Ok(output.get(self.given..).filter(|rest| !rest.is_empty()).map(str::to_owned));
                }
            }
        }
        Ok(None)
    }
}
