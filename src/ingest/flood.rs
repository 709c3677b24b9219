//! Lines that bring nothing (blank, rejected) are read slowly when a client sends little else,
//! so that a flood of them does not take the processor from clients that send events.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What one such line costs, all such clients together: 10,000 a second.
const COST: Duration = Duration::from_micros(100);
/// A wait longer than this is told, once per [`super::SPELL`].
const TOLD: Duration = Duration::from_secs(1);

/// The debt that clients of this kind share. A shared one, for else many clients would do what
/// one may not.
#[derive(Default)]
pub(super) struct Flood(Mutex<Debt>);

#[derive(Default)]
struct Debt {
    /// When the lines so far are paid for.
    paid: Option<Instant>,
    told: Option<Instant>,
}

impl Flood {
    /// When a client may be read again that sent `wasted` lines for nothing beside `useful`
    /// ones; `None`: at once.
    pub(super) fn after(&self, wasted: u32, useful: u32, now: Instant) -> Option<Instant> {
        if wasted <= useful {
            return None;
        }
        let mut debt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let paid = debt.paid.map_or(now, |paid| paid.max(now)) + COST * wasted;
        debt.paid = Some(paid);
        let tell = debt.told.is_none_or(|told| now - told > super::SPELL);
        if paid - now > TOLD && tell {
            debt.told = Some(now);
            tracing::warn!(
                "clients flood the ingest socket with lines that are rejected or blank: they are \
                 read slowly; their answers say what is wrong with the lines"
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
        assert_eq!(flood.after(0, 0, now), None);
        assert_eq!(flood.after(500, 500, now), None);
        let first = flood.after(1000, 10, now).expect("a wait");
        assert_eq!(first - now, Duration::from_millis(100));
        let second = flood.after(1000, 0, now).expect("a wait");
        assert_eq!(second - now, Duration::from_millis(200));
        // Good clients go on meanwhile, and a debt that is paid is forgotten.
        assert_eq!(flood.after(1, 1000, now), None);
        let later = now + Duration::from_secs(10);
        assert_eq!(flood.after(1, 0, later), Some(later + COST));
    }
}
