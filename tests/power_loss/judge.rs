//! Holds what a start found against what had happened before the cut.

use std::collections::BTreeSet;

use pinrelay::queue::Receipt;

use crate::open::Found;
use crate::story::{Asked, Event, Sending, Story, Told, Verdict};

/// Everything that is wrong with it. `cut`: what ended before this moment had happened.
/// `settled`: ids that were settled for certain at an earlier cut.
pub fn faults(story: &Story, found: &Found, cut: usize, settled: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let census = &found.census;
    if census.imbalance() != 0 || census.set_aside != 0 {
        faults.push(format!("the ledger: {census:?}"));
    }
    if !found.quarantine.is_empty() {
        faults.push(format!("damage was seen: {:?}", found.quarantine));
    }
    for finding in &found.verify {
        faults.push(format!("verify: {finding}"));
    }
    let (mut told, mut read, mut processed, mut purged) = (0, 0, 0, 0);
    for (id, event) in &story.events {
        let at = At { event, cut };
        told += u64::from(at.told().next().is_some());
        read += u64::from(at.lines().next().is_some());
        processed += u64::from(at.verdicts().any(|v| v == Verdict::Processed));
        let is_purged = at.is_purged(id, found);
        purged += u64::from(is_purged);
        if let Err(fault) = at.check(id, found, settled, is_purged) {
            faults.push(format!("{id}: {fault}"));
        }
    }
    if !(told..=read).contains(&census.accepted) {
        faults.push(format!("{} accepted of {told} to {read}", census.accepted));
    }
    let due = story.purged_from.is_some_and(|from| from <= cut);
    if census.purged != purged || (purged > 0 && !due) {
        faults.push(format!("{} purged, {purged} are gone", census.purged));
    }
    if census.delivered > processed {
        faults.push(format!("{} delivered of {processed}", census.delivered));
    }
    faults
}

struct At<'a> {
    event: &'a Event,
    cut: usize,
}

impl<'a> At<'a> {
    fn told(&self) -> impl Iterator<Item = Told> + 'a {
        let cut = self.cut;
        let told = self.event.told.iter();
        told.filter(move |(at, _)| *at < cut).map(|(_, told)| *told)
    }

    fn lines(&self) -> impl Iterator<Item = &'a str> + 'a {
        let cut = self.cut;
        let lines = self.event.lines.iter();
        lines
            .filter(move |(at, _)| *at < cut)
            .map(|(_, line)| line.as_str())
    }

    fn verdict(&self, sending: &Sending) -> Option<Verdict> {
        let (at, verdict) = sending.verdict?;
        (at < self.cut).then_some(verdict)
    }

    fn verdicts(&self) -> impl Iterator<Item = Verdict> {
        let sent = self.event.sent.iter();
        sent.filter_map(|sending| self.verdict(sending))
    }

    /// What was sent since a line was first read: of a revived event, the new bytes alone.
    fn sent_since(&self, line: &str) -> Vec<&'a Sending> {
        let first = self.event.lines.iter().find(|(_, l)| l == line);
        let since = first.map_or(0, |(at, _)| *at);
        let sent = self.event.sent.iter();
        sent.filter(|s| (since..self.cut).contains(&s.at)).collect()
    }

    /// The line that counts: the last one that was answered as new.
    fn current(&self) -> &'a str {
        let revived = self.told().any(|told| told == Told::Revived);
        let lines = &self.event.lines;
        let line = if revived { lines.last() } else { lines.first() };
        line.map_or("", |(_, line)| line.as_str())
    }

    fn check(
        &self,
        id: &str,
        found: &Found,
        settled: &BTreeSet<String>,
        is_purged: bool,
    ) -> Result<(), String> {
        let acknowledged = self.told().next().is_some();
        let claims = found.claims.get(id).map_or(&[][..], Vec::as_slice);
        if acknowledged
            && found
                .again
                .get(id)
                .is_some_and(|r| *r != Receipt::Duplicate)
        {
            return Err("it was acknowledged and is taken for new".into());
        }
        self.check_operated(id, found, claims.is_empty(), is_purged)?;
        match claims {
            [] if is_purged => Ok(()),
            [] if acknowledged => self.check_settled(id, found),
            [] => Ok(()),
            [(body, name)] => {
                if settled.contains(id) {
                    return Err("it was settled, durably, and is queued again".into());
                }
                self.check_claim(body, name.as_deref())
            }
            _ => Err(format!("it is queued {} times", claims.len())),
        }
    }

    /// Whether the operator may have put it back.
    fn is_retried(&self) -> bool {
        let retry = self.event.retry.as_ref();
        retry.is_some_and(|asked| asked.at < self.cut)
    }

    /// Whether it cannot be sent as it is, and was not mended by an import.
    fn is_unsendable(&self) -> bool {
        match &self.event.import {
            Some(import) => !import.is_done(self.cut),
            None => self.event.sent.is_empty(),
        }
    }

    /// What the operator was told is done has been done, and stays.
    fn check_operated(
        &self,
        id: &str,
        found: &Found,
        is_settled: bool,
        is_purged: bool,
    ) -> Result<(), String> {
        let done = |asked: &Option<Asked>| asked.as_ref().is_some_and(|a| a.is_done(self.cut));
        let begun = |asked: &Option<Asked>| asked.as_ref().is_some_and(|a| a.at < self.cut);
        let Event {
            retry,
            purge,
            import,
            ..
        } = self.event;
        if done(purge) && !begun(import) && !is_purged {
            return Err("it was purged and is back".into());
        }
        if done(import) && is_purged {
            return Err("it was imported and is purged".into());
        }
        let is_dead = is_settled && found.other.get(id) == Some(&Receipt::Retried);
        if (done(retry) || done(import)) && is_dead {
            return Err("it was taken back and is dead again".into());
        }
        Ok(())
    }

    /// It was a dead letter and nothing but its id is known any more.
    fn is_purged(&self, id: &str, found: &Found) -> bool {
        let verdicts: Vec<_> = self.verdicts().collect();
        let died = self.is_unsendable() || verdicts.contains(&Verdict::Failed);
        let acknowledged = self.told().next().is_some();
        let known = found.other.get(id) == Some(&Receipt::Duplicate);
        acknowledged && known && died && !verdicts.contains(&Verdict::Processed)
    }

    /// Not claimable: delivered, as Pinterest said, or a dead letter.
    fn check_settled(&self, id: &str, found: &Found) -> Result<(), String> {
        let sent = self.sent_since(self.current());
        let verdicts = || sent.iter().filter_map(|s| self.verdict(s));
        match found.other.get(id) {
            Some(Receipt::Retried) => {
                let refused = verdicts().any(|v| v == Verdict::Failed);
                if refused || self.is_unsendable() {
                    Ok(())
                } else {
                    Err("it is dead and nobody refused it".into())
                }
            }
            Some(Receipt::Duplicate) => {
                if verdicts().any(|v| v == Verdict::Processed) {
                    Ok(())
                } else {
                    Err("it was acknowledged and is gone".into())
                }
            }
            other => Err(format!("it was acknowledged and is gone ({other:?})")),
        }
    }

    fn check_claim(&self, body: &str, name: Option<&str>) -> Result<(), String> {
        let lines: Vec<_> = self.lines().collect();
        let revived = self.told().filter(|told| *told == Told::Revived).count();
        let due = match revived {
            0 => lines.contains(&body),
            _ => lines.last() == Some(&body),
        };
        if !due {
            return Err("its bytes are not those that were acknowledged".into());
        }
        // The first name of the attempts that may have arrived.
        let mut first: Option<&str> = None;
        let mut must = false;
        for sending in self.sent_since(body) {
            match self.verdict(sending) {
                // Its mark may still be there, for it goes with the next settlement.
                Some(Verdict::NoneTaken) if !must => {}
                // It is queued again: its name was settled with it.
                Some(Verdict::Failed) if self.is_retried() => {}
                _ => {
                    first.get_or_insert(&sending.name);
                    must = true;
                }
            }
        }
        match (first, name) {
            (Some(first), Some(name)) if first == name => Ok(()),
            (Some(first), name) => {
                Err(format!("it was sent as {first} and comes back as {name:?}"))
            }
            // A mark is laid before its request leaves, which then may have found nobody.
            (None, Some(name)) => {
                let sent = &self.event.sent;
                if sent.is_empty() || sent.iter().any(|s| s.name == name) {
                    Ok(())
                } else {
                    Err(format!("it comes back as {name}, as which it never left"))
                }
            }
            (None, None) => Ok(()),
        }
    }
}
