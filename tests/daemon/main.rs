//! The real binary, over its real socket, against the stand-in as a process of its own.

#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the other tests, which use the rest"
)]
mod support;

mod access;
mod admin;
mod answers;
mod as_root;
mod bad_input;
mod blocked;
mod broken_config;
mod captures;
mod check;
mod clock;
mod commands;
mod commit;
mod config_show;
mod consent;
mod crash;
#[cfg(feature = "postgres")]
mod database;
mod dead;
mod demo;
mod events_of_their_own;
mod every_state;
mod foreign_text;
mod forget;
mod full_disk;
mod full_scale;
mod hangup;
mod harm;
mod http;
mod init;
mod io_errors;
mod late;
mod log;
mod metrics;
mod named_files;
mod notes;
mod notify;
mod online;
mod path;
mod pause;
mod quality;
mod queue;
mod quota;
mod refused_all;
mod reload;
mod secrets;
mod send;
mod sockets;
mod start;
mod status;
mod stop;
mod streams;
mod systemd;
mod tail;
mod terminal;
mod test_mode;
mod tls;
mod token;
mod trace;
mod transform;
mod trouble;
mod verify;
