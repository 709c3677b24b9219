//! A report on one screen.

use std::fmt::Write as _;

use jiff::tz::TimeZone;

use super::human::{bytes, count, duration, rate};
use super::snapshot::{NoteCount, Report};
use crate::moment::local;
use crate::queue::{Loss, LossKind};

/// A row goes on on so many columns, on as many lines as they take.
const LONGEST_ROW: usize = 160;
/// Columns of the table; on a narrower screen it stands closer together.
const TABLE: usize = 73;
/// Rules that are named, those that kept most back.
const RULES: usize = 3;
/// Kinds of notes that are named, the most frequent ones.
const KINDS_OF_NOTES: usize = 4;
/// Where what belongs to a word on the left begins.
const INDENT: usize = 13;

impl Report {
    /// For people: 24 rows of 80 columns hold it, unless all is wrong at once; times in `zone`.
    /// `size`: columns and rows.
    pub fn show(&self, zone: &TimeZone, size: (usize, usize)) -> String {
        let mut screen = Screen::new(size);
        screen.words(&self.headline(zone));
        if !self.destination.url.is_empty() {
            screen.row("to", &self.destination.to_string());
        }
        if let Some(from) = &self.destination.elsewhere {
            screen.row("", &format!("NOT PINTEREST: base_url comes from {from}"));
        }
        for why in &self.not_accepting {
            screen.row("accepting", &format!("NO: {why}"));
        }
        if !self.losses.is_empty() {
            screen.row("LOST", &self.losses_line());
        }
        screen.row("gate", &self.gate_line(zone));
        if let Some(detail) = &self.gate.detail {
            screen.row("", detail);
        }
        if let Some(line) = self.clock_line() {
            screen.row("clock", &line);
        }
        screen.row("queued", &self.queued_line());
        screen.line("");
        self.table(&mut screen);
        if self.dead_total > 0 {
            let reasons = self.dead.iter().filter(|(_, count)| **count > 0);
            let reasons: Vec<_> = reasons.map(|(r, n)| format!("{} {r}", count(*n))).collect();
            screen.row("dead letters", &reasons.join(", "));
        }
        if let Some(line) = self.notes_line() {
            screen.row("notes", &line);
        }
        if let Some(line) = self.rules_line() {
            screen.row("kept back", &line);
        }
        screen.row("requests", &self.requests_line());
        screen.row("disk", &self.disk_line());
        screen.row("ledger", &self.ledger_line());
        let l = &self.ledger;
        screen.row(
            "answers",
            &format!(
                "{} duplicate, {} ignored, {} rejected",
                count(l.duplicate),
                count(l.ignored),
                count(l.rejected)
            ),
        );
        screen.row(
            "again",
            &format!(
                "{} revived, {} resent in doubt ({} past 48 h)",
                count(l.retried),
                count(l.resent),
                count(l.resent_late)
            ),
        );
        if self.log_lines_dropped > 0 {
            let dropped = count(self.log_lines_dropped);
            let line = format!("{dropped} lines dropped: whoever reads it does not take them");
            screen.row("log", &line);
        }
        if let Some(error) = &self.delivery.last_error {
            let at = local(error.at, self.now, zone);
            screen.row("last error", &format!("{at} {}", error.message));
        }
        // The worst first: what finds no room is shown when that is mended.
        let mut steps = self
            .troubles()
            .into_iter()
            .filter_map(|trouble| trouble.next);
        if let Some(first) = steps.next() {
            screen.row("next:", &first);
        }
        for next in steps {
            screen.row_if_room("next:", &next);
        }
        if let Some(line) = self.made_ids_line() {
            screen.row_if_room("without id", &line);
        }
        screen.text
    }

    /// What consent and filters kept back, where they did.
    fn rules_line(&self) -> Option<String> {
        let mut rules: Vec<_> = self
            .rules
            .iter()
            .filter(|rule| rule.kept_back > 0)
            .collect();
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.kept_back));
        let all: u64 = rules.iter().map(|rule| rule.kept_back).sum();
        let mut named: Vec<String> = (rules.iter().take(RULES))
            .map(|rule| format!("{} {}", rule.rule, count(rule.kept_back)))
            .collect();
        if rules.len() > RULES {
            named.push("…".to_owned());
        }
        (all > 0).then(|| format!("{} since the start: {}", count(all), named.join(", ")))
    }

    /// That a repeated request would have its events sent twice, where that is so.
    fn made_ids_line(&self) -> Option<String> {
        let made = self.since_start.message_ids_made;
        (made > 0).then(|| {
            format!(
                "{} events came without messageId: a client that repeats a request sends them twice",
                count(made)
            )
        })
    }

    fn headline(&self, zone: &TimeZone) -> String {
        format!(
            "pinrelay {}: {}{}; up {} since {}",
            self.version,
            self.state,
            if self.test_mode { ", TEST MODE" } else { "" },
            duration(self.now - self.started_at),
            local(self.started_at, self.now, zone)
        )
    }

    /// The gate in a line, such as `parked: credentials refused since 02:14:09, next probe in 40 s`.
    pub fn gate_line(&self, zone: &TimeZone) -> String {
        let gate = &self.gate;
        let mut line = gate.state.clone();
        let is_open = gate.state == "open";
        // A pause has no other reason than the pause.
        if let Some(reason) = gate.reason.as_ref().filter(|reason| **reason != gate.state) {
            // One batch that fails holds up no other.
            let reason = match is_open {
                true => "the last attempts failed",
                false => describe_reason(reason),
            };
            let _ = write!(line, ": {reason}");
        }
        if let Some(since) = gate.since {
            let _ = write!(line, " since {}", local(since, self.now, zone));
        }
        // A wait whose end is known ends with a probe.
        if let (Some(next), None) = (gate.next_probe, gate.until) {
            let what = if is_open { "try" } else { "probe" };
            let _ = write!(line, ", next {what} in {}", duration(next - self.now));
        }
        match gate.until {
            Some(until) => {
                let _ = write!(line, ", until {}", local(until, self.now, zone));
            }
            None if gate.state == "paused" => line.push_str(", until `pinrelay resume`"),
            None => {}
        }
        line
    }

    fn losses_line(&self) -> String {
        let lost: Vec<_> = lost(&self.losses)
            .map(|(number, what)| format!("{} {what}", count(number)))
            .collect();
        format!("{}: `pinrelay losses`", lost.join(", "))
    }

    /// Why the clock is not believed and what is waited for, if it is not.
    fn clock_line(&self) -> Option<String> {
        let clock = &self.clock;
        let doubt = clock.doubt?;
        let how = match self.clock_is_suspect() {
            true => "NOT BELIEVED",
            false => "unconfirmed",
        };
        Some(format!(
            "{how} for {}: {}; waits for {}",
            duration(clock.for_seconds.unwrap_or(0).saturating_mul(1000)),
            doubt.message(),
            clock.waiting_for.as_deref().unwrap_or("nothing")
        ))
    }

    fn queued_line(&self) -> String {
        let mut line = count(self.queued);
        if let Some(age) = self.oldest_age_seconds {
            let _ = write!(line, ", oldest {}", duration(age * 1000));
        }
        let _ = write!(
            line,
            "; {} sending, {} in doubt",
            count(self.sending),
            count(self.in_doubt)
        );
        line
    }

    fn table(&self, screen: &mut Screen) {
        let (first, second, third, head) = match screen.columns >= TABLE {
            true => (16, 20, 24, "a second, last minute"),
            false => (13, 15, 16, "a second lately"),
        };
        let mut row = |name: &str, start: &str, all: &str, rate: &str| {
            let line = format!("{name:<INDENT$}{start:>first$}{all:>second$}{rate:>third$}");
            screen.line(line.trim_end());
        };
        row("", "since start", "in all", head);
        let (since, all, rates) = (&self.since_start, &self.ledger, &self.rates);
        let line = |name: &str, start: u64, ever: u64| (name.to_owned(), count(start), count(ever));
        let (name, start, ever) = line("accepted", since.accepted, all.accepted);
        row(&name, &start, &ever, &rate(rates.accepted));
        // The ledger has what test mode processed as delivered.
        let name = match self.test_mode {
            true => "in test mode",
            false => "delivered",
        };
        let (name, start, ever) = line(name, since.delivered, all.delivered);
        row(&name, &start, &ever, &rate(rates.delivered));
        if self.late > 0 {
            row("  late", &count(self.late), "", "");
        }
        let (name, start, ever) = line("dead", since.dead, all.dead + all.purged + all.retried);
        row(&name, &start, &ever, "");
    }

    fn requests_line(&self) -> String {
        let r = &self.delivery.requests;
        let mut parts = vec![format!("{} answered", count(r.judged))];
        let others = [
            ("refused", r.refused),
            ("auth", r.auth),
            ("limited", r.limited),
            ("unexpected", r.unexpected),
            ("unknown", r.unknown),
            ("not sent", r.not_sent),
        ];
        let others = others.iter().filter(|(_, number)| *number > 0);
        parts.extend(others.map(|(name, number)| format!("{} {name}", count(*number))));
        parts.push(format!("{} in flight", self.delivery.in_flight));
        if self.delivery.calls_per_minute > 0 {
            let most = count(u64::from(self.delivery.calls_per_minute));
            parts.push(format!("at most {most} a minute"));
        }
        if self.requests.count > 0 {
            let mean = self.requests.seconds * 1000.0 / self.requests.count as f64;
            parts.push(format!("{mean:.0} ms on average"));
        }
        parts.join(", ")
    }

    /// Notes of the last hour, such as `1,204: currency unreadable 1,200, ph unreadable 4`.
    pub fn notes_line(&self) -> Option<String> {
        let notes = &self.notes.last_hour;
        let all: u64 = notes.iter().map(|note| note.count).sum();
        let word = if all == 1 { "note" } else { "notes" };
        (all > 0).then(|| format!("{} {word} in the last hour: {}", count(all), kinds(notes)))
    }

    /// What of money, time and match key could not be read within a quarter of an hour.
    pub fn notes_lately(&self) -> String {
        kinds(&self.notes.lately)
    }

    fn disk_line(&self) -> String {
        let disk = &self.disk;
        if disk.unknown {
            return "unknown: what is queued is stored elsewhere".to_owned();
        }
        format!(
            "{} of {}, dead letters {} of {}; {} free ({} kept)",
            bytes(disk.used),
            bytes(disk.quota),
            bytes(disk.dead_used),
            bytes(disk.dead_quota),
            bytes(disk.free),
            bytes(disk.reserve)
        )
    }

    fn ledger_line(&self) -> String {
        let l = &self.ledger;
        let holds = match l.ledger_imbalance {
            0 => "holds".to_owned(),
            off => format!("OFF BY {off}"),
        };
        format!(
            "{holds}: {} accepted = {} queued + {} sending + {} delivered + {} dead + {} purged \
             + {} set aside",
            count(l.accepted),
            count(l.queued),
            count(l.sending),
            count(l.delivered),
            count(l.dead),
            count(l.purged),
            count(l.set_aside)
        )
    }
}

/// The most frequent kinds.
fn kinds(notes: &[NoteCount]) -> String {
    let mut kinds: Vec<String> = (notes.iter().take(KINDS_OF_NOTES))
        .map(|note| format!("{} {} {}", note.field, note.word, count(note.count)))
        .collect();
    if notes.len() > KINDS_OF_NOTES {
        kinds.push("…".to_owned());
    }
    kinds.join(", ")
}

/// How much was lost, by kind.
pub fn lost(losses: &[Loss]) -> impl Iterator<Item = (u64, &'static str)> {
    let kinds = LossKind::ALL.into_iter();
    kinds.filter_map(|kind| {
        let of_kind = losses.iter().filter(|loss| loss.kind == kind);
        let number = of_kind.map(|loss| loss.count).sum();
        let what = match kind {
            LossKind::Events => "events",
            LossKind::DeadLetters => "dead letters",
            LossKind::MessageIds => "messageIds",
            LossKind::Account => "events put in doubt",
        };
        (number > 0).then_some((number, what))
    })
}

/// What a reason means.
fn describe_reason(reason: &str) -> &str {
    match reason {
        "unavailable" => "Pinterest does not answer",
        "rate_limited" => "rate limited",
        "auth" => "credentials refused",
        "unexpected" => "undocumented answers",
        "refused_all" => "every event refused alike",
        other => other,
    }
}

/// Text in rows that fit.
struct Screen {
    columns: usize,
    rows: usize,
    text: String,
}

impl Screen {
    const fn new((columns, rows): (usize, usize)) -> Self {
        Self {
            columns,
            rows,
            text: String::new(),
        }
    }

    fn lines(&self) -> usize {
        self.text.lines().count()
    }

    fn line(&mut self, line: &str) {
        self.text.extend(line.chars().take(self.columns));
        self.text.push('\n');
    }

    /// Words that begin on the left.
    fn words(&mut self, text: &str) {
        let mut line = String::new();
        for word in text.split(' ') {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > self.columns {
                self.line(&line);
                line = " ".repeat(INDENT - 1);
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(&line);
    }

    /// [`Screen::row`], where it fits on the screen.
    fn row_if_room(&mut self, name: &str, text: &str) {
        let mut more = Self::new((self.columns, self.rows));
        more.row(name, text);
        if self.lines() + more.lines() <= self.rows {
            self.text.push_str(&more.text);
        }
    }

    /// A word on the left and what belongs to it, on two lines of a usual screen if it has to be.
    fn row(&mut self, name: &str, text: &str) {
        let most = LONGEST_ROW.div_ceil(self.columns).max(2);
        let mut words = text.split(' ').peekable();
        let mut name = name;
        for number in 1..=most {
            let mut line = format!("{name:<INDENT$}");
            let mut first = true;
            while let Some(word) = words.next_if(|word| {
                let after = line.chars().count() + 1 + word.chars().count();
                first || number == most || after <= self.columns
            }) {
                if !first {
                    line.push(' ');
                }
                line.push_str(word);
                first = false;
            }
            if number == most && line.chars().count() > self.columns {
                let kept = line.chars().take(self.columns - 1);
                line = kept.chain(['…']).collect();
            }
            self.line(&line);
            if words.peek().is_none() {
                return;
            }
            name = "";
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Gate, Ledger, PerSecond, SinceStart};
    use super::*;
    use crate::clock::{Doubt, Standing};
    use crate::deliver::{LastError, Status};
    use crate::queue::Disk;

    const NOW: i64 = 784_111_777_000;

    /// Everything at once, and large.
    fn full() -> Report {
        Report {
            version: "0.1.0".into(),
            state: "parked".into(),
            test_mode: true,
            not_accepting: vec!["the disk is below queue.min_free".into()],
            gate: Gate {
                state: "parked".into(),
                reason: Some("auth".into()),
                detail: Some("HTTP 401: Authentication failed. ".repeat(6)),
                since: Some(NOW - 180_000),
                next_probe: Some(NOW + 40_000),
                until: None,
            },
            queued: 123_456_789,
            oldest_age_seconds: Some(93_784),
            dead: (crate::queue::DeadReason::ALL.iter())
                .map(|r| (r.name().to_owned(), 1_234_567))
                .collect(),
            dead_total: 7_407_402,
            started_at: NOW - 400_000_000,
            since_start: SinceStart {
                accepted: 999_999_999,
                delivered: 888_888_888,
                dead: 7,
                message_ids_made: 1204,
            },
            rates: PerSecond {
                accepted: 140_000.4,
                delivered: 0.25,
            },
            disk: Disk {
                used: 5 << 30,
                quota: 8 << 30,
                dead_used: 3 << 20,
                dead_quota: 1 << 30,
                free: 200 << 30,
                reserve: 256 << 20,
                closed: None,
                ..Disk::default()
            },
            ledger: Ledger {
                accepted: 1_999_999_999,
                delivered: 1_888_888_888,
                ..Ledger::default()
            },
            delivery: Status {
                last_error: Some(LastError {
                    at: NOW - 5000,
                    message: "HTTP 401: Authentication failed".into(),
                }),
                ..Status::default()
            },
            clock: Standing {
                doubt: Some(Doubt::Date),
                waiting_for: Some(
                    "a Date of Pinterest's that agrees, or `pinrelay clock trust`".into(),
                ),
                for_seconds: Some(93_784),
                ..Standing::default()
            },
            now: NOW,
            ..Report::default()
        }
    }

    #[test]
    fn events_without_an_id_of_their_own_are_told_as_a_risk() {
        let report = Report {
            since_start: SinceStart {
                message_ids_made: 1204,
                ..SinceStart::default()
            },
            ..Report::default()
        };
        let text = report.show(&TimeZone::UTC, (80, 24));
        let says = "without id   1,204 events came without messageId: a client that repeats a";
        assert!(text.contains(says), "{text}");
    }

    #[test]
    fn it_fits_on_one_screen() {
        for (columns, rows) in [(40, 60), (60, 40), (80, 24), (120, 40)] {
            let text = full().show(&TimeZone::UTC, (columns, rows));
            let widest = text.lines().map(|line| line.chars().count()).max();
            // The table has a width of its own.
            assert!(widest <= Some(columns.max(57)), "{columns}: {text}");
            assert!(text.lines().count() <= rows, "{columns}: {text}");
            assert!(text.contains("next:        write a new token"), "{text}");
        }
        let text = full().show(&TimeZone::UTC, (80, 24));
        for says in [
            "next:        write a new token",
            "pinrelay 0.1.0: parked, TEST MODE; up 4 d 15 h since 1994-11-01",
            "gate         parked: credentials refused since 08:46:37Z, next probe in 40 s\n",
            "queued       123,456,789, oldest 1 d 2 h; 0 sending, 0 in doubt",
            "accepted          999,999,999       1,999,999,999                 140,000\n",
            "disk         5 GiB of 8 GiB",
            "NO: the disk is below queue.min_free",
            "clock        NOT BELIEVED for 1 d 2 h: Pinterest's Date disagrees; waits for a",
            "or `pinrelay clock trust`\n",
            "last error   08:49:32Z HTTP 401",
        ] {
            assert!(text.contains(says), "{says}\n{text}");
        }
    }

    #[test]
    fn a_failure_that_shuts_nothing_and_a_wait_for_calls_are_said() {
        let line = |state: &str, reason: &str, until| {
            let gate = Gate {
                state: state.into(),
                reason: Some(reason.into()),
                since: Some(NOW - 9000),
                next_probe: Some(NOW + 3000),
                until,
                ..Gate::default()
            };
            let report = Report {
                gate,
                now: NOW,
                ..Report::default()
            };
            report.gate_line(&TimeZone::UTC)
        };
        assert_eq!(
            line("open", "unavailable", None),
            "open: the last attempts failed since 08:49:28Z, next try in 3 s"
        );
        assert_eq!(
            line("shut", "rate_limited", Some(NOW + 3000)),
            "shut: rate limited since 08:49:28Z, until 08:49:40Z"
        );
    }

    #[test]
    fn a_quiet_daemon_says_little() {
        let quiet = Report {
            state: "delivering".into(),
            gate: Gate {
                state: "open".into(),
                ..Gate::default()
            },
            ..Report::default()
        };
        let text = quiet.show(&TimeZone::UTC, (80, 24));
        assert!(text.contains("gate         open\n"), "{text}");
        assert!(
            text.contains("ledger       holds: 0 accepted = 0 queued"),
            "{text}"
        );
        assert!(
            !text.contains("last error") && !text.contains("clock") && !text.contains("TEST MODE"),
            "{text}"
        );
    }
}
