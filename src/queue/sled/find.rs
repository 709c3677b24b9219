//! Finding an event by its messageId: what the committer knows at once, then the stores beside
//! it, for only they have the numbers.

use super::chunk::Chunk;
use super::claims::read_chunk;
use super::committer::Committer;
use super::dead::store_of;
use super::dedup::Whereabouts;
use super::error::StoreError;
use super::open::generation_folder;
use super::operate::Ask;
use super::period::{group_of, read_letters};
use super::store::Store;
use super::{Shared, SledEngine, lock, pages};
use crate::clock::Millis;
use crate::queue::entry::EntryId;
use crate::queue::error::QueueError;
use crate::queue::find::{Found, Sent};
use crate::queue::letter::Letter;
use crate::queue::ranges::RangeSet;

/// What the committer knows of an id.
#[derive(Default)]
pub(super) struct Look {
    /// Period and number, if it is dead.
    dead: Option<(u64, u64)>,
    /// Number, if it was purged.
    purged: Option<u64>,
    known: Option<Whereabouts>,
    /// When a letter of it was delivered, if that is remembered.
    delivered_at: Option<Millis>,
    /// The dead letters that are queued again, by period.
    queued: Vec<(u64, RangeSet)>,
}

/// Whether an event is open, and if so what it left with.
pub(super) type Judged = Option<Option<Sent>>;

impl Committer {
    pub(super) fn look(&self, id_hash: u128) -> Result<Look, StoreError> {
        let horizon = self.horizon();
        let dead = lock(&self.shared.dead).lookup(id_hash);
        let dead = dead.filter(|known| self.ledger.is_dead(known.number));
        let period = |number| self.ledger.period_of(number).map(|p| (p, number));
        let queued = self.ledger.periods.iter().map(|(period, numbers)| {
            let within = self.ledger.dead_queued.within(numbers.first..=numbers.last);
            (*period, within.collect())
        });
        Ok(Look {
            dead: dead.and_then(|known| period(known.number)),
            purged: self.purged.number(id_hash),
            known: (self.dedup).find(id_hash, horizon, self.ledger.cursor.mark())?,
            delivered_at: self.kept.delivered_at(id_hash, horizon.at),
            queued: queued.collect(),
        })
    }

    pub(super) fn judge(&self, id: EntryId) -> Judged {
        if !self.ledger.is_open(id) {
            return None;
        }
        let marked = self.ledger.marks.get(id).map(|marked| Sent {
            name: Some(marked.name.clone()),
            at: marked.at,
            in_doubt: marked.in_doubt,
        });
        Some(marked.or_else(|| {
            // Lost marks, or a queue that was copied.
            self.ledger.is_doubtful(id).then_some(Sent {
                name: None,
                at: self.ledger.state.doubt_since,
                in_doubt: true,
            })
        }))
    }
}

impl SledEngine {
    pub(in crate::queue) async fn find(&self, id_hash: u128) -> Result<Found, QueueError> {
        let look = self.ask(|reply| Ask::Look(id_hash, reply)).await?;
        if let Some((period, number)) = look.dead {
            let letter = self
                .beside(move |shared| letter(&shared, period, number))
                .await?;
            // Earlier releases took an id anew whose letter was still there: then the letter
            // is of the past.
            let after = look.known.and_then(|known| known.after);
            let is_last = |letter: &Letter| after.is_none_or(|after| after <= letter.died_at);
            if let Some(letter) = letter.filter(is_last) {
                return Ok(Found::Dead(letter));
            }
        }
        if let Some(number) = look.purged {
            return Ok(Found::Purged { number });
        }
        let known = look.known;
        if let Some(known) = known {
            let line = self
                .beside(move |shared| line(&shared, &known, id_hash))
                .await?;
            if let Some((seq, accepted_at)) = line {
                let id = EntryId::line(seq);
                if let Some(sent) = self.ask(|reply| Ask::Judge(id, reply)).await? {
                    return Ok(queued(id, accepted_at, sent));
                }
            }
        }
        let among = look.queued;
        let apart = self
            .beside(move |shared| apart(&shared, among, id_hash))
            .await?;
        if let Some((number, accepted_at)) = apart {
            let id = EntryId::dead(number);
            if let Some(sent) = self.ask(|reply| Ask::Judge(id, reply)).await? {
                return Ok(queued(id, accepted_at, sent));
            }
        }
        Ok(match (known, look.delivered_at) {
            (Some(known), _) => Found::Settled {
                accepted_after: known.after,
                accepted_by: known.by,
            },
            (None, Some(delivered_at)) => Found::Settled {
                accepted_after: None,
                accepted_by: Some(delivered_at),
            },
            (None, None) => Found::Unknown,
        })
    }

    /// Whether this messageId is remembered, apart from any letter of it.
    #[cfg(test)]
    pub(in crate::queue) async fn remembers(&self, message_id: &str) -> bool {
        let id_hash = self.shared.hasher.hash(message_id);
        let look = self.ask(|reply| Ask::Look(id_hash, reply)).await.unwrap();
        look.known.is_some() || look.delivered_at.is_some()
    }

    /// Reads beside the committer.
    pub(super) async fn beside<T: Send + 'static>(
        &self,
        read: impl FnOnce(std::sync::Arc<Shared>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, QueueError> {
        let shared = self.shared.clone();
        match tokio::task::spawn_blocking(move || read(shared)).await {
            Ok(read) => read.map_err(|error| QueueError::Unavailable(error.to_string())),
            Err(_) => Err(QueueError::Unavailable("reading panicked: a bug".into())),
        }
    }
}

fn queued(id: EntryId, accepted_at: Millis, sent: Option<Sent>) -> Found {
    Found::Queued {
        id,
        accepted_at,
        sent,
    }
}

fn letter(shared: &Shared, period: u64, number: u64) -> Result<Option<Letter>, StoreError> {
    let numbers = [(number, number)].into_iter().collect();
    let keep: crate::queue::letter::Keep = std::sync::Arc::new(|_| true);
    let page = pages::read(shared, period, &numbers, None, &keep)?;
    Ok(page.letters.into_iter().next())
}

/// The newest event of the line under this id: its number and when it was accepted.
fn line(
    shared: &Shared,
    known: &Whereabouts,
    id_hash: u128,
) -> Result<Option<(u64, Millis)>, StoreError> {
    let (first, last) = known.generations;
    let generations: Vec<u64> = {
        let claims = lock(&shared.claims);
        let within = claims.generations.range(first..=last);
        within.map(|(generation, _)| *generation).collect()
    };
    for generation in generations.into_iter().rev() {
        let store = {
            let claims = lock(&shared.claims);
            match claims.generations.get(&generation) {
                // Deleted since: all of it was settled.
                None => continue,
                Some(readable) => match &readable.store {
                    Some(store) => store.clone(),
                    // Under the lock: a store cannot be opened twice.
                    None => {
                        let path = generation_folder(&shared.options.path, generation);
                        let found = search(&Store::open(&shared.options.path, &path)?, id_hash)?;
                        drop(claims);
                        match found {
                            Some(found) => return Ok(Some(found)),
                            None => continue,
                        }
                    }
                },
            }
        };
        if let Some(found) = search(&store, id_hash)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn search(store: &Store, id_hash: u128) -> Result<Option<(u64, Millis)>, StoreError> {
    for first in store.firsts()?.0.into_iter().rev() {
        let Chunk {
            ids, accepted_at, ..
        } = match read_chunk(store, first) {
            Ok(chunk) => chunk,
            Err(StoreError::Damaged { .. }) => continue,
            Err(error) => return Err(error),
        };
        if let Some(at) = ids.iter().rposition(|id| *id == id_hash) {
            return Ok(Some((first + at as u64, accepted_at)));
        }
    }
    Ok(None)
}

/// The newest letter under this id that is queued again: its number and when it was accepted.
fn apart(
    shared: &Shared,
    queued: Vec<(u64, RangeSet)>,
    id_hash: u128,
) -> Result<Option<(u64, Millis)>, StoreError> {
    let mut found = None;
    for (period, numbers) in queued.into_iter().rev() {
        let Some(store) = store_of(shared, period)? else {
            continue;
        };
        let mut from = 0;
        while let Some((number, _)) = numbers.within(from..=u64::MAX).next() {
            from = number + 1;
            let Some(first) = group_of(&store, number)? else {
                continue;
            };
            let records = match read_letters(&store, first) {
                Ok(records) => records,
                Err(StoreError::Damaged { .. }) => continue,
                Err(error) => return Err(error),
            };
            from = from.max(first + records.len() as u64);
            let mut named = (first..).zip(records);
            found = named
                .find(|(number, record)| numbers.contains(*number) && record.id_hash == id_hash)
                .map(|(number, record)| (number, record.accepted_at))
                .or(found);
        }
        if found.is_some() {
            break;
        }
    }
    Ok(found)
}
