//! pinrelay: durable delivery of Chord CDP events to Pinterest's Conversions API.
//!
//! Two loops meet only at the queue:
//!
//! ```text
//!  client ──NDJSON──▶ ingest ──Block──▶ ┌───────┐ ──Entry──▶ deliver ──▶ Pinterest
//!         ◀─answers── (check) ◀─Receipt─ │ queue │ ◀─Settlement─ (transform, batch,
//!                                        └───────┘                send, classify)
//! ```
//!
//! Read the modules in this order. Each imports only from those above it and from those beside the
//! line; ARCHITECTURE.md says which, and a test keeps it so. `queue` begins with the life of an
//! event and the words for it; every folder's `mod.rs` is its page.
//!
//! | to find | see |
//! |---|---|
//! | where an event is acknowledged | `queue/sled/threads/committer/accept.rs`, `queue/postgres/session.rs` |
//! | what an answer of Pinterest does to an event | `deliver/pinterest/classify.rs`, then `deliver/courier/answer.rs` |
//! | what happens to a dead letter | `queue/sled/threads/committer/letters.rs`, `queue/postgres/letters.rs` |
//! | how an event becomes a payload | `transform/` |
//! | what a key of the config does | `config/keys.rs` |

pub mod event;

pub mod policy;
pub mod queue;
pub mod transform;

pub mod admin;
pub mod deliver;
pub mod ingest;
pub mod notify;

pub mod config;

pub mod daemon;

pub mod cli;

// Beside the line: these import none of the above.
pub mod clock;
pub mod coverage;
pub mod event_name;
pub mod files;
pub mod lifecycle;
pub mod moment;
pub mod net;
pub mod note;
pub mod observe;
pub mod secret;
pub mod text;

// A stand-in for Pinterest's API, for the demo, tests and benches.
pub mod mock_pinterest;

// What must hold whatever bytes come in; for the fuzz targets and their short run.
#[doc(hidden)]
pub mod fuzzing;
