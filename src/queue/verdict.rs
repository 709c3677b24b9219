//! What a check of the whole queue finds.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::census::Census;

/// One thing that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The file, store or events.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    pub next: String,
}

/// The account as it was found, in the words and numbers of `status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Events accepted, ever.
    pub accepted: u64,
    /// Waiting to be sent; of a queue that is stopped all that is not settled.
    pub queued: u64,
    /// In requests under way.
    pub sending: u64,
    /// Of both: those that Pinterest may have seen.
    pub in_doubt: u64,
    /// Answered `processed`.
    pub delivered: u64,
    /// Dead letters now.
    pub dead: u64,
    /// Dead letters deleted, and events forgotten.
    pub purged: u64,
    /// Lost to damage, their number known.
    pub set_aside: u64,
}

impl From<&Census> for Account {
    fn from(census: &Census) -> Self {
        Self {
            accepted: census.accepted,
            queued: census.queued,
            sending: census.sending,
            in_doubt: census.in_doubt,
            delivered: census.delivered,
            dead: census.dead_total(),
            purged: census.purged,
            set_aside: census.set_aside,
        }
    }
}

/// How much was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Stores of events.
    pub generations: u64,
    /// Events read and unpacked, settled ones included.
    pub events: u64,
    /// Dead letters whose bytes were read: those that are dead now, none that was queued again or
    /// purged.
    pub dead_letters: u64,
    /// Remembered messageIds that were read, in files of their own or beside their events.
    pub message_ids: u64,
}

/// The outcome of `pinrelay verify`. No personal data is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Empty where the promise holds.
    pub findings: Vec<Finding>,
    /// What is damaged and costs nothing, and what lies in quarantine.
    pub notes: Vec<String>,
    /// How much was looked at.
    pub checked: Checked,
    /// Accepted events that are neither delivered nor purged: those that wait, and the dead
    /// letters. Unknown where the account cannot be read.
    pub undelivered: Option<u64>,
    /// The account. Unknown where it cannot be read.
    pub ledger: Option<Account>,
    /// What the account is off by; 0 or there is a finding.
    pub ledger_imbalance: i64,
}

impl Verdict {
    /// As JSON.
    pub fn to_json(&self) -> String {
        // Unwrap safety: strings and numbers only.
        serde_json::to_string(self).expect("a verdict is plain data")
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "FOUND {}: {}", finding.object, finding.what)?;
            writeln!(f, "      next: {}", finding.next)?;
        }
        for note in &self.notes {
            writeln!(f, "note  {note}")?;
        }
        let c = &self.checked;
        writeln!(
            f,
            "read {} events in {} store{} (those whose bytes are still there, delivered ones \
             among them), {} dead letters, {} remembered messageIds",
            c.events,
            c.generations,
            if c.generations == 1 { "" } else { "s" },
            c.dead_letters,
            c.message_ids
        )?;
        if let Some(l) = &self.ledger {
            writeln!(
                f,
                "holds {} accepted = {} queued + {} sending + {} delivered + {} dead + {} purged + \
                 {} set aside, as `pinrelay status` counts them",
                l.accepted, l.queued, l.sending, l.delivered, l.dead, l.purged, l.set_aside
            )?;
            writeln!(
                f,
                "      {} are not delivered yet: {} wait or are being sent, {} of them in doubt; {} \
                 are dead letters (`pinrelay dead list`)",
                l.queued + l.sending + l.dead,
                l.queued + l.sending,
                l.in_doubt,
                l.dead
            )?;
        }
        match self.findings.len() {
            0 => writeln!(f, "the queue holds what it promised"),
            n => writeln!(
                f,
                "{n} thing{} found; the ledger is off by {}",
                if n == 1 { "" } else { "s" },
                self.ledger_imbalance
            ),
        }
    }
}
