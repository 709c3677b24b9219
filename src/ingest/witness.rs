//! What is told of a block once its answers are known: how long it took, what came from whom,
//! and, while somebody listens, each of its lines.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::clock::Millis;
use crate::note::{Note, Notes};
use crate::observe::{Arrival, Held, Observer, Passed, Peer, Stage, short};
use crate::queue::{QueueError, Receipt};

/// The lines of a block that somebody listens to, in the order of their answers.
pub(super) struct Seen {
    observer: Observer,
    lines: Vec<Line>,
}

struct Line {
    message_id: String,
    line: Held,
    kind: Kind,
}

enum Kind {
    Stored,
    Ignored(&'static str, Option<Arc<str>>),
    Rejected(Arc<str>),
}

impl Seen {
    /// None while nobody listens.
    pub(super) fn if_heard(observer: &Observer) -> Option<Self> {
        observer.passing().is_heard().then(|| Self {
            observer: observer.clone(),
            lines: Vec::new(),
        })
    }

    /// An event that waits for its receipt.
    pub(super) fn stored(&mut self, message_id: &str, line: &[u8]) {
        self.push(message_id, line, Kind::Stored);
    }

    /// A call that is accepted and not stored; the rule that keeps it back.
    pub(super) fn ignored(
        &mut self,
        message_id: &str,
        line: &[u8],
        reason: &'static str,
        rule: Option<Arc<str>>,
    ) {
        self.push(message_id, line, Kind::Ignored(reason, rule));
    }

    /// A line that is not taken.
    pub(super) fn rejected(&mut self, line: &[u8], why: String) {
        self.push("", line, Kind::Rejected(why.into()));
    }

    fn push(&mut self, message_id: &str, line: &[u8], kind: Kind) {
        let passing = self.observer.passing();
        let line = passing.hold(|| Bytes::copy_from_slice(line), line.len());
        self.lines.push(Line {
            message_id: message_id.to_owned(),
            line,
            kind,
        });
    }
}

/// A block on its way.
pub(super) struct Witness {
    /// When its lines were read.
    pub(super) begun: Instant,
    /// The same by the wall clock.
    pub(super) at: Millis,
    /// Its events, in the order of their receipts.
    pub(super) ids: Box<[u64]>,
    /// Its lines, if somebody listened when it was begun.
    pub(super) seen: Option<Seen>,
    /// Those of its events that were repaired: their places and messageIds.
    pub(super) repaired: Vec<(usize, String)>,
    /// How many of its events had no messageId of their own.
    pub(super) made_ids: usize,
}

impl Witness {
    /// The events of a block, as the history knows them.
    pub(super) fn ids(hashes: &[u128]) -> Box<[u64]> {
        hashes.iter().map(|hash| short(*hash)).collect()
    }

    /// Tells what became of it. `now`: milliseconds since the machine was booted.
    pub(super) fn tell(
        self,
        observer: &Observer,
        now: Millis,
        peer: Option<Peer>,
        receipts: &Result<Vec<Receipt>, QueueError>,
    ) {
        let stages: Vec<Stage> = match receipts {
            Ok(receipts) => receipts.iter().map(|receipt| stage(*receipt)).collect(),
            Err(QueueError::Unavailable(_)) => vec![Stage::Unavailable; self.ids.len()],
            // It is not answered either.
            Err(QueueError::Stopped(_) | QueueError::TurnOver) => return,
        };
        if receipts.is_ok() && !stages.is_empty() {
            let meters = observer.meters();
            meters.acknowledged(self.begun.elapsed());
            if let Some(key) = peer.as_ref().and_then(|peer| peer.key.as_ref()) {
                meters.came_with(key, stages.len());
            }
            meters.made_ids(self.made_ids);
        }
        for (place, message_id) in &self.repaired {
            if let Stage::Queued | Stage::Retried = stages[*place] {
                let notes = Notes::from([Note::repaired()]);
                observer
                    .noted()
                    .other(now, self.ids[*place], message_id, &notes);
            }
        }
        // Before anybody hears of it: who begins to listen and then asks for the past misses nothing.
        if !self.ids.is_empty() {
            let others = stages.iter().zip(0..);
            let others = others.filter(|(stage, _)| **stage != Stage::Queued);
            observer.history().arrived(Arrival {
                at: self.at,
                peer,
                ids: self.ids,
                others: others.map(|(stage, at)| (at, stage.name())).collect(),
            });
        }
        if let Some(seen) = self.seen {
            pass(observer, self.at, seen, &stages, &self.repaired);
        }
    }
}

fn stage(receipt: Receipt) -> Stage {
    match receipt {
        Receipt::Queued => Stage::Queued,
        Receipt::Retried => Stage::Retried,
        Receipt::Duplicate => Stage::Duplicate,
    }
}

fn pass(
    observer: &Observer,
    at: Millis,
    seen: Seen,
    stages: &[Stage],
    repaired: &[(usize, String)],
) {
    let mut stages = stages.iter().enumerate();
    for line in seen.lines {
        let mut notes = None;
        let (stage, reason, message) = match line.kind {
            Kind::Stored => {
                let Some((place, stage)) = stages.next() else {
                    return;
                };
                let is_repaired = repaired.iter().any(|(of, _)| *of == place);
                notes = is_repaired.then(|| Notes::from([Note::repaired()]));
                (*stage, None, None)
            }
            Kind::Ignored(reason, rule) => (Stage::Ignored, Some(reason), rule),
            Kind::Rejected(why) => (Stage::Rejected, None, Some(why)),
        };
        observer.passing().pass(Passed {
            at,
            stage,
            message_id: line.message_id,
            line: line.line,
            sent: None,
            reason,
            message,
            notes,
        });
    }
}
