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

pub mod deliver;

// Aside: these import none of the above but the queue's plain types.
pub mod clock;
pub mod secret;

pub mod cli;
pub mod config;
pub mod mock_pinterest;
