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
//! Read the modules in this order. Imports go down the list only (a test keeps it so).

pub mod event;

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
pub mod lifecycle;
pub mod net;
pub mod observe;
pub mod secret;

// A stand-in for Pinterest's API, for the demo, tests and benches.
pub mod mock_pinterest;

// What must hold whatever bytes come in; for the fuzz targets and their short run.
#[doc(hidden)]
pub mod fuzzing;
