//! Which dead letters are meant.

use std::ops::RangeInclusive;
use std::sync::Arc;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::refused::Refused;
use crate::clock::Millis;
use crate::event;
use crate::queue::LetterNumber;
use crate::queue::{DeadReason, Letter, LetterFilter, Page, Queue, QueueError};

/// Which letters: each key that is given narrows it down.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// One of the fixed reasons.
    pub reason: Option<String>,
    /// The event's `event` or `type`, exactly.
    pub event: Option<String>,
    /// Text within the message.
    pub message: Option<String>,
    /// Died then or later.
    pub since: Option<Millis>,
    /// Died before.
    pub until: Option<Millis>,
    /// Its messageId; its number, if no dead letter has that messageId.
    pub id: Option<String>,
    /// Numbers from this one on.
    pub after: Option<u64>,
    /// Numbers up to this one.
    pub to: Option<u64>,
}

/// A filter that was understood, and how far its letters were read.
pub(super) struct Wanted {
    numbers: RangeInclusive<LetterNumber>,
    keep: LetterFilter,
}

impl Filter {
    pub(super) async fn wanted(self, queue: &Queue) -> Result<Wanted, Refused> {
        let mut reason = None;
        if let Some(name) = &self.reason {
            let known = DeadReason::ALL.into_iter().find(|r| r.name() == name);
            reason = Some(known.ok_or_else(|| {
                let names = DeadReason::ALL.map(DeadReason::name).join(", ");
                let why = format!("reason {name}: use one of {names}");
                Refused(StatusCode::BAD_REQUEST, why)
            })?);
        }
        let from = LetterNumber(self.after.unwrap_or(1));
        let to = LetterNumber(self.to.unwrap_or(u64::MAX));
        let numbers = match self.id.as_deref() {
            None => from..=to,
            Some(id) => {
                // The name that the operator's own systems know comes first: a messageId may be
                // all digits, and a purge must not take the letter that happens to be numbered so.
                let number = queue
                    .dead_number(id)
                    .await?
                    .or_else(|| id.parse().map(LetterNumber).ok());
                match number.filter(|number| (from..=to).contains(number)) {
                    Some(number) => number..=number,
                    // No letter has this number.
                    None => LetterNumber(0)..=LetterNumber(0),
                }
            }
        };
        let keep = move |letter: &Letter| {
            reason.is_none_or(|reason| letter.key.reason() == reason)
                && self.since.is_none_or(|since| letter.died_at >= since)
                && self.until.is_none_or(|until| letter.died_at < until)
                && (self.message.as_ref()).is_none_or(|text| letter.message.contains(text))
                && (self.event.as_ref()).is_none_or(|name| is_named(letter, name))
        };
        Ok(Wanted {
            numbers,
            keep: Arc::new(keep),
        })
    }
}

impl Wanted {
    /// The next page.
    pub(super) async fn page(&self, queue: &Queue) -> Result<Page, QueueError> {
        let keep = self.keep.clone();
        queue.dead_page(self.numbers.clone(), keep).await
    }

    /// Goes on behind a page; false if that was the last.
    pub(super) fn go_on(&mut self, next: Option<LetterNumber>) -> bool {
        if let Some(next) = next {
            self.numbers = next..=*self.numbers.end();
        }
        next.is_some()
    }
}

fn is_named(letter: &Letter, name: &str) -> bool {
    let arena = event::Arena::default();
    let Ok(line) = event::parse(&arena, &letter.body) else {
        return false;
    };
    ["event", "type"]
        .iter()
        .any(|key| line.at(key).as_str() == Some(name))
}
