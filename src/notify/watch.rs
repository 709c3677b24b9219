//! Which changes are worth a message: pure, the clock is passed in.

use std::time::Duration;

use serde_json::json;

use super::options::Options;
use crate::clock::{Millis, millis};
use crate::text::plain;

/// A pause longer than this is told.
const LONG_PAUSE: Millis = 3_600_000;
/// Dead letters have stopped rising when none came for so long.
const QUIET: Duration = Duration::from_secs(600);

/// Notes are told of when more than one in so many delivered events has one that matters.
const NOTED_ONE_IN: u64 = 20;

/// What can be told of. Each is told when it begins and when it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Token, account or config have to be mended: nothing is delivered.
    Parked,
    /// Every event is refused alike.
    RefusedAll,
    /// The oldest event waits longer than `notify.backlog_age`.
    LateBacklog,
    /// Events become dead letters.
    DeadLetters,
    /// The disk is full, or the queue at its quota: nothing is accepted.
    NotAccepting,
    /// The account does not add up.
    LedgerImbalance,
    /// Events, dead letters or messageIds were lost to damage, and nobody has acknowledged it.
    Lost,
    /// Paused for over an hour.
    Paused,
    /// The wall clock is not believed.
    Clock,
    /// Of more and more delivered events money, time or match key could not be read.
    NotesRising,
    /// The process before this one did not end in order.
    UncleanStart,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Parked,
        Self::RefusedAll,
        Self::LateBacklog,
        Self::DeadLetters,
        Self::NotAccepting,
        Self::LedgerImbalance,
        Self::Lost,
        Self::Paused,
        Self::Clock,
        Self::NotesRising,
        Self::UncleanStart,
    ];

    /// The word in the message.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Parked => "parked",
            Self::RefusedAll => "refused_all",
            Self::LateBacklog => "late_backlog",
            Self::DeadLetters => "dead_letters",
            Self::NotAccepting => "not_accepting",
            Self::LedgerImbalance => "ledger_imbalance",
            Self::Lost => "lost",
            Self::Paused => "paused",
            Self::Clock => "clock",
            Self::NotesRising => "notes_rising",
            Self::UncleanStart => "unclean_start",
        }
    }
}

/// What is looked at. Texts hold no personal data; what is in the words of others is made
/// harmless when it is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Why the gate is parked, in words, if it is, other than by `refused_all`.
    pub parked: Option<String>,
    /// Pinterest's words, if everything is refused.
    pub refused_all: Option<String>,
    /// Since when delivery is paused, if it is.
    pub paused_since: Option<Millis>,
    /// When the oldest event that waits was accepted.
    pub oldest_accepted_at: Option<Millis>,
    /// Events that wait.
    pub queued: u64,
    /// Events that became dead letters since the start.
    pub died: u64,
    /// Why nothing is accepted, if so.
    pub not_accepting: Option<String>,
    /// Must be 0.
    pub ledger_imbalance: i64,
    /// How much was lost, in words, if anything was and is not acknowledged.
    pub lost: Option<String>,
    /// Why the wall clock is not believed, if so.
    pub clock_doubted: Option<String>,
    /// Events delivered lately, and of these those with a note of money, time or match key.
    pub delivered_lately: (u64, u64),
    /// The kinds of their notes, in words.
    pub notes: String,
    /// The process before this one did not end in order.
    pub unclean_start: bool,
}

/// Whether something began or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is so from now on.
    Raised,
    /// It is over.
    Recovered,
}

/// One notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Of what.
    pub kind: Kind,
    /// Began or ended.
    pub state: State,
    /// What there is to say, and what to do.
    pub text: String,
    /// When, Unix milliseconds.
    pub at: Millis,
}

impl Message {
    /// As the hook gets it; `name` is the daemon's.
    pub fn to_json(&self, name: &str) -> serde_json::Value {
        let state = match self.state {
            State::Raised => "raised",
            State::Recovered => "recovered",
        };
        json!({
            "text": format!("pinrelay {name}: {}", self.text),
            "kind": self.kind.name(),
            "state": state,
            "name": name,
            "at": self.at,
        })
    }
}

/// The first wait after a message that could not be sent; each further one is twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(10);
/// The longest of them.
const LAST_RETRY: Duration = Duration::from_secs(600);

/// The messages of one kind, so far.
#[derive(Clone, Copy, Default)]
struct Sent {
    /// It was told that it began, and not yet that it ended.
    raised: bool,
    /// When the last message of this kind was told, on the monotonic clock.
    last: Option<Millis>,
    /// A message is with the carrier.
    on_its_way: bool,
    /// The last one could not be sent.
    retry: Option<Retry>,
}

#[derive(Clone, Copy)]
struct Retry {
    /// Not before this, on the monotonic clock.
    at: Millis,
    waited: Duration,
}

/// Remembers what was sent.
///
/// Invariant: what is told is what changed since somebody was last told, and only what was taken
/// counts as told. So a message that could not be sent is made anew while it is still true, and the
/// end of what nobody was told of is not told either.
#[derive(Default)]
pub(super) struct Watch {
    sent: [Sent; Kind::ALL.len()],
    /// Dead letters at the last look, and when their number last rose.
    died: Option<u64>,
    rose_at: Option<Millis>,
}

impl Watch {
    /// What is to be told now; each has to come back to [`Watch::told`]. `monotonic`: milliseconds
    /// that never go back; `now`: wall clock.
    pub(super) fn observe(
        &mut self,
        facts: &Facts,
        options: &Options,
        monotonic: Millis,
        now: Millis,
    ) -> Vec<Message> {
        // Dead letters from before the start are nobody's news.
        if self.died.is_some_and(|before| facts.died > before) {
            self.rose_at = Some(monotonic);
        }
        self.died = Some(facts.died);
        let quiet = millis(QUIET.min(options.min_interval));
        let rising = self.rose_at.is_some_and(|at| monotonic - at < quiet);
        let least = millis(options.min_interval);
        let mut messages = Vec::new();
        for (kind, sent) in Kind::ALL.into_iter().zip(&mut self.sent) {
            if sent.on_its_way {
                continue;
            }
            let text = text(kind, facts, options, rising, now);
            let is = text.is_some();
            let ended = sent.raised && !is;
            // While paused nothing is tried: the gate may be as it was.
            let unknown = match kind {
                Kind::Parked | Kind::RefusedAll => facts.paused_since.is_some(),
                // Of what is not delivered nobody knows whether it would be well again.
                Kind::NotesRising => facts.delivered_lately.0 == 0,
                _ => false,
            };
            if is == sent.raised || (ended && unknown) {
                sent.retry = None;
                continue;
            }
            if !ended && sent.last.is_some_and(|last| monotonic - last < least) {
                // Told a moment ago: if it lasts, it is told when the interval is over.
                continue;
            }
            if sent.retry.is_some_and(|retry| monotonic < retry.at) {
                continue;
            }
            sent.on_its_way = true;
            messages.push(Message {
                kind,
                state: if is { State::Raised } else { State::Recovered },
                text: text.unwrap_or_else(|| over(kind, facts)),
                at: now,
            });
        }
        messages
    }

    /// Another hook may take what the last one did not.
    pub(super) fn try_at_once(&mut self) {
        self.sent.iter_mut().for_each(|sent| sent.retry = None);
    }

    /// What became of a message. After how long it is tried again if it was not taken, and if what
    /// it says is still so.
    pub(super) fn told(
        &mut self,
        kind: Kind,
        state: State,
        taken: bool,
        monotonic: Millis,
    ) -> Option<Duration> {
        let at = Kind::ALL.iter().position(|of| *of == kind)?;
        let sent = &mut self.sent[at];
        sent.on_its_way = false;
        if taken {
            sent.raised = state == State::Raised;
            sent.last = Some(monotonic);
            sent.retry = None;
            return None;
        }
        let waited = sent
            .retry
            .map_or(FIRST_RETRY, |last| (last.waited * 2).min(LAST_RETRY));
        sent.retry = Some(Retry {
            at: monotonic + millis(waited),
            waited,
        });
        Some(waited)
    }
}

/// What there is to say of a kind, if it is so.
fn text(kind: Kind, facts: &Facts, options: &Options, rising: bool, now: Millis) -> Option<String> {
    let queued = facts.queued;
    match kind {
        Kind::Parked => facts.parked.as_ref().map(|why| {
            let why = plain(why);
            format!("parked: {why}. Nothing is delivered, nothing is lost; {queued} events wait")
        }),
        Kind::RefusedAll => facts.refused_all.as_ref().map(|why| {
            let why = plain(why);
            format!(
                "Pinterest refuses every event alike: {why}. {queued} events wait; mend the config \
                 and reload"
            )
        }),
        Kind::LateBacklog => {
            let age = now - facts.oldest_accepted_at?;
            (age > millis(options.backlog_age)).then(|| {
                format!(
                    "the oldest of {queued} waiting events is {} minutes old. See `pinrelay status`",
                    age / 60_000
                )
            })
        }
        Kind::DeadLetters => rising.then(|| {
            format!(
                "events become dead letters, {} since the start. See `pinrelay dead list`",
                facts.died
            )
        }),
        Kind::NotAccepting => facts
            .not_accepting
            .as_ref()
            .map(|why| format!("nothing is accepted: {}. Producers wait", plain(why))),
        Kind::LedgerImbalance => (facts.ledger_imbalance != 0).then(|| {
            format!(
                "the ledger is off by {}. Keep a copy of the queue folder and run `pinrelay verify`",
                facts.ledger_imbalance
            )
        }),
        Kind::Lost => facts
            .lost
            .as_ref()
            .map(|what| format!("lost to damage: {what}. See `pinrelay losses`")),
        Kind::Paused => {
            let since = facts.paused_since.filter(|since| now - since > LONG_PAUSE)?;
            Some(format!(
                "paused for {} minutes; {queued} events wait. `pinrelay resume` ends it",
                (now - since) / 60_000
            ))
        }
        Kind::Clock => facts.clock_doubted.as_ref().map(|why| {
            format!(
                "the machine's clock is not believed: {why}. Nothing expires or is deleted by it; \
                 mend the machine's time, or `pinrelay clock trust` if it is right"
            )
        }),
        Kind::NotesRising => {
            let (delivered, noted) = facts.delivered_lately;
            let is_over = noted.saturating_mul(NOTED_ONE_IN) > delivered;
            is_over.then(|| {
                format!(
                    "of {delivered} events that were delivered within 15 minutes, {noted} had money, \
                     time or a match key that could not be read as it stands ({}). See `pinrelay \
                     status`, and `pinrelay transform --explain` for what went out",
                    plain(&facts.notes)
                )
            })
        }
        Kind::UncleanStart => facts.unclean_start.then(|| {
            "started again after a crash or a kill. What was accepted is there; see the log".into()
        }),
    }
}

/// That it is over.
fn over(kind: Kind, facts: &Facts) -> String {
    let queued = facts.queued;
    match kind {
        Kind::Parked => format!("no longer parked; {queued} events wait"),
        Kind::RefusedAll => format!("Pinterest takes events again; {queued} events wait"),
        Kind::LateBacklog => format!("the backlog is young again; {queued} events wait"),
        Kind::DeadLetters => format!(
            "no more dead letters for a while; {} since the start",
            facts.died
        ),
        Kind::NotAccepting => "events are accepted again".to_owned(),
        Kind::LedgerImbalance => "the ledger adds up again".to_owned(),
        Kind::Lost => "the losses are acknowledged".to_owned(),
        Kind::Paused => format!("no longer paused; {queued} events wait"),
        Kind::Clock => "the machine's clock is believed again".to_owned(),
        Kind::NotesRising => {
            "what is delivered can be read again: money, time and match keys".to_owned()
        }
        Kind::UncleanStart => "running".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options {
            webhook_url_file: None,
            min_interval: Duration::from_secs(900),
            backlog_age: Duration::from_secs(1800),
            name: "test".into(),
        }
    }

    /// Looks once a second over these facts; what was told, with its second.
    fn noticed(seconds: impl Iterator<Item = Facts>) -> Vec<(i64, Kind, State)> {
        let mut watch = Watch::default();
        let mut noticed = Vec::new();
        for (second, facts) in (0..).zip(seconds) {
            let now = second * 1000;
            for message in watch.observe(&facts, &options(), now, 1_700_000_000_000 + now) {
                noticed.push((second, message.kind, message.state));
                assert_eq!(watch.told(message.kind, message.state, true, now), None);
            }
        }
        noticed
    }

    fn parked(is: bool) -> Facts {
        Facts {
            parked: is.then(|| "401".into()),
            ..Facts::default()
        }
    }

    #[test]
    fn one_when_it_begins_and_one_when_it_has_ended() {
        let seconds = (0..2000).map(|s| parked((100..1500).contains(&s)));
        let expected = [
            (100, Kind::Parked, State::Raised),
            (1500, Kind::Parked, State::Recovered),
        ];
        assert_eq!(noticed(seconds), expected);
    }

    #[test]
    fn what_flaps_is_told_once_in_an_interval_and_never_left_open() {
        let seconds = (0..3000).map(|s| parked(s < 1800 && s % 10 < 5));
        let noticed = noticed(seconds);
        // Began at 0, ended at 5; not again before 905, then again not before 1805.
        assert_eq!(noticed.len(), 4, "{noticed:?}");
        assert_eq!(noticed[2].0, 910);
        assert_eq!(noticed.last().map(|t| t.2), Some(State::Recovered));
    }

    #[test]
    fn a_pause_is_no_recovery() {
        let seconds = (0..3000).map(|s| Facts {
            paused_since: (500..1500).contains(&s).then_some(1_700_000_500_000),
            ..parked((100..500).contains(&s) || (1500..2000).contains(&s))
        });
        let expected = [
            (100, Kind::Parked, State::Raised),
            (2000, Kind::Parked, State::Recovered),
        ];
        assert_eq!(noticed(seconds), expected);
    }

    #[test]
    fn fifty_thousand_dead_letters_are_one_notification_and_its_end_one() {
        let facts = |died| Facts {
            died,
            ..Facts::default()
        };
        let seconds = (0..3000u64).map(|s| facts(10 + s.min(500) * 100));
        let expected = [
            (1, Kind::DeadLetters, State::Raised),
            (500 + 600, Kind::DeadLetters, State::Recovered),
        ];
        assert_eq!(noticed(seconds), expected);
    }

    #[test]
    fn every_kind_begins_and_ends_and_says_what_to_do() {
        let wrong = Facts {
            parked: Some("401".into()),
            refused_all: Some("no".into()),
            paused_since: Some(1_700_000_000_000 - LONG_PAUSE),
            oldest_accepted_at: Some(1_600_000_000_000),
            queued: 7,
            died: 3,
            not_accepting: Some("the disk is full".into()),
            lost: Some("5 events".into()),
            ledger_imbalance: -2,
            clock_doubted: Some("it leapt".into()),
            delivered_lately: (100, 6),
            notes: "6 notes".into(),
            unclean_start: true,
        };
        let seconds = [Facts::default(), wrong.clone(), wrong, Facts::default()];
        let mut facts = seconds.into_iter().collect::<Vec<_>>();
        facts.extend(vec![
            Facts {
                died: 3,
                delivered_lately: (100, 5),
                ..Facts::default()
            };
            700
        ]);
        let noticed = noticed(facts.into_iter());
        for kind in Kind::ALL {
            let states: Vec<State> = noticed
                .iter()
                .filter(|t| t.1 == kind)
                .map(|t| t.2)
                .collect();
            assert_eq!(states, [State::Raised, State::Recovered], "{kind:?}");
        }
    }

    /// One in twenty is none; where nothing is delivered nobody knows that it is over.
    #[test]
    fn notes_that_matter_are_told_by_their_share() {
        let facts = |second: i64| Facts {
            delivered_lately: match second {
                0..10 => (100, 5),
                10..20 => (100, 6),
                20..40 => (0, 0),
                _ => (1, 0),
            },
            ..Facts::default()
        };
        let expected = [
            (10, Kind::NotesRising, State::Raised),
            (40, Kind::NotesRising, State::Recovered),
        ];
        assert_eq!(noticed((0..60).map(facts)), expected);
    }

    /// Looks once a second; the hook takes a message only from second `well` on.
    fn with_a_hook_that_is_well_from(
        well: i64,
        seconds: impl Iterator<Item = Facts>,
    ) -> Vec<(i64, State, bool)> {
        let mut watch = Watch::default();
        let mut tried = Vec::new();
        for (second, facts) in (0..).zip(seconds) {
            let now = second * 1000;
            for message in watch.observe(&facts, &options(), now, 1_700_000_000_000 + now) {
                // Whoever carries it takes a moment; meanwhile no second one is made.
                assert_eq!(watch.observe(&facts, &options(), now, now).len(), 0);
                let taken = second >= well;
                tried.push((second, message.state, taken));
                watch.told(message.kind, message.state, taken, now);
            }
        }
        tried
    }

    #[test]
    fn what_could_not_be_told_is_told_while_it_is_so() {
        let seconds = (0..2000).map(|s| parked((100..1500).contains(&s)));
        let tried = with_a_hook_that_is_well_from(400, seconds);
        let at: Vec<i64> = tried.iter().map(|t| t.0).collect();
        assert_eq!(at, [100, 110, 130, 170, 250, 410, 1500], "{tried:?}");
        let taken: Vec<_> = tried.iter().filter(|t| t.2).map(|t| t.1).collect();
        assert_eq!(taken, [State::Raised, State::Recovered]);
        // An end that could not be told is told as well.
        let seconds = (0..2000).map(|s| parked(s < 5));
        let mut watch_well = with_a_hook_that_is_well_from(0, seconds);
        assert_eq!(watch_well.pop().map(|t| t.1), Some(State::Recovered));
    }

    #[test]
    fn after_a_reload_it_is_tried_at_once() {
        let mut watch = Watch::default();
        let tell =
            |watch: &mut Watch, now| watch.observe(&parked(true), &options(), now, now).len();
        assert_eq!(tell(&mut watch, 0), 1);
        watch.told(Kind::Parked, State::Raised, false, 0);
        assert_eq!(tell(&mut watch, 1000), 0);
        watch.try_at_once();
        assert_eq!(tell(&mut watch, 1000), 1);
    }

    #[test]
    fn the_end_of_what_nobody_was_told_of_is_not_told() {
        let seconds = (0..2000).map(|s| parked((100..300).contains(&s)));
        let tried = with_a_hook_that_is_well_from(300, seconds);
        assert!(
            tried.iter().all(|t| t.1 == State::Raised && !t.2),
            "{tried:?}"
        );
    }

    #[test]
    fn the_words_of_others_call_nobody() {
        let facts = Facts {
            parked: Some("auth (HTTP 401: <!channel> @here \u{202e})".into()),
            ..Facts::default()
        };
        let told = Watch::default().observe(&facts, &options(), 0, 0);
        let text = told[0].to_json("shop")["text"].to_string();
        assert!(!text.contains(['<', '>', '@', '\u{202e}']), "{text}");
    }
}
