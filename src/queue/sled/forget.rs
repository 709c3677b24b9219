//! Finding all that is of one person, and having it given up.
//!
//! The line first, up to what was accepted when it began; then the letters that are queued again,
//! those that are dead, and the queued ones once more: wherever an event moves meanwhile, it is met.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::queue::contract::{EntryId, Forgotten, LetterFilter, LetterNumber, QueueError, Whose};
use crate::queue::lock::lock;
use crate::queue::sled::engine::{LETTERS, SledEngine};
use crate::queue::sled::numbers::Generation;
use crate::queue::sled::read::theirs;
use crate::queue::sled::runtime::{OperatorOp, Theirs};

impl SledEngine {
    /// See [`Queue::forget`](crate::queue::Queue::forget).
    pub async fn forget(&self, whose: Whose, is_dry_run: bool) -> Result<Forgotten, QueueError> {
        let last = lock(&self.shared().tail).committed();
        let mut forgotten = Forgotten::default();
        let generations = lock(&self.shared().claims).generations.numbers();
        for generation in generations {
            let whose = whose.clone();
            let read = move |shared: Arc<_>| theirs::line(&shared, generation, last, &whose);
            let (events, is_there) = self.beside(read).await?;
            let generations = is_there.then_some(generation).into_iter().collect();
            forgotten.add(self.give_up(events, generations, is_dry_run).await?);
        }
        forgotten.add(self.forget_queued_letters(&whose, is_dry_run).await?);
        forgotten.dead += self.forget_dead_letters(&whose, is_dry_run).await?;
        if !is_dry_run {
            forgotten.add(self.forget_queued_letters(&whose, is_dry_run).await?);
        }
        Ok(forgotten)
    }

    /// Gives up one event that is queued or being sent, if it still is.
    pub async fn drop_one(&self, id: EntryId, id_hash: u128) -> Result<Forgotten, QueueError> {
        self.give_up(vec![(id, id_hash)], BTreeSet::new(), false)
            .await
    }

    async fn give_up(
        &self,
        events: Vec<(EntryId, u128)>,
        mut generations: BTreeSet<Generation>,
        is_dry_run: bool,
    ) -> Result<Forgotten, QueueError> {
        let mut forgotten = Forgotten::default();
        let mut events = events.as_slice();
        while !(events.is_empty() && generations.is_empty()) {
            let (these, rest) = events.split_at(events.len().min(LETTERS));
            let theirs = Theirs {
                events: these.to_vec(),
                generations: std::mem::take(&mut generations),
                is_dry_run,
            };
            let told = self.operator(|reply| OperatorOp::Forget(theirs, reply));
            forgotten.add(told.await?);
            events = rest;
        }
        Ok(forgotten)
    }

    async fn forget_queued_letters(
        &self,
        whose: &Whose,
        is_dry_run: bool,
    ) -> Result<Forgotten, QueueError> {
        let mut forgotten = Forgotten::default();
        for (period, numbers) in self.operator(OperatorOp::Deferred).await? {
            let whose = whose.clone();
            let read = move |shared: Arc<_>| theirs::letters(&shared, period, &numbers, &whose);
            let events = self.beside(read).await?;
            forgotten.add(self.give_up(events, BTreeSet::new(), is_dry_run).await?);
        }
        Ok(forgotten)
    }

    async fn forget_dead_letters(
        &self,
        whose: &Whose,
        is_dry_run: bool,
    ) -> Result<u64, QueueError> {
        let whose = whose.clone();
        let keep: LetterFilter = Arc::new(move |letter| whose(letter.key.id_hash, &letter.body));
        let (mut count, mut from) = (0, LetterNumber(0));
        loop {
            let numbers = from..=LetterNumber(u64::MAX);
            let page = self.dead_page(numbers, keep.clone()).await?;
            let keys: Vec<_> = page.letters.iter().map(|letter| letter.key).collect();
            for keys in keys.chunks(LETTERS) {
                count += match is_dry_run {
                    true => keys.len() as u64,
                    false => {
                        let keys = keys.to_vec();
                        self.operator(|reply| OperatorOp::ForgetDead(keys, reply))
                            .await?
                    }
                };
            }
            match page.next {
                Some(next) => from = next,
                None => return Ok(count),
            }
        }
    }
}
