//! Small values for the tests of this module's parts.

use crate::queue::Seq;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::batch::Batch;
use super::item::Item;
use super::pinterest::PINTEREST;
use super::retry::Backoff;
use crate::coverage::Coverage;
use crate::queue::{Entry, EntryId};

pub fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

pub fn backoff() -> Backoff {
    Backoff::new(Duration::from_secs(1), Duration::from_secs(300))
}

pub fn entry(seq: u64) -> Entry {
    Entry {
        id: EntryId::line(Seq(seq)),
        id_hash: seq.into(),
        accepted_at: 0,
        event_time: 0,
        body: Bytes::from_static(b"{}"),
        sent_as: None,
        failures: 0,
    }
}

/// The event `m<seq>`.
pub fn item(seq: u64, name: &str) -> Item {
    Item {
        entry: entry(seq),
        name: name.into(),
        message_id: format!("m{seq}"),
        json: format!(r#"{{"event_id":"m{seq}","event_name":"{name}"}}"#).into(),
        notes: None,
        coverage: Coverage::default(),
    }
}

pub fn batch(id: u64, events: u64) -> Batch {
    let items = (1..=events).map(|seq| item(seq, "page_visit")).collect();
    Batch::new(PINTEREST.framing, id, items, Arc::from([]), 0, backoff())
}
