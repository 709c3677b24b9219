//! The queue on PostgreSQL, with real servers.
#![cfg(feature = "postgres")]

mod bad_input;
mod failover;
mod readers;
mod secrets;
#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the library's tests and the benchmarks, which use the rest"
)]
mod server;
mod servers;
mod shop;
mod standby_gone;
#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the daemon's tests, which use all of it"
)]
#[path = "../daemon/support/mod.rs"]
mod support;
mod went_back;
