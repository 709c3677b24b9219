//! Few events of many clients go to the queue as one block: packing and committing cost by the
//! block.
//!
//! Invariant: each client has the receipts of its own events alone, and is answered when its block
//! is, whatever others wait for. The first events go on at once; what comes while those are being
//! committed goes on together behind them, or is told to come again where its time is over by then.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::queue::{BlockBuilder, Pending, Queue, QueueError, Receipt, Reply};

/// Events of more bytes than this have a block of their own.
const SMALL_BYTES: usize = 16 << 10;
/// What may wait here, in bytes; beyond it each block goes on alone.
const ROOM: usize = 4 << 20;
/// Of it, what each part and each event takes beside the event's bytes.
const PART_COST: usize = 256;
const EVENT_COST: usize = 32;
/// Blocks on their way at once.
const BLOCKS: usize = 32;
/// How often everybody else who can go on does so first: each time the answers of the block before
/// are written and what was sent upon them is read.
const LOOKS: usize = 2;
/// Said when the queue lets nothing in and has not said why.
const NOT_NOW: &str = "the queue takes no more for the moment";

/// The events that wait, of all clients.
#[derive(Clone)]
pub(super) struct Gather {
    queue: Queue,
    line: Arc<Mutex<Line>>,
    room: Arc<Semaphore>,
    most: Most,
}

/// How large a block becomes.
#[derive(Clone, Copy)]
pub(super) struct Most {
    pub(super) bytes: usize,
    pub(super) events: usize,
}

#[derive(Default)]
struct Line {
    parts: VecDeque<Part>,
    is_under_way: bool,
}

/// Of one client.
struct Part {
    block: BlockBuilder,
    reply: Reply,
    /// Until when it may wait to be let in.
    until: Instant,
    _room: OwnedSemaphorePermit,
}

impl Gather {
    pub(super) fn new(queue: Queue, most: Most) -> Self {
        Self {
            queue,
            line: Arc::default(),
            room: Arc::new(Semaphore::new(ROOM)),
            most,
        }
    }

    /// Hands a block to the queue, alone or with others. What is not let in until then, or at once
    /// where it is known that nothing is, is unavailable.
    pub(super) async fn hand_in(
        &self,
        block: BlockBuilder,
        until: Instant,
    ) -> Result<Pending, QueueError> {
        let bytes = block.bytes();
        let cost = PART_COST + bytes + block.len() * EVENT_COST;
        let room = match bytes <= SMALL_BYTES {
            true => self.room.clone().try_acquire_many_owned(cost as u32).ok(),
            false => None,
        };
        let Some(room) = room else {
            return enqueue(&self.queue, block, until).await;
        };
        let (reply, pending) = Pending::later();
        let mut line = self.line();
        line.parts.push_back(Part {
            block,
            reply,
            until,
            _room: room,
        });
        let is_first = !std::mem::replace(&mut line.is_under_way, true);
        drop(line);
        if is_first {
            let under_way = UnderWay {
                gather: self.clone(),
                has_ended: false,
            };
            tokio::spawn(under_way.run());
        }
        Ok(pending)
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What makes the next block.
    fn next(&self) -> Option<Vec<Part>> {
        let now = Instant::now();
        let mut line = self.line();
        let mut parts: Vec<Part> = Vec::new();
        let (mut bytes, mut events) = (0, 0);
        while let Some(part) = line.parts.pop_front() {
            if part.until <= now {
                part.reply.answer(Err(not_now()));
                continue;
            }
            bytes += part.block.bytes();
            events += part.block.len();
            // A block has one time of acceptance, by which the seconds of its events were read.
            let second = |part: &Part| part.block.accepted_at().div_euclid(1000);
            let fits = parts.first().is_none_or(|first| {
                bytes <= self.most.bytes
                    && events <= self.most.events
                    && second(first) == second(&part)
            });
            if !fits {
                line.parts.push_front(part);
                break;
            }
            parts.push(part);
        }
        (!parts.is_empty()).then_some(parts)
    }
}

/// The one that hands over what waits; whatever ends it, the next who comes begins another.
struct UnderWay {
    gather: Gather,
    has_ended: bool,
}

impl UnderWay {
    async fn run(mut self) {
        let mut on_their_way = JoinSet::new();
        loop {
            // What is there to be read already comes along.
            for _ in 0..LOOKS {
                tokio::task::yield_now().await;
            }
            // All that has come meanwhile, so that one sync serves it.
            while on_their_way.len() < BLOCKS
                && let Some(parts) = self.gather.next()
            {
                // Each is answered as soon as it can be, whatever the next one waits for.
                on_their_way.spawn(together(self.gather.queue.clone(), parts));
            }
            if on_their_way.is_empty() && self.ends() {
                return;
            }
            while on_their_way.join_next().await.is_some() {}
        }
    }

    /// Ends, unless something waits.
    fn ends(&mut self) -> bool {
        let mut line = self.gather.line();
        self.has_ended = line.parts.is_empty();
        line.is_under_way = !self.has_ended;
        self.has_ended
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.has_ended {
            // Whoever waits is told that it is over, or would wait for somebody else to come.
            *self.gather.line() = Line::default();
        }
    }
}

/// Hands over what goes together, and tells each client what became of its own.
async fn together(queue: Queue, parts: Vec<Part>) {
    let mut whose = Vec::with_capacity(parts.len());
    let mut all: Option<(BlockBuilder, Instant)> = None;
    for part in parts {
        whose.push((part.block.len(), part.reply));
        match &mut all {
            None => all = Some((part.block, part.until)),
            Some((block, until)) => {
                block.append(&part.block);
                // Nobody's little patience is the others'.
                *until = part.until.max(*until);
            }
        }
    }
    let receipts = match all {
        Some((block, until)) => match enqueue(&queue, block, until).await {
            Ok(pending) => pending.receipts().await,
            Err(error) => Err(error),
        },
        None => Err(not_now()),
    };
    answer(&receipts, whose);
}

fn answer(receipts: &Result<Vec<Receipt>, QueueError>, whose: Vec<(usize, Reply)>) {
    let mut from = 0;
    for (events, reply) in whose {
        let own = match receipts {
            // Fewer than there are events: nobody is told more than is known.
            Ok(all) => Ok(all.get(from..from + events).unwrap_or_default().to_vec()),
            Err(error) => Err(error.clone()),
        };
        from += events;
        // The client may be gone; what it sent is stored all the same.
        reply.answer(own);
    }
}

fn not_now() -> QueueError {
    QueueError::Unavailable(NOT_NOW.to_owned())
}

async fn enqueue(
    queue: &Queue,
    block: BlockBuilder,
    until: Instant,
) -> Result<Pending, QueueError> {
    let entered = timeout_at(until, queue.enqueue_if_open(block.finish())).await;
    entered.unwrap_or_else(|_| Err(not_now()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, Millis};
    use crate::queue::{MemoryEngine, Seq};

    fn queue() -> Queue {
        Queue::memory(MemoryEngine::new(Clock::system(), 60_000))
    }

    fn block(queue: &Queue, at: Millis, ids: &[&str]) -> BlockBuilder {
        let mut block = BlockBuilder::new(queue.hasher(), at);
        for id in ids {
            block.push(id, 1, format!("{{\"messageId\":\"{id}\"}}").as_bytes());
        }
        block.count_ignored();
        block
    }

    fn gather_of(queue: &Queue) -> Gather {
        let most = Most {
            bytes: 128 << 10,
            events: 512,
        };
        Gather::new(queue.clone(), most)
    }

    fn soon() -> Instant {
        Instant::now() + std::time::Duration::from_secs(60)
    }

    #[tokio::test]
    async fn each_client_has_the_receipts_of_its_own_events() {
        let queue = queue();
        let gather = gather_of(&queue);
        let hand_in = |ids: &'static [&'static str]| {
            let (gather, block) = (gather.clone(), block(&queue, 1000, ids));
            async move { gather.hand_in(block, soon()).await }
        };
        // On one thread nothing is handed over before all of them have come.
        let one = hand_in(&["a", "b"]).await.unwrap();
        let none = hand_in(&[]).await.unwrap();
        let two = hand_in(&["b", "c", "c"]).await.unwrap();
        // Whoever leaves has its events stored all the same, and its counts.
        drop(hand_in(&["d"]).await.unwrap());
        let (new, old) = (Receipt::Queued, Receipt::Duplicate);
        assert_eq!(one.receipts().await.unwrap(), [new, new]);
        assert_eq!(none.receipts().await.unwrap(), []);
        assert_eq!(two.receipts().await.unwrap(), [old, new, old]);
        let waiting = queue.waiting(Seq(0), 10).await.unwrap().events;
        assert_eq!(waiting.len(), 4);
        assert_eq!(queue.census().ignored, 4);
        assert_eq!(gather.room.available_permits(), ROOM, "all is given back");
        while gather.line().is_under_way {
            tokio::task::yield_now().await;
        }
        // It begins anew.
        let again = hand_in(&["a"]).await.unwrap();
        assert_eq!(again.receipts().await.unwrap(), [old]);
    }

    #[tokio::test]
    async fn events_of_different_seconds_are_accepted_in_their_own() {
        let queue = queue();
        let gather = gather_of(&queue);
        let mut pending = Vec::new();
        for (at, id) in [(1000, "a"), (1999, "b"), (2000, "c")] {
            let block = block(&queue, at, &[id]);
            pending.push(gather.hand_in(block, soon()).await.unwrap());
        }
        for pending in pending {
            assert_eq!(pending.receipts().await.unwrap(), [Receipt::Queued]);
        }
        let waiting = queue.waiting(Seq(0), 10).await.unwrap().events;
        let at: Vec<Millis> = waiting.iter().map(|event| event.accepted_at).collect();
        assert_eq!(at, [1000, 1000, 2000]);
    }

    #[tokio::test]
    async fn what_is_large_or_too_much_goes_on_alone() {
        let queue = queue();
        let gather = gather_of(&queue);
        let large = |at| {
            let mut block = block(&queue, at, &[]);
            block.push("large", 1, &vec![b' '; SMALL_BYTES + 1]);
            block
        };
        let pending = gather.hand_in(large(1), soon()).await.unwrap();
        assert!(!gather.line().is_under_way);
        assert_eq!(pending.receipts().await.unwrap(), [Receipt::Queued]);
        let _all = gather.room.clone().try_acquire_many_owned(ROOM as u32);
        let pending = gather
            .hand_in(block(&queue, 1, &["a"]), soon())
            .await
            .unwrap();
        assert!(!gather.line().is_under_way);
        assert_eq!(pending.receipts().await.unwrap(), [Receipt::Queued]);
    }

    #[tokio::test]
    async fn whose_time_is_over_is_told_and_takes_nobody_along() {
        let queue = queue();
        let gather = gather_of(&queue);
        let one = (gather
            .hand_in(block(&queue, 1, &["a"]), Instant::now())
            .await)
            .unwrap();
        let two = (gather.hand_in(block(&queue, 1, &["b"]), soon()).await).unwrap();
        let told = one.receipts().await;
        assert!(matches!(told, Err(QueueError::Unavailable(_))), "{told:?}");
        assert_eq!(two.receipts().await.unwrap(), [Receipt::Queued]);
        assert_eq!(queue.census().accepted, 1);
    }

    #[tokio::test]
    async fn a_queue_that_has_stopped_is_told_to_everybody() {
        let queue = queue();
        let gather = gather_of(&queue);
        queue.close().await.unwrap();
        let one = gather
            .hand_in(block(&queue, 1, &["a"]), soon())
            .await
            .unwrap();
        let two = gather
            .hand_in(block(&queue, 1, &["b"]), soon())
            .await
            .unwrap();
        for pending in [one, two] {
            let receipts = pending.receipts().await;
            assert!(
                matches!(receipts, Err(QueueError::Stopped(_))),
                "{receipts:?}"
            );
        }
    }
}
