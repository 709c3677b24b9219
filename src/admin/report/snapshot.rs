//! One look at the daemon, as data: the JSON of `GET /status`, and its one line.

use std::collections::BTreeMap;
use std::fmt;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::clock::{Doubt, Millis, Standing};
use crate::deliver;
use crate::moment;
use crate::queue::{Census, DeadReason, Disk, Loss};

/// The gate before Pinterest.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Gate {
    /// `open`, `shut`, `parked` or `paused`.
    pub state: String,
    /// Why it is not open; of one that is, what the last attempts failed of.
    pub reason: Option<String>,
    /// Pinterest's words, without values; the operator's, if it is paused.
    pub detail: Option<String>,
    /// Since when it is so, Unix milliseconds.
    pub since: Option<Millis>,
    /// When the next probe leaves, or the next try of what failed, Unix milliseconds.
    pub next_probe: Option<Millis>,
    /// When a pause or a wait for calls ends by itself, Unix milliseconds.
    pub until: Option<Millis>,
}

/// Where events go, and by whose word.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Destination {
    /// What requests are posted to.
    pub url: String,
    /// The ad account.
    pub ad_account_id: String,
    /// The config file; `null`: none, the environment alone.
    pub config: Option<String>,
    /// Where `pinterest.base_url` comes from, a line of the file or a variable, if it is not
    /// Pinterest's own.
    pub elsewhere: Option<String>,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.config.as_deref().unwrap_or("none");
        // The account is named once.
        let url = self.url.split("/ad_accounts/").next().unwrap_or_default();
        let Self { ad_account_id, .. } = self;
        write!(
            f,
            "POST {url}/… for ad account {ad_account_id}, config {config}"
        )
    }
}

/// One look at the daemon. No personal data and no token in it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The daemon's version.
    pub version: String,
    /// `delivering`, `parked`, `backing off`, `paused` or `draining`.
    pub state: String,
    /// `?test=true` is on.
    pub test_mode: bool,
    /// Where events go.
    pub destination: Destination,
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
    pub dead: BTreeMap<String, u64>,
    /// All dead letters now.
    pub dead_total: u64,
    /// When the oldest event of the line that is not settled was accepted, Unix milliseconds.
    /// Events set apart are not counted here.
    pub oldest_accepted_at: Option<Millis>,
    /// Its age, seconds.
    pub oldest_age_seconds: Option<i64>,
    /// The oldest one waits longer than `notify.backlog_age`.
    pub backlog_is_late: bool,
    /// Why no events come in; empty while they do.
    pub not_accepting: Vec<String>,
    /// When this process began, Unix milliseconds.
    pub started_at: Millis,
    /// What it has done since.
    pub since_start: SinceStart,
    /// Events a second over the last minute.
    pub rates: PerSecond,
    /// Requests that ended since the start, and how long they took.
    pub requests: Took,
    /// Room on disk.
    pub disk: Disk,
    /// The account: accepted = queued + sending + delivered + dead + purged + set_aside.
    pub ledger: Ledger,
    /// What was lost to damage and is not acknowledged.
    pub losses: Vec<Loss>,
    /// The delivery side in detail.
    pub delivery: deliver::Status,
    /// What of the events could not be read as it stands.
    pub notes: NotesCounted,
    /// What each rule of `[consent]` and `[[filters]]` did since the start, by its name.
    pub rules: Vec<RuleCount>,
    /// Whether the wall clock is believed, and what is waited for if not.
    pub clock: Standing,
    /// Lines of the log since the start that nobody will see: its reader did not take them.
    pub log_lines_dropped: u64,
    /// The moment of this report, Unix milliseconds.
    pub now: Millis,
}

/// What one rule did since the start of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuleCount {
    /// `consent[…]`, the name of a filter, or `filters[1]`.
    pub rule: String,
    /// `consent` or `filtered`; `null`: a filter that lets events go.
    pub reason: Option<String>,
    /// Events that it kept back, which were answered `ignored`.
    pub kept_back: u64,
    /// Of a filter: the events that it meant since it says what it says.
    pub matched: u64,
    /// When it meant one last since the start, Unix milliseconds; `null`: never.
    pub last_matched: Option<Millis>,
    /// Events that were judged since then.
    pub judged: u64,
    /// Since when that is, Unix milliseconds.
    pub since: Millis,
    /// Whether it still is: a reload may have taken it away.
    pub in_effect: bool,
}

/// Notes of events that were delivered or died, by field and word.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NotesCounted {
    /// Within the last hour, the most first.
    pub last_hour: Vec<NoteCount>,
    /// Since the start of the process.
    pub since_start: Vec<NoteCount>,
    /// Of money, time and match key within the last quarter of an hour, the most first.
    pub lately: Vec<NoteCount>,
    /// Events delivered within the last quarter of an hour.
    pub delivered_lately: u64,
    /// Of these, those with a note of money, time or match key.
    pub delivered_lately_noted: u64,
}

/// How many notes there are of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NoteCount {
    /// The wire field, `items` or `line`.
    pub field: String,
    /// What is wrong with it.
    pub word: String,
    /// How many.
    pub count: u64,
}

/// Counts of this process.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SinceStart {
    /// Events accepted.
    pub accepted: u64,
    /// Events delivered.
    pub delivered: u64,
    /// Events that became dead letters.
    pub dead: u64,
    /// Events that came without a messageId and were given one.
    pub message_ids_made: u64,
}

/// So many things, and how long they took together.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Took {
    /// How many.
    pub count: u64,
    /// Seconds, all of them together.
    pub seconds: f64,
}

/// Events a second.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PerSecond {
    /// Accepted.
    pub accepted: f64,
    /// Delivered.
    pub delivered: f64,
}

/// The account and its side counts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
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
    #[serde(rename = "revived")]
    pub retried: u64,
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
            .map(|r| (r.name().to_owned(), census.dead[r.index()]));
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            queued: census.queued,
            sending: census.sending,
            in_doubt: census.in_doubt,
            delivered: census.delivered,
            dead: dead.collect(),
            dead_total: census.dead_total(),
            oldest_accepted_at: census.oldest_accepted_at,
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
                retried: census.retried,
                resent: census.resent,
                resent_late: census.resent_late,
            },
            now,
            ..Self::default()
        }
    }

    /// Whether something speaks against the wall clock; of a new queue's nothing speaks for it
    /// either, which is no trouble.
    pub fn clock_is_suspect(&self) -> bool {
        (self.clock.doubt).is_some_and(|doubt| doubt != Doubt::Unconfirmed)
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        // Unwrap safety: maps with string keys and numbers only.
        serde_json::to_string(self).expect("a report is plain data")
    }

    /// One line for the service manager; times in `zone`.
    pub fn line(&self, zone: &TimeZone) -> String {
        let mut line = format!("{}, {} queued", self.state, self.queued + self.sending);
        if self.gate.state == "paused" {
            let until = match self.gate.until {
                Some(until) => format!("until {}", moment::dated(until, zone)),
                None => "until `pinrelay resume`".to_owned(),
            };
            let detail = self.gate.detail.as_deref().unwrap_or("no reason given");
            line.push_str(&format!(" ({until}: {detail})"));
        } else if let Some(reason) =
            (self.gate.reason.as_ref()).filter(|_| self.gate.state != "open")
        {
            line.push_str(&format!(" ({reason})"));
        }
        if self.test_mode {
            line.push_str(", TEST MODE");
        }
        if self.clock_is_suspect() {
            line.push_str(", clock not believed");
        }
        line
    }
}
