//! What `status` says.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::queue::{Census, DeadReason, Millis};

/// The gate before Pinterest.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Gate {
    /// `open`, `shut`, `parked` or `paused`.
    pub state: String,
    /// Why it is not open.
    pub reason: Option<String>,
    /// Pinterest's words, without values; the operator's, if it is paused.
    pub detail: Option<String>,
    /// Since when it is not open, Unix milliseconds.
    pub since: Option<Millis>,
    /// When the next probe leaves, Unix milliseconds.
    pub next_probe: Option<Millis>,
    /// When a pause ends by itself, Unix milliseconds.
    pub until: Option<Millis>,
}

/// One look at the daemon. No personal data and no token in it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The daemon's version.
    pub version: &'static str,
    /// `delivering`, `parked`, `backing off`, `paused` or `draining`.
    pub state: String,
    /// `?test=true` is on.
    pub test_mode: bool,
    /// The gate before Pinterest.
    pub gate: Gate,
    /// Events on disk, waiting.
    pub queued: u64,
    /// Events whose request is under way.
    pub sending: u64,
    /// Of both: those Pinterest may have seen.
    pub in_doubt: u64,
    /// Answered `processed`, ever; none in test mode.
    pub delivered: u64,
    /// Answered `processed` in test mode: checked by Pinterest, recorded nowhere. The ledger,
    /// which is the test's own then, has them as delivered.
    pub delivered_test: u64,
    /// Delivered since the start of the process, later than `delivery.late_after`.
    pub late: u64,
    /// Dead letters now, by reason.
    pub dead: BTreeMap<&'static str, u64>,
    /// All dead letters now.
    pub dead_total: u64,
    /// Age of the oldest event that is claimed and not settled, seconds.
    pub oldest_age_seconds: Option<i64>,
    /// The account: accepted = queued + sending + delivered + dead + purged + set_aside.
    pub ledger: Ledger,
    /// The delivery side in detail.
    pub delivery: serde_json::Value,
    /// The moment of this report, Unix milliseconds.
    pub now: Millis,
}

/// The account and its side counts.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Ledger {
    /// Events accepted, ever.
    pub accepted: u64,
    /// On disk, waiting.
    pub queued: u64,
    /// In requests under way.
    pub sending: u64,
    /// Answered `processed`.
    pub delivered: u64,
    /// Dead letters.
    pub dead: u64,
    /// Dead letters deleted by retention or the operator.
    pub purged: u64,
    /// Lost to damage, their number known.
    pub set_aside: u64,
    /// Must be 0.
    pub ledger_imbalance: i64,
    /// Answers `duplicate`.
    pub duplicate: u64,
    /// Answers `ignored`.
    pub ignored: u64,
    /// Answers `rejected`.
    pub rejected: u64,
    /// Dead letters that went back to the queue.
    pub revived: u64,
    /// Times an event in doubt was sent again.
    pub resent: u64,
    /// Of these, later than the 48 hours for which Pinterest remembers an event_id.
    pub resent_late: u64,
}

impl Report {
    /// The counts of `census`; the rest is left for the caller.
    pub fn new(census: &Census, now: Millis) -> Self {
        let dead = DeadReason::ALL
            .iter()
            .map(|r| (r.name(), census.dead[r.index()]));
        Self {
            version: env!("CARGO_PKG_VERSION"),
            queued: census.queued,
            sending: census.sending,
            in_doubt: census.in_doubt,
            delivered: census.delivered,
            dead: dead.collect(),
            dead_total: census.dead_total(),
            oldest_age_seconds: census.oldest_accepted_at.map(|at| (now - at).max(0) / 1000),
            ledger: Ledger {
                accepted: census.accepted,
                queued: census.queued,
                sending: census.sending,
                delivered: census.delivered,
                dead: census.dead_total(),
                purged: census.purged,
                set_aside: census.set_aside,
                ledger_imbalance: census.imbalance(),
                duplicate: census.duplicate,
                ignored: census.ignored,
                rejected: census.rejected,
                revived: census.revived,
                resent: census.resent,
                resent_late: census.resent_late,
            },
            now,
            ..Self::default()
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        // Unwrap safety: maps with string keys and numbers only.
        serde_json::to_string(self).expect("a report is plain data")
    }

    /// One line for the service manager.
    pub fn line(&self) -> String {
        let mut line = format!("{}, {} queued", self.state, self.queued + self.sending);
        if self.gate.state == "paused" {
            let until = match self.gate.until {
                Some(until) => format!("until {}", clock_time(until)),
                None => "until `pinrelay resume`".to_owned(),
            };
            let words = self.gate.detail.as_deref().unwrap_or("no reason given");
            line.push_str(&format!(" ({until}: {words})"));
        } else if let Some(reason) = &self.gate.reason {
            line.push_str(&format!(" ({reason})"));
        }
        if self.test_mode {
            line.push_str(", TEST MODE");
        }
        line
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ago = |at: Millis| (self.now - at).max(0) / 1000;
        write!(f, "pinrelay {}: {}", self.version, self.state)?;
        if self.test_mode {
            write!(f, " (TEST MODE: Pinterest records nothing)")?;
        }
        writeln!(f)?;
        if let Some(reason) = &self.gate.reason {
            write!(f, "  gate       {}: {reason}", self.gate.state)?;
            if let Some(since) = self.gate.since {
                write!(f, ", for {} s", ago(since))?;
            }
            if let Some(next) = self.gate.next_probe {
                write!(f, ", next probe in {} s", (next - self.now).max(0) / 1000)?;
            }
            if let Some(until) = self.gate.until {
                write!(f, ", until {}", clock_time(until))?;
            }
            writeln!(f)?;
            if let Some(detail) = &self.gate.detail {
                writeln!(f, "             {detail}")?;
            }
        }
        writeln!(f, "  queued     {}", self.queued)?;
        writeln!(f, "  sending    {}", self.sending)?;
        writeln!(f, "  in doubt   {}", self.in_doubt)?;
        match self.test_mode {
            true => writeln!(f, "  delivered  {} in test mode", self.delivered_test)?,
            false => writeln!(f, "  delivered  {}", self.delivered)?,
        }
        if self.late > 0 {
            writeln!(f, "  late       {} of them since the start", self.late)?;
        }
        writeln!(f, "  dead       {}", self.dead_total)?;
        for (reason, count) in self.dead.iter().filter(|(_, count)| **count > 0) {
            writeln!(f, "    {reason:<16} {count}")?;
        }
        if let Some(age) = self.oldest_age_seconds {
            writeln!(f, "  oldest     {age} s")?;
        }
        let l = &self.ledger;
        writeln!(
            f,
            "  ledger     {} accepted = {} queued + {} sending + {} delivered + {} dead + {} purged \
             + {} set aside{}",
            l.accepted,
            l.queued,
            l.sending,
            l.delivered,
            l.dead,
            l.purged,
            l.set_aside,
            match l.ledger_imbalance {
                0 => String::new(),
                off => format!(" (OFF BY {off})"),
            }
        )?;
        writeln!(
            f,
            "  answers    {} duplicate, {} ignored, {} rejected; {} revived, {} resent in doubt ({} past 48 h)",
            l.duplicate, l.ignored, l.rejected, l.revived, l.resent, l.resent_late
        )
    }
}

/// To the second, in UTC.
fn clock_time(at: Millis) -> String {
    jiff::Timestamp::from_millisecond(at).map_or_else(
        |_| "another age".to_owned(),
        |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}
