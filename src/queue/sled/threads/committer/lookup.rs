//! What the committer knows of a messageId at once, and of an event by its number.

use crate::queue::contract::{EntryId, Sent};
use crate::queue::lock::lock;
use crate::queue::sled::disk::StoreError;
use crate::queue::sled::runtime::{IdRecord, OpenState};
use crate::queue::sled::threads::committer::Committer;

impl Committer {
    pub(super) fn look(&self, id_hash: u128) -> Result<IdRecord, StoreError> {
        let horizon = self.horizon();
        let dead = lock(&self.shared.dead).lookup(id_hash);
        let dead = dead.filter(|known| self.ledger.is_dead(known.number));
        let period = |number| self.ledger.period_of(number).map(|p| (p, number));
        Ok(IdRecord {
            dead: dead.and_then(|known| period(known.number)),
            purged: self.purged.number(id_hash),
            known: (self.dedup).find(id_hash, horizon, self.ledger.cursor.low_water())?,
            delivered_at: self.delivered.delivered_at(id_hash, horizon.at),
            deferred: self.ledger.deferred_numbers(),
        })
    }

    pub(super) fn open_state(&self, id: EntryId) -> OpenState {
        if !self.ledger.is_open(id) {
            return OpenState::Settled;
        }
        let marked = self.ledger.marks.get(id).map(|marked| Sent {
            name: Some(marked.name.clone()),
            at: marked.at,
            in_doubt: marked.in_doubt,
        });
        OpenState::Open(marked.or_else(|| {
            // Lost marks, or a queue that was copied.
            self.ledger.is_doubtful(id).then_some(Sent {
                name: None,
                at: self.ledger.state.doubt_since,
                in_doubt: true,
            })
        }))
    }
}
