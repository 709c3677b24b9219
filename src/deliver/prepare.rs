//! The transform's turn: events in, prepared events out, in order, beside the loop.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::item::{Dead, Prepare, Prepared, StrippedKeys};
use super::run::Msg;
use crate::queue::Entry;

/// Fewer events than this are transformed on the spot; a thread of its own costs more.
const FEW: usize = 32;

/// Events to prepare together.
pub(super) struct Job {
    pub entries: Vec<Entry>,
    pub strip: StrippedKeys,
    pub kind: Kind,
    pub generation: u64,
}

/// Where they come from.
pub(super) enum Kind {
    /// Just claimed.
    New,
    /// Prepared before, under another config or with keys that are refused.
    Again,
    /// One event that was refused alone, to be tried without these custom keys.
    Alone { without: Arc<[String]> },
}

/// A finished job.
pub(super) struct Done {
    pub results: Vec<(Entry, Result<Prepared, Dead>)>,
    pub strip: StrippedKeys,
    pub kind: Kind,
    pub generation: u64,
}

/// One after the other, so that order is kept.
pub(super) async fn preparer(
    mut jobs: mpsc::UnboundedReceiver<(Prepare, Job)>,
    done: mpsc::UnboundedSender<Msg>,
) {
    while let Some((prepare, job)) = jobs.recv().await {
        let result = if job.entries.len() < FEW {
            Ok(work(&prepare, job))
        } else {
            tokio::task::spawn_blocking(move || work(&prepare, job)).await
        };
        let msg = match result {
            Ok(result) => Msg::Prepared(result),
            // A panic in there took the events of this job along; the next start has them.
            Err(error) => Msg::Broken(format!("the transform failed: {error}")),
        };
        if done.send(msg).is_err() {
            return;
        }
    }
}

fn work(prepare: &Prepare, job: Job) -> Done {
    let entries = job.entries.into_iter();
    let results = entries.map(|entry| {
        let result = prepare(&entry, &job.strip);
        (entry, result)
    });
    Done {
        results: results.collect(),
        strip: job.strip,
        kind: job.kind,
        generation: job.generation,
    }
}
