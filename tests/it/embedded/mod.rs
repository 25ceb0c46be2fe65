//! The private PostgreSQL serves whoever starts it, survives every kind of sudden death, and
//! never leaves a server or half a cluster behind.

mod crowds;
mod deaths;
mod disks;
mod harness;
mod life;
mod refusals;
