//! Which events may go at all: the customer's consent, and the shop's filters. Judged at the socket,
//! before anything is stored. Pure but for the counts.
//!
//! `options` is what the config says, and what can be wrong with it; `consent` reads the choices that
//! an event carries; `filters` are the rules; `judge` puts both together: [`Policy`]. `counts` has
//! what each rule kept back, over reloads, and the policy in effect, which a reload replaces.

mod consent;
mod counts;
mod filters;
mod judge;
mod options;

pub use consent::{Choice, SALE_OF_DATA, choice};
pub use counts::{InEffect, Kept, Limited, SharedPolicy};
pub use judge::{IsLimited, Policy, Reason, Refusal};
pub use options::{Action, Consent, Filter, Missing, Options, PolicyError, Scalar, Test, Where};
