//! The account at the end, and whether it adds up.

use std::fmt;

use super::shop::{Expected, REFUSAL};
use super::stage::Status;
use crate::cli::send::Tally;
use crate::mock_pinterest::{Seen, Totals};

/// Everything that was counted, by everyone who counts.
#[derive(Clone)]
pub struct Books {
    /// Lines sent.
    pub lines: u64,
    /// What has to come of them.
    pub expected: Expected,
    /// The daemon's answers.
    pub tally: Tally,
    /// Events in doubt after the crash.
    pub in_doubt: u64,
    /// The daemon's account.
    pub status: Status,
    /// The stand-in's sums.
    pub totals: Totals,
    /// The stand-in's events.
    pub seen: Vec<Seen>,
}

impl Books {
    /// What does not add up.
    pub fn wrong(&self) -> Vec<String> {
        let (ledger, tally, expected) = (&self.status.ledger, &self.tally, &self.expected);
        let mut wrong = Vec::new();
        let mut equal = |what: &str, found: u64, due: u64| {
            if found != due {
                wrong.push(format!("{what}: {found}, and not {due}"));
            }
        };
        equal("lines answered", tally.total(), self.lines);
        equal("answers `queued`", tally.queued, expected.queued);
        equal("answers `duplicate`", tally.duplicate, expected.duplicate);
        equal("answers `ignored`", tally.ignored, expected.ignored);
        equal("events accepted", ledger.accepted, tally.queued);
        let accounted = ledger.queued
            + ledger.sending
            + ledger.delivered
            + ledger.dead
            + ledger.purged
            + ledger.set_aside;
        equal("events accounted for", accounted, ledger.accepted);
        let dead = |reason: &str| self.status.dead.get(reason).copied().unwrap_or_default();
        equal("dead letters", ledger.dead, 2);
        equal("dead letters `no_match_key`", dead("no_match_key"), 1);
        equal("dead letters `refused`", dead("refused"), 1);
        equal(
            "different events at the stand-in",
            self.totals.distinct_event_ids,
            ledger.delivered,
        );
        equal(
            "events renamed or changed",
            self.totals.renamed + self.totals.changed,
            0,
        );
        if self.totals.duplicates > self.in_doubt {
            wrong.push(format!(
                "{} events arrived twice, and only {} were in doubt",
                self.totals.duplicates, self.in_doubt
            ));
        }
        if ledger.ledger_imbalance != 0 {
            wrong.push(format!("the ledger is off by {}", ledger.ledger_imbalance));
        }
        let mut seen: Vec<_> = (self.seen.iter().filter(|seen| seen.count > 0))
            .map(|seen| (seen.event_id.to_string(), seen.event_name.to_string()))
            .collect();
        seen.sort();
        let missing = expected.delivered.iter().filter(|due| !seen.contains(due));
        for (id, name) in missing.take(5) {
            wrong.push(format!("{id} did not arrive as {name}"));
        }
        let unknown = seen
            .iter()
            .filter(|seen| !expected.delivered.contains(seen));
        for (id, name) in unknown.take(5) {
            wrong.push(format!("{id} arrived as {name}, which nobody expected"));
        }
        wrong
    }
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ledger, tally, totals) = (&self.status.ledger, &self.tally, &self.totals);
        let dead = |reason: &str| self.status.dead.get(reason).copied().unwrap_or_default();
        writeln!(f, "The account")?;
        writeln!(f, "  {:>5}  lines sent", self.lines)?;
        writeln!(
            f,
            "  {:>5}    queued, that is on disk and synced",
            tally.queued
        )?;
        writeln!(
            f,
            "  {:>5}    duplicate, sent again and not queued again",
            tally.duplicate
        )?;
        writeln!(f, "  {:>5}    ignored (identify)", tally.ignored)?;
        writeln!(f, "  {:>5}  events accepted", ledger.accepted)?;
        writeln!(
            f,
            "  {:>5}    delivered; at the stand-in are {} different ones, {} of them twice ({} were in \
             doubt)",
            ledger.delivered, totals.distinct_event_ids, totals.duplicates, self.in_doubt
        )?;
        writeln!(
            f,
            "  {:>5}    dead letters, kept with their reason",
            ledger.dead
        )?;
        writeln!(
            f,
            "  {:>5}      no_match_key: neither email nor ip address to match it by",
            dead("no_match_key")
        )?;
        writeln!(f, "  {:>5}      refused: \"{REFUSAL}\"", dead("refused"))?;
        writeln!(f, "  {:>5}    still queued", ledger.queued + ledger.sending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::shop::Shop;
    use crate::cli::demo::stage::Ledger;

    fn balanced() -> Books {
        let shop = Shop::open();
        let expected = shop.expected();
        let delivered = expected.delivered.len() as u64;
        Books {
            lines: shop.lines(),
            tally: Tally {
                queued: expected.queued,
                duplicate: expected.duplicate,
                ignored: expected.ignored,
                ..Tally::default()
            },
            in_doubt: 5,
            status: Status {
                dead: [("no_match_key".into(), 1), ("refused".into(), 1)].into(),
                ledger: Ledger {
                    accepted: expected.queued,
                    delivered,
                    dead: 2,
                    ..Ledger::default()
                },
                ..Status::default()
            },
            totals: Totals {
                distinct_event_ids: delivered,
                duplicates: 5,
                ..Totals::default()
            },
            seen: (expected.delivered.iter())
                .map(|(id, name)| {
                    let seen = serde_json::json!({"event_id": id, "event_name": name,
                        "event_time": 1, "count": 1, "received": 1, "failed": 0});
                    serde_json::from_value(seen).expect("an event of the stand-in")
                })
                .collect(),
            expected,
        }
    }

    #[test]
    fn whatever_is_off_is_named() {
        assert_eq!(balanced().wrong(), [""; 0]);
        type Break = fn(&mut Books);
        let cases: [(&str, Break); 8] = [
            ("lines answered", |b| b.lines += 1),
            ("`queued`", |b| b.tally.queued -= 1),
            ("accounted for", |b| b.status.ledger.delivered -= 1),
            ("dead letters", |b| b.status.ledger.dead = 3),
            ("arrived twice", |b| b.in_doubt = 4),
            ("renamed", |b| b.totals.renamed = 1),
            ("did not arrive", |b| b.seen[3].count = 0),
            ("nobody expected", |b| b.seen[3].event_name = "other".into()),
        ];
        for (says, break_it) in cases {
            let mut books = balanced();
            break_it(&mut books);
            let wrong = books.wrong();
            assert!(
                wrong.iter().any(|line| line.contains(says)),
                "{says}: {wrong:?}"
            );
        }
    }
}
