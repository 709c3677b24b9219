//! What must hold whatever bytes come in: one function for each place where they do. The
//! libFuzzer targets in `fuzz/` and `tests/fuzz_seeds.rs` call these, so that a property is
//! written once. Each takes any bytes, decides by the first few what to try, and panics if
//! what it names does not hold.
//!
//! What is private to a part is held to its properties there (`ingest`, `deliver`, `queue`).

mod config;
pub mod destinations;
mod event;
mod http;
mod policy;
pub mod schema;
mod transform;

pub use crate::deliver::properties::answer;
pub use crate::ingest::properties::lines;
pub use crate::queue::properties::chunk;
pub use config::config;
pub use event::event;
pub use http::http;
pub use policy::{consent, filters};
pub use transform::transform;

/// A target by its name, which is also that of its seeds' folder.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 9] = [
    ("lines", lines),
    ("event", event),
    ("http", http),
    ("transform", transform),
    ("answer", answer),
    ("chunk", chunk),
    ("config", config),
    ("consent", consent),
    ("filters", filters),
];
