//! The transform, beside the loop: events in, prepared events out, in order.

use tokio::sync::mpsc;

use super::item::Prepare;
use super::messages::{Done, Job, Msg};

/// Fewer events than this are transformed on the spot; a thread of its own costs more.
const FEW: usize = 32;

/// One after the other, so that order is kept.
pub(super) async fn preparer(
    mut jobs: mpsc::UnboundedReceiver<(Prepare, Job)>,
    done: mpsc::UnboundedSender<Msg>,
) {
    while let Some((prepare, job)) = jobs.recv().await {
        let result = if job.events.len() < FEW {
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
    let entries = job.events.into_iter();
    let results = entries.map(|entry| {
        let result = prepare(&entry, &job.strip);
        (entry, result)
    });
    Job {
        events: results.collect(),
        strip: job.strip,
        kind: job.kind,
        generation: job.generation,
    }
}
