//! Turns that are lost at any instant, to another who stands by or to nobody.

use std::time::Duration;

use rand::RngExt;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::super::super::status::DrainEnd;
use super::super::world::SECOND;
use super::{HEALED, Run, fixture};

/// Told apart from the seed of the schedule itself.
const SALT: u64 = 0x7475_726e << 16;
/// Who deliver and stand by at a time at most.
const MOST: usize = 3;

impl Run {
    /// From here on the turn is lost at random instants, in the middle of a write, a request or
    /// nothing, until trouble ends.
    pub(super) fn loses_turns(&mut self) -> JoinHandle<()> {
        let mut rng = fixture::rng(self.seed ^ SALT);
        let (world, pokes) = (self.world.clone(), self.pokes.clone());
        let most = if rng.random_ratio(1, 4) { 1500 } else { 20 };
        self.write_takes = Duration::from_millis(2 * most);
        tokio::spawn(async move {
            while world.started.elapsed() < HEALED {
                let mut takes = || Duration::from_millis(rng.random_range(0..=most));
                world.engine.writes_take(takes(), takes());
                // From within moments of each other to a while.
                let apart = 200 * 10_u64.pow(rng.random_range(0..=3));
                sleep(Duration::from_millis(rng.random_range(0..apart))).await;
                world.lose_turn();
                pokes.lock().unwrap().push(world.started.elapsed());
            }
        })
    }

    /// What happens to several who share a queue: to all that there are, or to one of them.
    pub(super) async fn passes_on(&mut self) {
        let before = self.counts().await;
        sleep(self.rng.random_range(0..5000) * SECOND / 1000).await;
        for (before, after) in before.iter().zip(self.counts().await) {
            let goes_on = before
                .iter()
                .zip(after)
                .all(|(before, after)| *before <= after);
            assert!(goes_on, "{before:?} went back to {after:?}");
        }
        match self.rng.random_range(0..8) {
            0 | 1 if self.handles.len() < MOST => self.start(),
            2 if self.handles.len() > 1 => {
                // It dies alone, whether or not it has the turn, and leaves nothing in order.
                let one = self.rng.random_range(0..self.handles.len());
                self.world.lose_turn();
                drop(self.handles.swap_remove(one));
                self.poke();
            }
            3 => self.stops_in_order().await,
            _ => self.happens().await,
        }
    }

    /// One of them is told to stop, and goes when it has nothing in hand, or at its deadline;
    /// whoever stands by goes on.
    async fn stops_in_order(&mut self) {
        let one = self.rng.random_range(0..self.handles.len());
        let patience = self.rng.random_range(0..20_000) * SECOND / 1000;
        let handle = self.handles.swap_remove(one);
        let others = self.handles.len();
        let begun = Instant::now();
        let report = handle.drain(begun + patience).await;
        self.poke();
        // The last settlements may take their time.
        assert!(begun.elapsed() < patience + 10 * SECOND, "{report:?}");
        match report.end {
            DrainEnd::HandedOver => assert!(others > 0, "to nobody: {report:?}"),
            DrainEnd::Empty => assert_eq!(report.queued, 0),
            DrainEnd::Deadline | DrainEnd::GateClosed => {}
            DrainEnd::Abandoned | DrainEnd::QueueStopped => panic!("{report:?}"),
        }
        assert!(report.in_doubt <= report.queued, "{report:?}");
        drop(handle);
        if others == 0 {
            self.start();
        }
    }

    /// What each counts: neither a turn that is lost nor one that begins takes any of it back.
    async fn counts(&self) -> Vec<[u64; 4]> {
        let mut all = Vec::new();
        for handle in &self.handles {
            let status = handle.status().await;
            let requests = status.requests.total();
            all.push([status.delivered, status.dead, status.deferred, requests]);
        }
        all
    }
}
