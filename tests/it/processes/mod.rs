//! The real programs as an operator runs them, on real signals: whatever dies, stops or restarts, each accepted run
//! ends exactly once, no paid call is made twice, and what went wrong is told in words and exit codes.

mod administration;
mod commands;
mod crowds;
mod deaths;
mod embedded;
mod harness;
mod limits;
mod logs;
mod restarts;
mod secrets;
mod stops;
