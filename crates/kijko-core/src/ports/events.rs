//! What other processes announced.

use tokio::sync::broadcast;

use crate::domain::events::{Event, Piece};

pub trait Events: Send + Sync {
    /// Everything that is announced from now on. `Lost` means that some may have been missed.
    fn subscribe(&self) -> broadcast::Receiver<Heard>;

    /// Shows a piece to every process. Never waits: what cannot be sent in time is dropped.
    fn show(&self, piece: Piece);

    /// Every piece that is shown from now on, by whichever process.
    fn watch(&self) -> broadcast::Receiver<Piece>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Event(Event),
    /// The connection was away for a while; whatever was remembered may be stale.
    Lost,
}
