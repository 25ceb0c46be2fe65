//! Kijko over HTTP: extract, call the core, answer. No decision is made here.
#![forbid(unsafe_code)]

mod client;
mod etags;
mod extract;
mod middleware;
mod openapi;
mod problem;
mod router;
mod routes;
mod scopes;
mod serve;

pub use router::{PUBLIC, document, router};
pub use serve::serve;
