//! What is wrong and what to do about it: one line for each state that is for a person, in the
//! words of docs/operations.md; and how bad it is, for programs that ask.

use super::human::{count, duration};
use super::snapshot::Report;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It ends by itself, or can wait until somebody comes by.
    Warning,
    /// Somebody has to do something: nothing is delivered, or accepted, or is known to be there.
    Critical,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in a few words.
    pub what: String,
    /// What to do about it, if it is for a person.
    pub next: Option<String>,
}

impl Report {
    /// Everything that is not as it should be, the worst first.
    pub fn troubles(&self) -> Vec<Trouble> {
        let mut all = Vec::new();
        let mut say = |severity, what: String, next: Option<&str>| {
            all.push(Trouble {
                severity,
                what,
                next: next.map(str::to_owned),
            });
        };
        use Severity::{Critical, Warning};
        if let Some((severity, next)) = self.gate_next() {
            let reason = self.gate.reason.as_deref().unwrap_or_default();
            let what = match self.gate.detail.as_deref() {
                Some(detail) if reason != self.state => {
                    format!("{} ({reason}): {detail}", self.state)
                }
                Some(detail) => format!("{}: {detail}", self.state),
                None => format!("{} ({reason})", self.state),
            };
            say(severity, what, next);
        }
        for why in &self.not_accepting {
            say(
                Critical,
                format!("not accepting: {why}"),
                accepting_next(why),
            );
        }
        if self.ledger.ledger_imbalance != 0 {
            let what = format!("the ledger is off by {}", self.ledger.ledger_imbalance);
            let next = "stop it, copy the queue's folder, start it, `pinrelay verify`; report it \
                        with what verify says";
            say(Critical, what, Some(next));
        }
        if !self.losses.is_empty() {
            let what = "something was lost to damage".to_owned();
            let next = "`pinrelay losses` says what; look at disk and memory, then \
                        `pinrelay losses --acknowledge`";
            say(Critical, what, Some(next));
        }
        if self.clock_is_suspect() {
            let next = "`pinrelay clock`; mend the machine's time (`timedatectl`), or \
                        `pinrelay clock trust` if it is right";
            say(Warning, "the clock is not believed".to_owned(), Some(next));
        }
        if self.backlog_is_late {
            let age = duration(self.oldest_age_seconds.unwrap_or(0).saturating_mul(1000));
            let waiting = count(self.queued + self.sending);
            let what = format!("the oldest of {waiting} waiting events is {age} old");
            // A gate that is not open has said what to do.
            let next = (self.gate.state == "open").then_some(
                "delivery does not keep up: look at `requests` and the latency in `pinrelay top`, \
                 raise delivery.max_in_flight",
            );
            say(Warning, what, next);
        }
        if self.test_mode {
            let next = "take pinterest.test out of the config and restart, to go live";
            say(
                Warning,
                "TEST MODE: nothing counts at Pinterest".to_owned(),
                Some(next),
            );
        }
        if let Some(from) = &self.destination.elsewhere {
            let what = format!("events do not go to Pinterest: base_url comes from {from}");
            say(
                Warning,
                what,
                Some("take base_url out and restart, unless this is a test"),
            );
        }
        if self.log_lines_dropped > 0 {
            let dropped = count(self.log_lines_dropped);
            let what = format!("{dropped} lines of the log were dropped");
            let next = "see whoever reads it: `systemctl status systemd-journald`";
            say(Warning, what, Some(next));
        }
        all.sort_by_key(|trouble| std::cmp::Reverse(trouble.severity));
        all
    }

    /// How bad the gate is, if it is, and what to do.
    fn gate_next(&self) -> Option<(Severity, Option<&'static str>)> {
        use Severity::{Critical, Warning};
        let reason = self.gate.reason.as_deref()?;
        // Of Pinterest's answers the status stands in front.
        let says = |code: &str| {
            self.gate
                .detail
                .as_deref()
                .is_some_and(|d| d.contains(code))
        };
        Some(match (self.state.as_str(), reason) {
            // One failed attempt is no outage.
            ("draining" | "delivering", _) => return None,
            ("paused", _) | (_, "paused") => (
                Warning,
                Some("`pinrelay resume`, when whoever paused it agrees"),
            ),
            (_, "auth") if says("HTTP 403") || says("HTTP 404") => (
                Critical,
                Some(
                    "compare pinterest.ad_account_id with Ads Manager's URL; if it is right, make \
                     a new token in that account",
                ),
            ),
            (_, "auth") => (
                Critical,
                Some("write a new token (Pinterest: Ads, Conversions) into its file"),
            ),
            (_, "refused_all") => (
                Critical,
                Some(
                    "read the message and the last change of the config; mend it, then \
                     `pinrelay reload`; or `pinrelay resume --isolate`",
                ),
            ),
            (_, "unexpected") => (
                Critical,
                Some("check pinterest.base_url and what stands between here and Pinterest"),
            ),
            (_, "unavailable") => (
                Warning,
                Some(
                    "nothing, it is tried again; if Pinterest is well: network, DNS, firewall, \
                     CA certificates",
                ),
            ),
            (_, _) => (Warning, None),
        })
    }

    /// One line, such as `CRITICAL: parked (auth): HTTP 401 …`, and how bad it is.
    pub fn verdict(&self) -> (Option<Severity>, String) {
        let troubles = self.troubles();
        let Some(worst) = troubles.first().map(|trouble| trouble.severity) else {
            let waiting = count(self.queued + self.sending);
            let dead = count(self.dead_total);
            let line = format!("OK: {}, {waiting} queued, {dead} dead letters", self.state);
            return (None, line);
        };
        let word = match worst {
            Severity::Warning => "WARNING",
            Severity::Critical => "CRITICAL",
        };
        let whats: Vec<_> = troubles.into_iter().map(|trouble| trouble.what).collect();
        (Some(worst), format!("{word}: {}", whats.join("; ")))
    }
}

fn accepting_next(why: &str) -> Option<&'static str> {
    // The words of `queue::Closed` and of the daemon.
    if why.contains("queue.max_bytes") {
        Some("see why delivery is slow (the gate), or raise queue.max_bytes and restart")
    } else if why.contains("inodes") {
        Some("`df -i`; delete the many small files of whoever made them there, not the queue's")
    } else if why.contains("queue.min_free") {
        Some("free space on its file system; do not touch the queue's folder")
    } else if why.contains("put back") {
        Some("see that the database shall stay as it is; then `pinrelay adopt` makes it so")
    } else if why.contains("database") {
        Some("see the database; the log says why, and it goes on by itself")
    } else if why.contains("socket") {
        Some("see who removes it; it is bound anew by itself once nothing is in its way")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::{Destination, Gate};
    use super::*;

    fn shut(state: &str, reason: &str, detail: &str) -> Report {
        Report {
            state: state.into(),
            gate: Gate {
                state: "shut".into(),
                reason: Some(reason.into()),
                detail: Some(detail.into()),
                ..Gate::default()
            },
            ..Report::default()
        }
    }

    #[test]
    fn every_reason_and_every_want_of_room_has_its_next_step() {
        use crate::deliver::Reason;
        for reason in Reason::ALL {
            let name = reason.name();
            let state = match name {
                "paused" => "paused",
                _ => "parked",
            };
            let troubles = shut(state, name, "HTTP 401: no").troubles();
            assert_eq!(troubles.len(), 1, "{name}");
            let is_for_a_person = name != "rate_limited";
            assert_eq!(troubles[0].next.is_some(), is_for_a_person, "{name}");
        }
        use crate::queue::Closed;
        for closed in [
            Closed::Quota,
            Closed::Reserve,
            Closed::Inodes,
            Closed::Away,
            Closed::WentBack,
            Closed::Stopped,
        ] {
            let why = closed.message();
            let told = accepting_next(why);
            assert_eq!(told.is_none(), why.contains("stopped"), "{why}");
        }
        let account = shut("parked", "auth", "HTTP 403: not yours").troubles();
        assert!(
            account[0]
                .next
                .as_ref()
                .is_some_and(|n| n.contains("ad_account_id"))
        );
    }

    #[test]
    fn the_worst_comes_first_and_a_healthy_one_is_ok() {
        let healthy = Report {
            state: "delivering".into(),
            queued: 1234,
            ..Report::default()
        };
        let ok = "OK: delivering, 1,234 queued, 0 dead letters";
        assert_eq!(healthy.verdict(), (None, ok.to_owned()));
        let mut bad = shut("backing off", "unavailable", "HTTP 502");
        let (severity, line) = bad.verdict();
        assert_eq!(severity, Some(Severity::Warning));
        assert_eq!(line, "WARNING: backing off (unavailable): HTTP 502");
        bad.ledger.ledger_imbalance = -2;
        bad.destination = Destination {
            elsewhere: Some("/etc/x.toml:3".into()),
            ..Destination::default()
        };
        let (severity, line) = bad.verdict();
        assert_eq!(severity, Some(Severity::Critical));
        assert!(
            line.starts_with("CRITICAL: the ledger is off by -2; backing off"),
            "{line}"
        );
        assert!(line.contains("do not go to Pinterest"), "{line}");
    }
}
