//! The way in, whatever the protocol: an event is stored, ignored or rejected.
//!
//! Invariant: nothing here knows a wire format, and no event is said to be safe but by a receipt
//! of the queue. A protocol hands over the bytes of one event and renders what comes back; what
//! was taken goes to the queue block by block, and each block's receipts are held until they are
//! there.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::flood::{Flood, LINE, Tally};
use super::gather::{Gather, Most};
use super::witness::{Seen, Witness};
use crate::clock::{Clock, Millis};
use crate::event::{self, Call, Invalid};
use crate::observe::{Observer, Peer};
use crate::policy::{InEffect, Refusal, SharedPolicy};
use crate::queue::{BlockBuilder, Closed, Pending, Queue, QueueError, Receipt};

/// A block is handed over at this size: enough for good compression, small enough to keep
/// several on their way.
pub(super) const BLOCK_BYTES: usize = 128 << 10;
/// Likewise.
pub(super) const BLOCK_EVENTS: usize = 512;

/// What all clients share.
pub(super) struct Intake {
    queue: Queue,
    clock: Clock,
    max_event_bytes: usize,
    observer: Observer,
    policy: SharedPolicy,
    flood: Flood,
    gather: Gather,
}

impl Intake {
    pub(super) fn new(
        queue: Queue,
        clock: Clock,
        max_event_bytes: usize,
        observer: Observer,
        policy: SharedPolicy,
    ) -> Self {
        let most = Most {
            bytes: BLOCK_BYTES,
            events: BLOCK_EVENTS,
        };
        Self {
            gather: Gather::new(queue.clone(), most),
            queue,
            clock,
            max_event_bytes,
            observer,
            policy,
            flood: Flood::default(),
        }
    }

    /// The longest event, in bytes.
    pub(super) fn max_event_bytes(&self) -> usize {
        self.max_event_bytes
    }

    /// Until when the client of this tally is not to be read, if each of what it wasted costs so
    /// much.
    pub(super) fn held_until(&self, tally: &mut Tally, cost: Duration) -> Option<Instant> {
        self.flood.after(tally, cost, Instant::now())
    }

    /// Why nothing comes in, if that is so.
    pub(super) fn closed(&self) -> Option<Closed> {
        self.queue.disk().closed
    }

    /// Hands a block to the queue: waits while that lets nothing in.
    pub(super) async fn hand_over(&self, sealed: Sealed) -> Due {
        let pending = self.queue.enqueue(sealed.block.finish()).await;
        self.due(pending, sealed.witness, sealed.peer)
    }

    /// The same of a client that cannot wait for long: what is not let in until then is
    /// unavailable, at the quota too. The events of several clients may share a block.
    pub(super) async fn hand_in(&self, sealed: Sealed, until: Instant) -> Due {
        let pending = self.gather.hand_in(sealed.block, until).await;
        self.due(pending, sealed.witness, sealed.peer)
    }

    fn due(
        &self,
        pending: Result<Pending, QueueError>,
        witness: Witness,
        peer: Option<Peer>,
    ) -> Due {
        Due {
            pending,
            witness,
            peer,
            clock: self.clock.clone(),
            observer: self.observer.clone(),
        }
    }

    fn new_block(&self) -> BlockBuilder {
        BlockBuilder::new(self.queue.hasher(), self.clock.now())
    }
}

/// What becomes of one event.
#[derive(Debug)]
pub(super) enum Admission<'a> {
    /// It is in the block; the next receipt of that block is its own.
    Stored {
        /// The event's.
        message_id: Cow<'a, str>,
    },
    /// A call that is accepted and not stored.
    Ignored {
        /// The call's.
        message_id: Cow<'a, str>,
        /// Its kind, or why it is kept back.
        reason: &'static str,
        /// The rule that keeps it back.
        rule: Option<Arc<str>>,
    },
    /// It is not taken.
    Rejected(Invalid),
}

/// One client's events on their way in.
pub(super) struct Session {
    intake: Arc<Intake>,
    peer: Option<Peer>,
    block: BlockBuilder,
    /// When the events of the block were read.
    read_at: Instant,
    /// The events of the block, if somebody listened when it was begun.
    seen: Option<Seen>,
    /// Those of the block that were repaired: their places and messageIds.
    repaired: Vec<(usize, String)>,
    /// Those of the block that had no messageId of their own.
    made_ids: usize,
    /// What keeps events back, as it was when the block was begun.
    policy: Option<InEffect>,
    /// Events that brought nothing, and the others.
    tally: Tally,
}

impl Session {
    pub(super) fn new(intake: Arc<Intake>, peer: Option<Peer>) -> Self {
        Self {
            block: intake.new_block(),
            policy: intake.policy.get(),
            intake,
            peer,
            read_at: Instant::now(),
            seen: None,
            repaired: Vec::new(),
            made_ids: 0,
            tally: Tally::default(),
        }
    }

    /// Something was just read: from here on this is the moment of acceptance.
    pub(super) fn begin(&mut self) {
        drop(self.next_block());
    }

    /// The moment of acceptance.
    pub(super) fn accepted_at(&self) -> Millis {
        self.block.accepted_at()
    }

    /// Takes one event, as it came.
    pub(super) fn take<'a>(&mut self, event: &'a [u8]) -> Admission<'a> {
        self.take_as_sent(event, event.len())
    }

    /// Takes one event that was completed after it came: its length is judged as it was sent.
    pub(super) fn take_as_sent<'a>(&mut self, event: &'a [u8], sent: usize) -> Admission<'a> {
        if sent > self.intake.max_event_bytes {
            return self.too_long();
        }
        match event::check(event) {
            Ok(call) => self.admit(call, event),
            Err(why) => self.repair(event, why),
        }
    }

    /// The slow path: one whose text was damaged on its way is stored as it is repaired, so that
    /// whatever is made of it later is made of the same bytes.
    #[cold]
    fn repair(&mut self, event: &[u8], why: Invalid) -> Admission<'static> {
        let repaired = match event::repair(event, why) {
            Ok(repaired) => repaired,
            Err(why) => return self.reject(event, why),
        };
        let call = match event::check(&repaired) {
            Ok(call) => call,
            Err(why) => return self.reject(event, why),
        };
        match self.admit(call, &repaired) {
            Admission::Stored { message_id } => {
                let message_id = message_id.into_owned();
                self.repaired
                    .push((self.block.len() - 1, message_id.clone()));
                Admission::Stored {
                    message_id: message_id.into(),
                }
            }
            Admission::Ignored {
                message_id,
                reason,
                rule,
            } => Admission::Ignored {
                message_id: message_id.into_owned().into(),
                reason,
                rule,
            },
            Admission::Rejected(why) => Admission::Rejected(why),
        }
    }

    /// Takes what was checked.
    fn admit<'a>(&mut self, call: Call<'a>, event: &[u8]) -> Admission<'a> {
        self.tally.useful += 1;
        let accepted = self.block.accepted_at().div_euclid(1000);
        let event_time = call.event_time(accepted);
        let message_id = call.message_id;
        if let Some(reason) = call.kind.ignored() {
            return self.ignore(message_id, event, reason, None);
        }
        let refused = self.policy.as_ref().and_then(|policy| {
            let now = self.block.accepted_at();
            policy.judge(call.kind, event, now).err()
        });
        if let Some(Refusal { reason, rule }) = refused {
            return self.ignore(message_id, event, reason.name(), Some(rule));
        }
        self.block.push(&message_id, event_time, event);
        if let Some(seen) = &mut self.seen {
            seen.stored(&message_id, event);
        }
        Admission::Stored { message_id }
    }

    /// Accepts a call of which nothing is stored.
    fn ignore<'a>(
        &mut self,
        message_id: Cow<'a, str>,
        event: &[u8],
        reason: &'static str,
        rule: Option<Arc<str>>,
    ) -> Admission<'a> {
        self.block.count_ignored();
        if let Some(seen) = &mut self.seen {
            seen.ignored(&message_id, event, reason, rule.clone());
        }
        Admission::Ignored {
            message_id,
            reason,
            rule,
        }
    }

    /// The messageId of the last event that was stored was made here.
    pub(super) fn made_id(&mut self) {
        self.made_ids += 1;
    }

    /// An event over the limit, of which nothing was kept.
    pub(super) fn too_long(&mut self) -> Admission<'static> {
        let limit = self.intake.max_event_bytes;
        self.reject(b"", Invalid::TooLong { limit })
    }

    /// Something that is no event and gets no answer.
    pub(super) fn blank(&mut self) {
        self.tally.wasted += 1;
    }

    fn reject(&mut self, event: &[u8], why: Invalid) -> Admission<'static> {
        self.tally.wasted += 1;
        self.block.count_rejected();
        if let Some(seen) = &mut self.seen {
            seen.rejected(event, why.to_string());
        }
        Admission::Rejected(why)
    }

    /// Whether the block is large enough to be handed over.
    pub(super) fn is_full(&self) -> bool {
        self.block.bytes() >= BLOCK_BYTES || self.block.len() >= BLOCK_EVENTS
    }

    /// The block as it is now, closed; a new one is begun.
    pub(super) fn seal(&mut self) -> Sealed {
        let (begun, seen) = (self.read_at, self.seen.take());
        let repaired = std::mem::take(&mut self.repaired);
        let made_ids = std::mem::take(&mut self.made_ids);
        let block = self.next_block();
        Sealed {
            witness: Witness {
                begun,
                at: block.accepted_at(),
                ids: Witness::ids(block.ids()),
                seen,
                repaired,
                made_ids,
            },
            peer: self.peer.clone(),
            block,
        }
    }

    /// Until when this client is not to be read, for what it sent of late brought nothing; see
    /// [`super::flood`].
    pub(super) fn held_until(&mut self) -> Option<Instant> {
        self.intake.held_until(&mut self.tally, LINE)
    }

    /// What the events brought, for a client that has more than one session.
    pub(super) fn tally(self) -> Tally {
        self.tally
    }

    /// Begins a block; the one before it.
    fn next_block(&mut self) -> BlockBuilder {
        self.read_at = Instant::now();
        self.seen = Seen::if_heard(&self.intake.observer);
        self.policy = self.intake.policy.get();
        std::mem::replace(&mut self.block, self.intake.new_block())
    }
}

/// A closed block, not yet handed over.
pub(super) struct Sealed {
    block: BlockBuilder,
    witness: Witness,
    peer: Option<Peer>,
}

/// The receipts of a block that was handed over.
pub(super) struct Due {
    pending: Result<Pending, QueueError>,
    witness: Witness,
    peer: Option<Peer>,
    clock: Clock,
    observer: Observer,
}

impl Due {
    /// Waits for them; one for each event that was stored, in order. What became of the block is
    /// told to those who watch.
    ///
    /// # Errors
    /// Nothing of the block is acknowledged.
    pub(super) async fn receipts(self) -> Result<Vec<Receipt>, QueueError> {
        let receipts = match self.pending {
            Ok(pending) => pending.receipts().await,
            Err(error) => Err(error),
        };
        let now = self.clock.monotonic();
        self.witness.tell(&self.observer, now, self.peer, &receipts);
        receipts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::MemoryEngine;

    fn session(max_event_bytes: usize) -> Session {
        let clock = Clock::system();
        let queue = Queue::memory(MemoryEngine::new(clock.clone(), 60_000));
        let intake = Intake::new(
            queue,
            clock,
            max_event_bytes,
            Observer::default(),
            SharedPolicy::default(),
        );
        Session::new(Arc::new(intake), None)
    }

    #[tokio::test]
    async fn each_event_is_stored_ignored_or_rejected_and_the_stored_have_receipts() {
        let mut session = session(100);
        let page = br#"{"messageId":"a","type":"page"}"#;
        let stored = |taken: &Admission<'_>| matches!(taken, Admission::Stored { message_id } if message_id == "a");
        assert!(stored(&session.take(page)));
        assert!(matches!(
            session.take(br#"{"messageId":"b","type":"alias"}"#),
            Admission::Ignored { message_id, reason: "alias", rule: None } if message_id == "b"
        ));
        assert!(matches!(session.take(b"[]"), Admission::Rejected(_)));
        assert!(stored(&session.take(page)));
        let long = [b" ".repeat(100).as_slice(), page].concat();
        let too_long =
            |taken| matches!(taken, Admission::Rejected(Invalid::TooLong { limit: 100 }));
        assert!(too_long(session.take(&long)) && too_long(session.too_long()));

        let sealed = session.seal();
        let receipts = session.intake.hand_over(sealed).await.receipts().await;
        assert_eq!(
            receipts.ok(),
            Some(vec![Receipt::Queued, Receipt::Duplicate])
        );
        let census = session.intake.queue.census();
        assert_eq!((census.ignored, census.rejected), (1, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_little_else_than_waste_is_held_back() {
        let mut session = session(100);
        assert_eq!(session.held_until(), None);
        for _ in 0..1000 {
            session.blank();
        }
        assert!(session.held_until().is_some());
        assert_eq!(session.held_until(), None, "it has paid");
    }
}
