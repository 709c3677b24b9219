//! Delivery: claims events, has them transformed, sends them in batches, and settles each by
//! what the destination answers.
//!
//! ```text
//!  claim ─▶ prepare ─▶ ready ──cut──▶ mark ─▶ send ─▶ judge ─▶ settle
//!             ▲          ▲  waiting ──▲                  │
//!             │          │  isolation ▲ halves ◀refused ─┤
//!             └─ reload ─┴──────── released, in doubt ◀──┘
//! ```
//!
//! What may be relied on:
//! 1. A request leaves only after its mark is durable, and leaves once per mark.
//! 2. An event is sent again only when the destination took none of it (its mark is released)
//!    or when that is not known (it is in doubt, and goes out under the same name; while the
//!    process lives byte for byte).
//! 3. Trouble of the destination (token, rate, outage, a config that is refused) is the
//!    gate's and costs no event; trouble inside an event costs no other one.
//! 4. What ends an event is a verdict about it alone, or its age.
//!
//! In the order of reading; no files import each other in a circle:
//! - `pinterest` is the destination: all that knows Pinterest, and nothing that decides about
//!   events. Nothing else in here names it; its `spawn` is where delivery starts.
//! - `handle` is how the daemon speaks to it; `run` is the loop, which stands by until it has the
//!   turn to deliver; `work` is what a turn has under way, built anew for each, with `prepare`,
//!   the transform beside it, and `recall`, which has letters of a refused config come back. These alone wait; `messages` is what they say to each other.
//! - `courier` is the state and decides. Its parts, each pure: `gate`, `failing` and `pace` (may it
//!   leave?), `ready`, `waiting` and `isolate` (where events wait), `streak` and `strip` (what
//!   refusals teach), `batch`, `age`, `retry`, `item`, `normalise`. `witness` tells the observer.
//! - `destination` is the seam to `pinterest`, with `judgement`, what an answer can mean.
//! - `options` is what it is given, `status` what it shows of itself, `held` of single events.

mod age;
mod batch;
mod courier;
mod destination;
mod failing;
mod gate;
mod handle;
mod held;
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
mod recall;
mod retry;
mod run;
mod status;
mod streak;
mod strip;
mod waiting;
mod witness;
mod work;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

pub use age::{Age, AgeRules};
pub use handle::Handle;
pub use held::{Held, TriedAtOnce, WaitsFor};
pub use item::{Dead, Prepare, Prepared, StrippedKeys};
pub use normalise::normalise;
pub use options::{CallLimit, Environment, Limits, OnLate, OnRefused, Options, Pause};
#[doc(hidden)]
pub use pinterest::properties;
pub use pinterest::{ClientError, Online, REMEMBERS, spawn, try_online};
pub use status::{
    DrainEnd, DrainReport, GateState, GateStatus, LastError, Reason, Requests, Status,
};
