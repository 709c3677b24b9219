//! Lines and requests that bring nothing (blank, rejected) are read slowly when a client sends little else,
//! so that a flood of them does not take the processor from clients that send events.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What one such line costs, all such clients together: 10,000 a second.
pub(super) const LINE: Duration = Duration::from_micros(100);
/// What one such request costs, likewise: 200 a second.
pub(super) const REQUEST: Duration = Duration::from_millis(5);
/// A wait longer than this is logged, once per [`SPELL`].
const LOGGED: Duration = Duration::from_secs(1);
/// After so long without such a wait the next one is logged again.
const SPELL: Duration = Duration::from_secs(60);

/// So many more of them than of others are free: one bad line among good ones, or a blank one to
/// keep a connection alive, must not wait behind the floods of others.
const FREE: u32 = 32;

/// The lines of one client since it last paid, or owed nothing.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) wasted: u32,
    pub(super) useful: u32,
}

impl Tally {
    /// Adds what else the client sent.
    pub(super) fn add(&mut self, other: Self) {
        self.wasted = self.wasted.saturating_add(other.wasted);
        self.useful = self.useful.saturating_add(other.useful);
    }

    /// How many lines have to be paid for now.
    fn take(&mut self) -> Option<u32> {
        if self.wasted > self.useful.saturating_add(FREE) {
            return Some(std::mem::take(self).wasted);
        }
        if self.wasted <= self.useful {
            // Good lines of long ago pay for no flood.
            *self = Self::default();
        }
        None
    }
}

/// The debt that clients of this kind share. It is shared, or many clients would do what one
/// may not.
#[derive(Default)]
pub(super) struct Flood(Mutex<Debt>);

#[derive(Default)]
struct Debt {
    /// When the lines so far are paid for.
    paid: Option<Instant>,
    /// When a wait was last logged.
    logged: Option<Instant>,
}

impl Flood {
    /// When the client of this tally may be read again, if each of what it wasted costs so much;
    /// `None`: at once.
    pub(super) fn after(&self, tally: &mut Tally, cost: Duration, now: Instant) -> Option<Instant> {
        let wasted = tally.take()?;
        let mut debt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let paid = debt.paid.map_or(now, |paid| paid.max(now)) + cost * wasted;
        debt.paid = Some(paid);
        let is_news = debt.logged.is_none_or(|logged| now - logged > SPELL);
        if paid - now > LOGGED && is_news {
            debt.logged = Some(now);
            tracing::warn!(
                "clients flood ingest with lines or requests that are rejected or blank: they are \
                 read slowly; their answers say what is wrong with them"
            );
        }
        Some(paid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn floods_share_one_debt_and_events_pay_nothing() {
        let flood = Flood::default();
        let now = Instant::now();
        let sent = |wasted, useful, now| flood.after(&mut Tally { wasted, useful }, LINE, now);
        assert_eq!(sent(0, 0, now), None);
        assert_eq!(sent(500, 500, now), None);
        let first = sent(1000, 10, now).expect("a wait");
        assert_eq!(first - now, Duration::from_millis(100));
        let second = sent(1000, 0, now).expect("a wait");
        assert_eq!(second - now, Duration::from_millis(200));
        // Good clients go on meanwhile, and a debt that is paid is forgotten.
        assert_eq!(sent(1, 1000, now), None);
        let later = now + Duration::from_secs(10);
        assert_eq!(sent(33, 0, later), Some(later + LINE * 33));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bad_line_does_not_wait_behind_the_floods_of_others() {
        let flood = Flood::default();
        let now = Instant::now();
        for _ in 0..1000 {
            flood.after(
                &mut Tally {
                    wasted: 1000,
                    useful: 0,
                },
                LINE,
                now,
            );
        }
        let mut honest = Tally::default();
        for _ in 0..1000 {
            honest.wasted += 1;
            assert_eq!(flood.after(&mut honest, LINE, now), None);
            honest.useful += 1;
            assert_eq!(flood.after(&mut honest, LINE, now), None);
        }
        // Its good lines are no credit for a flood, one by one or not.
        let free = (0..1000).take_while(|_| {
            honest.wasted += 1;
            flood.after(&mut honest, LINE, now).is_none()
        });
        assert_eq!(free.count(), FREE as usize);
    }
}
