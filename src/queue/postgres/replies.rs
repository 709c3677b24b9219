//! Who waits for receipts, and how long: a commit may take as long as the database is away, a client
//! waits no longer than [`PATIENCE`].

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use super::session::PATIENCE;
use crate::queue::contract::{QueueError, Receipt};
use crate::queue::lock::lock;
use crate::queue::pending::Reply;

/// One who waits.
#[derive(Debug)]
pub struct Ticket(u64);

#[derive(Default)]
struct Waiting {
    last: u64,
    /// By its number: in the order of their coming, so the first is due first.
    replies: HashMap<u64, Reply>,
    due: BTreeMap<u64, Instant>,
}

/// See the file's page.
#[derive(Default)]
pub struct Replies(Mutex<Waiting>);

impl Replies {
    pub fn add(&self, reply: Reply) -> Ticket {
        let mut waiting = lock(&self.0);
        waiting.last += 1;
        let number = waiting.last;
        waiting.replies.insert(number, reply);
        waiting.due.insert(number, Instant::now() + PATIENCE);
        Ticket(number)
    }

    /// Answers, unless that one has waited too long.
    pub fn answer(&self, ticket: Ticket, receipts: Result<Vec<Receipt>, QueueError>) {
        let mut waiting = lock(&self.0);
        waiting.due.remove(&ticket.0);
        let reply = waiting.replies.remove(&ticket.0);
        drop(waiting);
        if let Some(reply) = reply {
            reply.answer(receipts);
        }
    }

    /// Tells those who have waited too long; gives when the next one is due.
    fn sweep(&self, now: Instant, why: &str) -> Option<Instant> {
        loop {
            let mut waiting = lock(&self.0);
            let (number, due) = waiting.due.first_key_value().map(|(n, due)| (*n, *due))?;
            if due > now {
                return Some(due);
            }
            waiting.due.remove(&number);
            let reply = waiting.replies.remove(&number);
            drop(waiting);
            if let Some(reply) = reply {
                reply.answer(Err(QueueError::Unavailable(why.to_owned())));
            }
        }
    }

    /// Tells each who waits too long, for as long as somebody may ask.
    pub async fn watch(self: Arc<Self>) {
        let why = "the database has not acknowledged it: send it again, it is known if it arrived";
        loop {
            let next = self.sweep(Instant::now(), why);
            let latest = Instant::now() + std::time::Duration::from_secs(1);
            tokio::time::sleep_until(next.map_or(latest, |next| next.min(latest))).await;
        }
    }
}
