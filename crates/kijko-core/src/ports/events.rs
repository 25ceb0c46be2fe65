//! What other processes announced.

use tokio::sync::broadcast;

use crate::domain::events::Event;

pub trait Events: Send + Sync {
    /// Everything that is announced from now on. `Lost` means that some may have been missed.
    fn subscribe(&self) -> broadcast::Receiver<Heard>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Event(Event),
    /// The connection was away for a while; whatever was remembered may be stale.
    Lost,
}
