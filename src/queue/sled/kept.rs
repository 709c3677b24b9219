//! The messageIds of letters that were delivered: remembered for a window from then on.
//!
//! A letter keeps its id known as long as it is there, however long ago its event was accepted.
//! When a letter that was queued again is delivered it is there no more, and what dedup knows of
//! the id may have gone long before: without this the same line would be taken for a new event,
//! and sent a second time. The batch that counts the delivery writes the id too, so there is no
//! instant at which nobody knows it.
//!
//! Rows of `meta`: `k` + number → ids and when each was delivered. The newest row is filled up
//! before the next is begun; a row goes when its youngest id is past the window. A release that
//! does not know them counts the same, and leaves them.

use std::collections::BTreeMap;

use super::batch::Batch;
use super::codec::{Bad, MAX_VALUE, Reader, Writer};
use super::dedup::IdMap;
use super::error::StoreError;
use super::ledger::{number, ranged};
use super::store::Store;
use crate::clock::Millis;

const TAG: u8 = b'k';
/// Ids of a row: 24 bytes each, within the bound of a value.
const ROW_IDS: usize = 240;
const _: () = assert!(ROW_IDS * 24 + 16 <= MAX_VALUE);

/// The ids, and the rows that they stand in.
#[derive(Default)]
pub(super) struct Kept {
    ids: IdMap<Millis>,
    /// Number of a row → when the youngest of its ids was delivered.
    rows: BTreeMap<u64, Millis>,
    /// The number of the row that is being filled, and what is in it.
    filling: (u64, Vec<(u128, Millis)>),
}

impl Kept {
    /// Reads the rows.
    pub(super) fn load(meta: &Store) -> Result<Self, StoreError> {
        let mut kept = Self::default();
        for row in meta.scan(&[TAG], &[TAG + 1]) {
            let (key, value) = row?;
            let (number, ids) = match value.and_then(|value| read(&key, &value)) {
                Ok(read) => read,
                // Ending the process would only meet it again at the next start.
                Err(bad) => {
                    let error = StoreError::bad(meta.path(), "delivered letters", bad);
                    tracing::error!(
                        "{error}; an event whose messageId is in it is taken for new, and may be \
                         sent again"
                    );
                    continue;
                }
            };
            for (id, at) in &ids {
                kept.ids.insert(*id, *at);
                let newest = kept.rows.entry(number).or_insert(*at);
                *newest = (*newest).max(*at);
            }
            kept.filling = (number, ids);
        }
        Ok(kept)
    }

    /// When a letter of this id was delivered, unless that is longer ago than `horizon`.
    pub(super) fn delivered_at(&self, id: u128, horizon: Millis) -> Option<Millis> {
        // Mostly there is none at all, and every event of the line asks.
        if self.ids.is_empty() {
            return None;
        }
        self.ids.get(&id).copied().filter(|at| *at >= horizon)
    }

    /// Letters of these ids are delivered now; `batch` counts that.
    pub(super) fn insert(&mut self, batch: &mut Batch, now: Millis, ids: &[u128]) {
        let mut left = ids;
        while !left.is_empty() {
            if self.filling.1.len() >= ROW_IDS || self.filling.0 == 0 {
                self.filling = (self.filling.0 + 1, Vec::new());
            }
            let (number, row) = &mut self.filling;
            let (these, others) = left.split_at(left.len().min(ROW_IDS - row.len()));
            left = others;
            row.extend(these.iter().map(|id| (*id, now)));
            self.ids.extend(these.iter().map(|id| (*id, now)));
            let newest = self.rows.entry(*number).or_insert(now);
            *newest = (*newest).max(now);
            batch.put(&ranged(TAG, *number), write(row));
        }
    }

    /// Drops up to `limit` rows of which every id is past the window.
    pub(super) fn forget(&mut self, batch: &mut Batch, horizon: Millis, limit: usize) {
        let old = self.rows.iter().filter(|(_, newest)| **newest < horizon);
        let old: Vec<u64> = old.map(|(number, _)| *number).take(limit).collect();
        if old.is_empty() {
            return;
        }
        for number in old {
            self.rows.remove(&number);
            batch.remove(&ranged(TAG, number));
            if self.filling.0 == number {
                // Its number is not given again in this batch, which removes it.
                self.filling = (number + 1, Vec::new());
            }
        }
        self.ids.retain(|_, at| *at >= horizon);
    }
}

fn write(ids: &[(u128, Millis)]) -> Vec<u8> {
    let mut w = Writer::versioned();
    for (id, at) in ids {
        w.u128(*id);
        w.i64(*at);
    }
    w.0
}

fn read(key: &[u8], value: &[u8]) -> Result<(u64, Vec<(u128, Millis)>), Bad> {
    let mut r = Reader::versioned(value)?;
    let mut ids = Vec::with_capacity(r.0.len() / 24);
    while !r.0.is_empty() {
        ids.push((r.u128()?, r.i64()?));
    }
    Ok((number(key)?, ids))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn ids_outlast_a_restart_fill_their_rows_and_go_with_the_window() {
        let home = TempDir::new().unwrap();
        let store = Store::create(&home.path().join("meta")).unwrap();
        let mut kept = Kept::default();
        let commit = |kept: &mut Kept, now, ids: &[u128]| {
            let mut batch = Batch::default();
            kept.insert(&mut batch, now, ids);
            store.commit(batch).unwrap();
        };
        let ids: Vec<u128> = (1..=500).collect();
        commit(&mut kept, 1_000, &ids[..1]);
        commit(&mut kept, 2_000, &ids[1..]);
        assert_eq!(kept.rows.len(), 3, "as few rows as hold them");
        let mut kept = Kept::load(&store).unwrap();
        assert_eq!(kept.delivered_at(1, 1_000), Some(1_000));
        assert_eq!(kept.delivered_at(1, 1_001), None);
        assert_eq!(kept.delivered_at(500, 1_001), Some(2_000));
        // The row that was being filled is filled further.
        commit(&mut kept, 3_000, &[501]);
        assert_eq!(kept.rows.len(), 3);
        // Each delivered once more is remembered from the last time on.
        commit(&mut kept, 4_000, &[2]);
        let mut kept = Kept::load(&store).unwrap();
        assert_eq!(kept.delivered_at(2, 0), Some(4_000));
        let forget = |kept: &mut Kept, horizon| {
            let mut batch = Batch::default();
            kept.forget(&mut batch, horizon, 10);
            store.commit(batch).unwrap();
        };
        forget(&mut kept, 2_500);
        assert_eq!((kept.rows.len(), kept.ids.len()), (1, 2));
        forget(&mut kept, 5_000);
        assert_eq!((kept.rows.len(), kept.ids.len()), (0, 0));
        assert!(Kept::load(&store).unwrap().ids.is_empty());
        commit(&mut kept, 6_000, &[7]);
        assert_eq!(Kept::load(&store).unwrap().delivered_at(7, 0), Some(6_000));
    }
}
