//! The messageIds of letters that were delivered: remembered for a window from then on.
//!
//! A letter keeps its id known as long as it is there, however long ago its event was accepted.
//! When a letter that was queued again is delivered it is there no more, and what dedup knows of
//! the id may have gone long before: without this the same line would be taken for a new event,
//! and sent a second time. The batch that counts the delivery writes the id too, so there is no
//! instant at which nobody knows it.
//!
//! Rows of `meta`: `k` + number → ids and when each was delivered. The newest row is filled up
//! before the next is begun, but for no longer than a day; a row goes when its youngest id is past
//! the window. A release that does not know them counts the same, and leaves them.

use std::collections::BTreeMap;

use crate::clock::Millis;
use crate::queue::contract::IdMap;
use crate::queue::record::codec::MAX_VALUE;
use crate::queue::sled::account::{Row, rows};
use crate::queue::sled::disk::{Batch, Store, StoreError};

/// Ids of a row: 24 bytes each, within the bound of a value.
const ROW_IDS: usize = 240;
const _: () = assert!(ROW_IDS * 24 + 16 <= MAX_VALUE);
/// No row is filled for longer: its first id would stay for as long as its last is remembered.
const ROW_TIME: Millis = 86_400_000;

/// The ids, and the rows that they stand in.
#[derive(Default)]
pub struct DeliveredLetters {
    ids: IdMap<Millis>,
    /// Number of a row → when the youngest of its ids was delivered.
    rows: BTreeMap<u64, Millis>,
    /// The number of the row that is being filled, and what is in it.
    filling: (u64, Vec<(u128, Millis)>),
}

impl DeliveredLetters {
    /// Reads the rows.
    pub fn load(meta: &Store) -> Result<Self, StoreError> {
        let mut delivered = Self::default();
        for row in Row::DeliveredLetters.all(meta) {
            let (key, value) = row?;
            let (number, ids) = match value.and_then(|value| rows::delivered(&key, &value)) {
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
                delivered.ids.insert(*id, *at);
                let newest = delivered.rows.entry(number).or_insert(*at);
                *newest = (*newest).max(*at);
            }
            delivered.filling = (number, ids);
        }
        Ok(delivered)
    }

    /// When a letter of this id was delivered, unless that is longer ago than `horizon`.
    pub fn delivered_at(&self, id: u128, horizon: Millis) -> Option<Millis> {
        // Mostly there is none at all, and every event of the line asks.
        if self.ids.is_empty() {
            return None;
        }
        self.ids.get(&id).copied().filter(|at| *at >= horizon)
    }

    /// Letters of these ids are delivered now; `batch` counts that.
    pub fn insert(&mut self, batch: &mut Batch, now: Millis, ids: &[u128]) {
        let mut left = ids;
        while !left.is_empty() {
            let begun_at = self.filling.1.first().map_or(now, |(_, at)| *at);
            let is_full = self.filling.1.len() >= ROW_IDS || now - begun_at >= ROW_TIME;
            if is_full || self.filling.0 == 0 {
                self.filling = (self.filling.0 + 1, Vec::new());
            }
            let (number, row) = &mut self.filling;
            let (these, others) = left.split_at(left.len().min(ROW_IDS - row.len()));
            left = others;
            row.extend(these.iter().map(|id| (*id, now)));
            self.ids.extend(these.iter().map(|id| (*id, now)));
            let newest = self.rows.entry(*number).or_insert(now);
            *newest = (*newest).max(now);
            rows::put_delivered(batch, *number, row);
        }
    }

    /// Drops up to `limit` rows of which every id is past the window.
    pub fn forget(&mut self, batch: &mut Batch, horizon: Millis, limit: usize) {
        let old = self.rows.iter().filter(|(_, newest)| **newest < horizon);
        let old: Vec<u64> = old.map(|(number, _)| *number).take(limit).collect();
        if old.is_empty() {
            return;
        }
        for number in old {
            self.rows.remove(&number);
            batch.remove(&Row::DeliveredLetters.numbered(number));
            if self.filling.0 == number {
                // Its number is not given again in this batch, which removes it.
                self.filling = (number + 1, Vec::new());
            }
        }
        self.ids.retain(|_, at| *at >= horizon);
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn ids_outlast_a_restart_fill_their_rows_and_go_with_the_window() {
        let home = TempDir::new().unwrap();
        let store = Store::create(&home.path().join("meta")).unwrap();
        let mut delivered = DeliveredLetters::default();
        let commit = |delivered: &mut DeliveredLetters, now, ids: &[u128]| {
            let mut batch = Batch::default();
            delivered.insert(&mut batch, now, ids);
            store.commit(batch).unwrap();
        };
        let ids: Vec<u128> = (1..=500).collect();
        commit(&mut delivered, 1_000, &ids[..1]);
        commit(&mut delivered, 2_000, &ids[1..]);
        assert_eq!(delivered.rows.len(), 3, "as few rows as hold them");
        let mut delivered = DeliveredLetters::load(&store).unwrap();
        assert_eq!(delivered.delivered_at(1, 1_000), Some(1_000));
        assert_eq!(delivered.delivered_at(1, 1_001), None);
        assert_eq!(delivered.delivered_at(500, 1_001), Some(2_000));
        // The row that was being filled is filled further.
        commit(&mut delivered, 3_000, &[501]);
        assert_eq!(delivered.rows.len(), 3);
        // Each delivered once more is remembered from the last time on.
        commit(&mut delivered, 4_000, &[2]);
        let mut delivered = DeliveredLetters::load(&store).unwrap();
        assert_eq!(delivered.delivered_at(2, 0), Some(4_000));
        let forget = |delivered: &mut DeliveredLetters, horizon| {
            let mut batch = Batch::default();
            delivered.forget(&mut batch, horizon, 10);
            store.commit(batch).unwrap();
        };
        forget(&mut delivered, 2_500);
        assert_eq!((delivered.rows.len(), delivered.ids.len()), (1, 2));
        forget(&mut delivered, 5_000);
        assert_eq!((delivered.rows.len(), delivered.ids.len()), (0, 0));
        assert!(DeliveredLetters::load(&store).unwrap().ids.is_empty());
        commit(&mut delivered, 6_000, &[7]);
        assert_eq!(
            DeliveredLetters::load(&store).unwrap().delivered_at(7, 0),
            Some(6_000)
        );
    }

    /// A row was filled up however long that took: one letter a day kept its oldest id for
    /// months.
    #[test]
    fn an_id_leaves_the_disk_within_a_day_of_its_window() {
        const DAY: Millis = 86_400_000;
        const WINDOW: Millis = 7 * DAY;
        let home = TempDir::new().unwrap();
        let store = Store::create(&home.path().join("meta")).unwrap();
        for day in 0..30 {
            // Each in a life of its own.
            let mut delivered = DeliveredLetters::load(&store).unwrap();
            let mut batch = Batch::default();
            let now = day * DAY;
            delivered.insert(&mut batch, now, &[day as u128]);
            delivered.forget(&mut batch, now - WINDOW, 10);
            store.commit(batch).unwrap();
            let rows = Row::DeliveredLetters.all(&store);
            let ids = rows.flat_map(|row| {
                let (key, value) = row.unwrap();
                rows::delivered(&key, &value.unwrap()).unwrap().1
            });
            let ids: Vec<_> = ids.map(|(_, at)| now - at).collect();
            assert!(ids.iter().all(|age| *age <= WINDOW + DAY), "{day}: {ids:?}");
            assert!(ids.len() as i64 >= (day + 1).min(8), "{day}: {ids:?}");
        }
    }
}
