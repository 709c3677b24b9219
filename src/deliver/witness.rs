//! What is told of requests and of events' ends: to the meters and the history per request, to
//! listeners event by event.

use std::sync::Arc;
use std::time::Duration;

use super::batch::Batch;
use super::destination::NoReply;
use super::item::Item;
use super::judgement::{Class, Judgement, Verdict};
use super::messages::Answer;
use super::normalise::normalise;
use crate::clock::Clock;
use crate::note::Notes;
use crate::observe::{self, Attempt, End, Observer, Passed, Sent, Stage, Tally, short};
use crate::queue::{DeadReason, Entry, Origin};
use crate::text;

/// Tells the [`Observer`], and decides nothing.
pub(super) struct Witness {
    clock: Clock,
    observer: Observer,
    /// Whether the destination only checks what it gets.
    is_test: bool,
}

/// The counts of this name. There are few in a request, and most often it is the last one's.
fn tally<'t, 'n>(tallies: &'t mut Vec<(&'n Arc<str>, Tally)>, name: &'n Arc<str>) -> &'t mut Tally {
    let is = |(known, _): &(&Arc<str>, Tally)| Arc::ptr_eq(known, name) || **known == *name;
    let place = tallies.iter().rposition(is).unwrap_or_else(|| {
        tallies.push((name, Tally::default()));
        tallies.len() - 1
    });
    &mut tallies[place].1
}

impl Witness {
    pub fn new(clock: Clock, observer: Observer, is_test: bool) -> Self {
        Self {
            clock,
            observer,
            is_test,
        }
    }

    /// A request leaves.
    pub fn sending(&self, batch: &Batch) {
        self.pass_batch(batch, Stage::Sending, None);
    }

    /// It did not leave after all.
    pub fn unsent(&self, batch: &Batch) {
        self.pass_batch(batch, Stage::Released, None);
    }

    /// A request is over, `took` after it left. Called before anything follows from it.
    pub fn finished(&self, batch: &Batch, took: Duration, answer: &Answer) {
        let class = class_of(answer);
        self.observer.meters().requested(class, took, batch.len());
        let took = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
        let message = whole(answer);
        let at = self.clock.now();
        self.observer.history().attempted(Attempt {
            at: at - i64::from(took),
            took,
            status: answer.as_ref().ok().map(|(status, ..)| *status),
            class,
            message: message.clone(),
            ids: (batch.items.iter())
                .map(|item| short(item.entry.id_hash))
                .collect(),
            others: others(batch, answer),
        });
        let stage = match answer {
            Ok((.., judgement)) => match &judgement.class {
                Class::Judged(verdicts) => return self.judged(batch, judgement, verdicts, at),
                Class::Unknown(_) => Stage::InDoubt,
                _ => Stage::Released,
            },
            Err(NoReply::Unknown(_)) => Stage::InDoubt,
            Err(NoReply::NotSent(_)) => Stage::Released,
        };
        self.pass_batch(batch, stage, message);
    }

    /// Verdicts event by event. What failed is told by what follows from it.
    fn judged(&self, batch: &Batch, judgement: &Judgement, verdicts: &[Verdict], at: i64) {
        let pairs = || batch.items.iter().zip(verdicts);
        let processed = pairs().filter(|(_, verdict)| **verdict == Verdict::Processed);
        let ages = processed.map(|(item, _)| (at - item.entry.accepted_at) as f64 / 1000.0);
        self.observer.meters().delivered(ages);
        let (mut delivered, mut noted, mut mended) = (0, Vec::new(), Vec::new());
        let mut tallies: Vec<(&Arc<str>, Tally)> = Vec::new();
        for (item, _) in pairs().filter(|(_, verdict)| **verdict == Verdict::Processed) {
            delivered += 1;
            let is_late = batch.trial.lateness.is_late(&item.entry);
            tally(&mut tallies, &item.name).count(item.coverage, is_late, self.is_test);
            let id = short(item.entry.id_hash);
            match &item.notes {
                Some(notes) => noted.push((id, item.message_id.as_str(), notes)),
                // One that died and was mended has nothing to be told of any more.
                None if matches!(item.entry.id.origin(), Origin::Dead(_)) => mended.push(id),
                None => {}
            }
        }
        let memory = self.observer.noted();
        memory.delivered(self.clock.monotonic(), delivered, noted.into_iter());
        mended.into_iter().for_each(|id| memory.forget(id));
        let tallies = tallies.into_iter().map(|(name, tally)| (&**name, tally));
        self.observer.quality().delivered(at, tallies);
        if !self.observer.passing().is_heard() {
            return;
        }
        let kinds: Vec<Arc<str>> = (judgement.warnings.iter())
            .map(|(kind, _)| Arc::from(kind.as_str()))
            .collect();
        let mut warned = judgement.warned.iter().peekable();
        for ((item, verdict), place) in pairs().zip(0..) {
            let warning = warned.next_if(|(warned, _)| *warned == place);
            let message = warning.and_then(|(_, kind)| kinds.get(*kind as usize).cloned());
            match verdict {
                Verdict::Processed => self.pass_item(item, Stage::Delivered, message),
                Verdict::Unclear => self.pass_item(item, Stage::InDoubt, None),
                Verdict::Failed(_) => {}
            }
        }
    }

    /// What of an event that dies could not be read as it stands.
    pub fn noted(&self, entry: &Entry, message_id: &str, notes: Option<&Notes>) {
        if let Some(notes) = notes {
            let (now, id) = (self.clock.monotonic(), short(entry.id_hash));
            self.observer.noted().other(now, id, message_id, notes);
        }
    }

    /// An event died. `words`: without values.
    pub fn dead(&self, entry: &Entry, reason: DeadReason, message: &str, notes: Option<&Notes>) {
        self.observer.meters().died(reason.name());
        self.end(entry, "dead", Some(reason.name()));
        if self.observer.passing().is_heard() {
            let message = match reason.is_own() {
                true => text::message(message),
                false => normalise(message, "", &entry.body),
            };
            let (reason, message) = (Some(reason.name()), Some(message.into()));
            self.pass(entry, Stage::Dead, None, reason, message, notes.cloned());
        }
    }

    /// An event that keeps failing alone leaves the line.
    pub fn deferred(&self, entry: &Entry) {
        self.end(entry, "set_apart", None);
        if self.observer.passing().is_heard() {
            self.pass(entry, Stage::Deferred, None, None, None, None);
        }
    }

    fn end(&self, entry: &Entry, state: &'static str, reason: Option<&'static str>) {
        self.observer.history().ended(End {
            at: self.clock.now(),
            id: short(entry.id_hash),
            state,
            reason,
        });
    }

    fn pass_batch(&self, batch: &Batch, stage: Stage, message: Option<Arc<str>>) {
        if self.observer.passing().is_heard() {
            for item in &batch.items {
                self.pass_item(item, stage, message.clone());
            }
        }
    }

    fn pass_item(&self, item: &Item, stage: Stage, message: Option<Arc<str>>) {
        let notes = item.notes.clone().filter(|_| stage == Stage::Delivered);
        self.pass(&item.entry, stage, Some(item), None, message, notes);
    }

    fn pass(
        &self,
        entry: &Entry,
        stage: Stage,
        item: Option<&Item>,
        reason: Option<&'static str>,
        message: Option<Arc<str>>,
        notes: Option<Notes>,
    ) {
        let passing = self.observer.passing();
        passing.pass(Passed {
            at: self.clock.now(),
            stage,
            // What was never made ready is known by its line alone.
            message_id: item.map_or_else(String::new, |item| item.message_id.clone()),
            line: passing.hold(|| entry.body.clone(), entry.body.len()),
            sent: item.map(|item| Sent {
                name: item.name.clone(),
                payload: passing.hold(|| item.json.clone(), item.json.len()),
            }),
            reason,
            message,
            notes,
        });
    }
}

/// One of [`observe::CLASSES`].
fn class_of(answer: &Answer) -> &'static str {
    let name = match answer {
        Ok((.., judgement)) => match judgement.class {
            Class::Judged(_) => "judged",
            Class::Refused { .. } => "refused",
            Class::Auth(_) => "auth",
            Class::Limited { .. } => "limited",
            Class::Unexpected(_) => "unexpected",
            Class::Unknown(_) => "unknown",
        },
        Err(NoReply::Unknown(_)) => "unknown",
        Err(NoReply::NotSent(_)) => "not_sent",
    };
    debug_assert!(observe::CLASSES.contains(&name));
    name
}

/// What was said of the request as a whole, without values.
fn whole(answer: &Answer) -> Option<Arc<str>> {
    match answer {
        Ok((.., judgement)) => match &judgement.class {
            Class::Refused { refusal, .. } | Class::Auth(refusal) | Class::Unexpected(refusal) => {
                Some(refusal.words(b"").into())
            }
            Class::Limited { .. } => Some("rate limited".into()),
            Class::Unknown(message) => Some(message.as_str().into()),
            Class::Judged(_) => None,
        },
        Err(NoReply::NotSent(message) | NoReply::Unknown(message)) => Some(message.as_str().into()),
    }
}

/// The events of a judged request that were not processed.
fn others(batch: &Batch, answer: &Answer) -> Box<[(u32, observe::Verdict)]> {
    let verdicts = match answer.as_ref().map(|(.., judgement)| &judgement.class) {
        Ok(Class::Judged(verdicts)) => verdicts,
        _ => return Box::default(),
    };
    let each = batch.items.iter().zip(verdicts).zip(0..);
    each.filter_map(|((item, verdict), place)| {
        let verdict = match verdict {
            Verdict::Processed => return None,
            Verdict::Failed(refusal) => {
                let message = normalise(&refusal.message, &item.message_id, &item.json);
                observe::Verdict::Failed(message.into())
            }
            Verdict::Unclear => observe::Verdict::Unclear,
        };
        Some((place, verdict))
    })
    .collect()
}
