//! The destination: all that knows Pinterest, and nothing that decides about events.
//!
//! - `profile` is what the generic part is handed: framing, limits of test mode, texts.
//! - `classify` reads an answer's body, `page` one that is no answer, `headers` its headers,
//!   `wording` its refusals' words. Pure.
//! - `client` carries requests; the only file that names reqwest.
//! - `spawn` starts the delivery to it; `online` sends it one test event for `check`.
//! - `properties` says what holds of the readers, for the fuzz targets.

mod classify;
mod client;
mod headers;
mod online;
mod page;
mod profile;
pub mod properties;
mod spawn;
mod wording;

pub use client::ClientError;
pub use online::{Online, try_online};
pub use profile::REMEMBERS;
pub use spawn::spawn;

#[cfg(test)]
pub(super) use profile::PINTEREST;
#[cfg(test)]
pub(super) use wording::blames_name;
