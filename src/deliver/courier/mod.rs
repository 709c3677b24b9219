//! The state of the delivery side, and what follows from all that happens. No I/O and no
//! waiting: the loop in `run` carries out what stands in the outbox.
//!
//! `state` holds what is in hand and picks what leaves next; `answer` draws the conclusions from
//! an answer; `upkeep` does what happens by itself or by the operator; `inspect` tells where an event
//! is. These four share the struct's fields, and nobody else sees them. `config`, `hand`, `flights` and `stubborn` keep an
//! invariant each.

mod answer;
mod config;
mod flights;
mod hand;
mod inspect;
mod state;
mod stubborn;
mod upkeep;

pub use flights::Left;
pub use state::Courier;
