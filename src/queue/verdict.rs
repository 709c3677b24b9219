//! What a check of the whole queue finds.

use std::fmt;

use serde::{Deserialize, Serialize};

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

/// How much was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Stores of events.
    pub generations: u64,
    /// Events read and unpacked, settled ones included.
    pub events: u64,
    /// Dead letters read and unpacked.
    pub dead_letters: u64,
    /// Remembered messageIds read.
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
            "read {} events in {} generations, {} dead letters, {} remembered messageIds",
            c.events, c.generations, c.dead_letters, c.message_ids
        )?;
        if let Some(undelivered) = self.undelivered {
            writeln!(
                f,
                "{undelivered} of them are undelivered, dead letters included"
            )?;
        }
        match self.findings.len() {
            0 => writeln!(f, "the queue holds what it promised; ledger_imbalance 0"),
            n => writeln!(
                f,
                "{n} finding{}; ledger_imbalance {}",
                if n == 1 { "" } else { "s" },
                self.ledger_imbalance
            ),
        }
    }
}
