//! Delivery: claims events, has them transformed, sends them in batches, and settles each by
//! what Pinterest answers.
//!
//! ```text
//!  claim ─▶ prepare ─▶ ready ──cut──▶ mark ─▶ send ─▶ classify ─▶ settle
//!             ▲          ▲  waiting ──▲                   │
//!             │          │  isolation ▲ halves ◀─ refused ┤
//!             └─ reload ─┴──────── released, in doubt ◀───┘
//! ```
//!
//! What may be relied on:
//! 1. A request leaves only after its mark is durable, and leaves once per mark.
//! 2. An event is sent again only when Pinterest took none of it (its mark is released) or
//!    when that is not known (it is in doubt, and goes out under the same name; while the
//!    process lives byte for byte).
//! 3. Trouble of the destination (token, rate, outage, a config that is refused) is the
//!    gate's and costs no event; trouble inside an event costs no other one.
//! 4. What ends an event is a verdict about it alone, or its age.
//!
//! `courier` (with `answer` and `upkeep`) is the state and decides; `run` is the only part
//! that waits. Leaves, each pure: `batch`, `ready`, `classify`, `words`, `gate`, `retry`,
//! `pace`, `isolate`, `refusal`, `strip`, `age`. `client` carries the bytes, `witness` tells the
//! [`Observer`] what happens; `online` sends one test event for `check`.

mod age;
mod batch;
mod courier;
mod destination;
mod gate;
mod handle;
mod isolate;
mod item;
mod judgement;
mod messages;
mod normalise;
mod options;
mod pace;
mod pinterest;
mod prepare;
mod ready;
mod retry;
mod run;
mod status;
mod streak;
mod strip;
mod waiting;
mod witness;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

pub use handle::Handle;
pub use item::{Dead, Prepare, Prepared, StrippedKeys};
pub use normalise::normalise;
pub use options::{Limits, OnLate, OnRefused, Options, Pause, Surroundings};
#[doc(hidden)]
pub use pinterest::properties;
pub use pinterest::{ClientError, Online, spawn, try_online};
pub use status::{
    DrainEnd, DrainReport, GateState, GateStatus, LastError, Reason, Requests, Status,
};
