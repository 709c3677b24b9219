//! No more calls than the account may make.

use std::time::Duration;

use tokio::time::Instant;

use super::destination::Signals;
use super::options::CallLimit;

/// So long a header may slow calls down; a longer one is garbled, and may be too long to reckon
/// with at all.
const LONGEST: Duration = Duration::from_secs(3600);
/// A wait that headers ask for is shown from this length on; shorter ones are even pacing.
const SHOWN: Duration = Duration::from_secs(2);

/// A token bucket, tightened by what the destination's headers say is left.
#[derive(Debug)]
pub(super) struct Pace {
    limit: CallLimit,
    /// Calls a minute, as the headers said last.
    told: Option<u32>,
    per_second: Option<f64>,
    /// Tokens per second; `None`: no limit.
    rate: Option<f64>,
    burst: f64,
    tokens: f64,
    filled_at: Instant,
    last_sent: Option<Instant>,
    header_limit: Option<HeaderLimit>,
}

/// What the last answer's headers allow.
#[derive(Debug, Clone, Copy)]
struct HeaderLimit {
    since: Instant,
    until: Instant,
    /// Between two calls; `None`: none may leave before `until`.
    gap: Option<Duration>,
}

impl Pace {
    /// No more calls in any minute than `limit` says, and at most `per_second` a second.
    pub fn new(limit: CallLimit, per_second: Option<f64>, now: Instant) -> Self {
        let (rate, burst) = rate(limit.per_minute(None), per_second);
        Self {
            limit,
            told: None,
            per_second,
            rate,
            burst,
            tokens: burst,
            filled_at: now,
            last_sent: None,
            header_limit: None,
        }
    }

    /// Goes on with another limit. What the headers said of the account stays true.
    pub fn change(&mut self, limit: CallLimit, per_second: Option<f64>) {
        (self.limit, self.per_second) = (limit, per_second);
        self.adapt();
    }

    fn adapt(&mut self) {
        (self.rate, self.burst) = rate(self.limit.per_minute(self.told), self.per_second);
        self.tokens = self.tokens.min(self.burst);
    }

    /// Calls a minute, as it is now; 0: no limit.
    pub fn per_minute(&self) -> u32 {
        let most = self.limit.per_minute(self.told);
        match self.per_second.map(|calls| (calls * 60.0) as u32) {
            Some(tests) if most == 0 || tests < most => tests,
            _ => most,
        }
    }

    /// When the next call may leave: now or later.
    pub fn next(&mut self, now: Instant) -> Instant {
        let mut next = now;
        if let Some(rate) = self.rate {
            let elapsed = now.saturating_duration_since(self.filled_at).as_secs_f64();
            self.tokens = (self.tokens + elapsed * rate).min(self.burst);
            self.filled_at = now;
            if self.tokens < 1.0 {
                // A timer wakes at whole milliseconds; a little more avoids a vain wake-up.
                let wait = (1.0 - self.tokens) / rate + 1e-4;
                next = now + Duration::from_secs_f64(wait);
            }
        }
        if let Some(limit) = self.header_limit {
            next = next.max(self.header_opens(limit));
            if now >= limit.until {
                self.header_limit = None;
            }
        }
        next
    }

    /// When the headers allow the next call.
    fn header_opens(&self, limit: HeaderLimit) -> Instant {
        let opens = match (limit.gap, self.last_sent) {
            (Some(gap), Some(last)) => last + gap,
            (Some(_), None) => limit.since,
            (None, _) => limit.until,
        };
        opens.min(limit.until)
    }

    /// Since when and until when no call may leave for what the headers said, if that is long.
    pub fn held(&self, now: Instant) -> Option<(Instant, Instant)> {
        let limit = self.header_limit?;
        let opens = self.header_opens(limit);
        let is_long = opens.saturating_duration_since(limit.since) >= SHOWN;
        (now < opens && is_long).then_some((limit.since, opens))
    }

    /// Forgets what the headers said: a word of the operator's, or another token.
    pub fn forget_headers(&mut self) {
        self.header_limit = None;
    }

    /// A call leaves.
    pub fn take(&mut self, now: Instant) {
        if self.rate.is_some() {
            self.tokens -= 1.0;
        }
        self.last_sent = Some(now);
    }

    /// Takes the headers of an answer; `in_flight` calls may not be counted in them yet. Says until
    /// when no call may leave, where that is long and is news.
    pub fn observe_headers(
        &mut self,
        now: Instant,
        signals: &Signals,
        in_flight: usize,
    ) -> Option<Instant> {
        if signals.per_minute.is_some() && signals.per_minute != self.told {
            // What has gathered until now was at the rate of before.
            self.next(now);
            self.told = signals.per_minute;
            self.adapt();
        }
        let (Some(remaining), Some(reset)) = (signals.remaining, signals.reset) else {
            return None;
        };
        let before = self.held(now);
        let reset = reset.min(LONGEST);
        let left = remaining.saturating_sub(in_flight as u64);
        let gap = (left > 0).then(|| reset.div_f64(left as f64));
        self.header_limit = Some(HeaderLimit {
            since: before.map_or(now, |(since, _)| since),
            until: now + reset,
            gap,
        });
        let (_, until) = self.held(now).filter(|_| before.is_none())?;
        Some(until)
    }
}

/// Rate and burst such that no window of a minute holds more than `per_minute` calls.
fn rate(per_minute: u32, per_second: Option<f64>) -> (Option<f64>, f64) {
    let calls = f64::from(per_minute);
    let burst = (calls / 1200.0).floor().clamp(1.0, 20.0);
    let configured = (per_minute > 0).then(|| (calls - burst).max(1.0) / 60.0);
    match (configured, per_second) {
        (Some(rate), Some(most)) => (Some(rate.min(most)), 1.0),
        (None, Some(most)) => (Some(most), 1.0),
        (rate, None) => (rate, burst),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_LIMIT: CallLimit = CallLimit::AtMost(0);

    /// Times at which a sender that never pauses sends, in milliseconds.
    fn run(pace: &mut Pace, start: Instant, calls: usize) -> Vec<u64> {
        let mut now = start;
        let mut sent = Vec::new();
        while sent.len() < calls {
            let next = pace.next(now);
            if next > now {
                now = next;
                continue;
            }
            pace.take(now);
            sent.push((now - start).as_millis() as u64);
        }
        sent
    }

    #[test]
    fn no_minute_holds_more_calls_than_allowed_and_few_less() {
        let start = Instant::now();
        for per_minute in [1, 7, 60, 5000] {
            let mut pace = Pace::new(CallLimit::AtMost(per_minute), None, start);
            let sent = run(&mut pace, start, 2 * per_minute as usize + 2);
            for (i, at) in sent.iter().enumerate() {
                let within = sent[i..].iter().filter(|t| **t < at + 60_000).count();
                assert!(within <= per_minute as usize, "{per_minute}: {within}");
            }
            if per_minute == 5000 {
                let first = sent.iter().filter(|t| **t < 60_000).count();
                assert!(first > 4950, "{first}");
            }
        }
    }

    #[test]
    fn nought_is_no_limit_and_test_mode_ten_a_second() {
        let start = Instant::now();
        assert_eq!(
            run(&mut Pace::new(NO_LIMIT, None, start), start, 1000)[999],
            0
        );
        let sent = run(&mut Pace::new(NO_LIMIT, Some(10.0), start), start, 101);
        assert!((9_900..10_200).contains(&sent[100]), "{}", sent[100]);
        let sent = run(
            &mut Pace::new(CallLimit::AtMost(60), Some(10.0), start),
            start,
            11,
        );
        assert!(sent[10] >= 9_900, "the tighter of both: {}", sent[10]);
    }

    #[test]
    fn the_headers_say_how_many_calls_a_minute_up_and_down() {
        let start = Instant::now();
        let hear = |pace: &mut Pace, calls| {
            let signals = Signals {
                per_minute: Some(calls),
                ..Signals::default()
            };
            pace.observe_headers(start, &signals, 0);
        };
        let mut auto = Pace::new(CallLimit::Auto, None, start);
        assert_eq!(auto.per_minute(), 5000);
        hear(&mut auto, 120_000);
        assert_eq!(auto.per_minute(), 120_000);
        let sent = run(&mut auto, start, 100_000);
        let first = sent.iter().filter(|at| **at < 30_000).count();
        assert!((58_000..=60_040).contains(&first), "{first}");
        hear(&mut auto, 60);
        assert_eq!(auto.per_minute(), 60);
        let from = start + Duration::from_secs(100_000);
        let sent = run(&mut auto, from, 61);
        assert!(sent[60] >= 59_000, "{}", sent[60]);
        // Never above what is configured.
        let mut at_most = Pace::new(CallLimit::AtMost(600), None, start);
        hear(&mut at_most, 120_000);
        assert_eq!(at_most.per_minute(), 600);
        hear(&mut at_most, 60);
        assert_eq!(at_most.per_minute(), 60);
        at_most.change(CallLimit::Auto, None);
        assert_eq!(at_most.per_minute(), 60, "the account is the same");
        let mut none = Pace::new(NO_LIMIT, None, start);
        hear(&mut none, 60);
        assert_eq!(none.per_minute(), 0, "for benches");
    }

    #[test]
    fn headers_tighten_until_the_reset() {
        let start = Instant::now();
        let mut pace = Pace::new(NO_LIMIT, None, start);
        let hear = |pace: &mut Pace, remaining, in_flight| {
            let signals = Signals {
                remaining: Some(remaining),
                reset: Some(Duration::from_secs(10)),
                ..Signals::default()
            };
            pace.observe_headers(start, &signals, in_flight);
        };
        hear(&mut pace, 2, 2);
        assert_eq!(run(&mut pace, start, 1), [10_000]);
        hear(&mut pace, 6, 1);
        pace.last_sent = Some(start);
        assert_eq!(run(&mut pace, start, 3), [2_000, 4_000, 6_000]);
    }
}
