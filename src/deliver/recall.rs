//! What had died of a refusal of everything before it was clear that it is one, and comes back.
//!
//! Such letters are known by what is stored: they died since an event was delivered last, and of
//! the same words. So a crash between any two steps leaves nothing to remember.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::destination::Destination;
use super::item::{Prepare, Prepared, StrippedKeys};
use super::normalise::normalise;
use crate::queue::{DeadReason, Entry, EntryId, Letter, LetterNumber, Queue, QueueError};

/// Letters that are refused alike, as the streak counts them.
#[derive(Debug, Default)]
pub(super) struct Alike {
    /// How many, by normalised message.
    pub counts: HashMap<String, u32>,
    /// Names that were blamed, each of which counts once.
    pub names: HashSet<Arc<str>>,
}

/// Counts the first few thousand letters that died of refusals since an event was delivered last.
pub(super) async fn count(
    queue: &Queue,
    prepare: &Prepare,
    destination: &'static Destination,
) -> Result<Alike, QueueError> {
    let Some(first) = queue.undelivered_letters().await? else {
        return Ok(Alike::default());
    };
    let (alike, prepare) = (Arc::new(Mutex::new(Alike::default())), prepare.clone());
    let counted = alike.clone();
    let look = move |letter: &Letter| {
        if let Some((message, prepared)) = refusal(&prepare, letter) {
            let mut alike = counted.lock().unwrap_or_else(PoisonError::into_inner);
            let name = prepared.map(|prepared| prepared.name);
            let blamed = name.filter(|name| (destination.blames_name)(&letter.message, name));
            if blamed.is_none_or(|name| alike.names.insert(name)) {
                *alike.counts.entry(message).or_default() += 1;
            }
        }
        // Counted is enough.
        false
    };
    let all = first..=LetterNumber(u64::MAX);
    queue.dead_page(all, Arc::new(look)).await?;
    let mut alike = alike.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut alike))
}

/// Queues again what died of these words since an event was delivered last; says how many. Dead for
/// any other reason stays dead.
async fn recall(queue: &Queue, prepare: &Prepare, message: &str) -> Result<u64, QueueError> {
    let Some(mut first) = queue.undelivered_letters().await? else {
        return Ok(0);
    };
    let (prepare, message) = (prepare.clone(), message.to_owned());
    let is_alike = move |letter: &Letter| {
        refusal(&prepare, letter).is_some_and(|(of_letter, _)| of_letter == message)
    };
    let is_alike = Arc::new(is_alike);
    let mut keys = Vec::new();
    loop {
        let all = first..=LetterNumber(u64::MAX);
        let page = queue.dead_page(all, is_alike.clone()).await?;
        keys.extend(page.letters.iter().map(|letter| letter.key));
        match page.next {
            Some(next) => first = next,
            None => break,
        }
    }
    queue.retry(keys).await
}

/// The same, for the log.
pub(super) async fn recall_and_tell(queue: &Queue, prepare: &Prepare, message: &str) {
    match recall(queue, prepare, message).await {
        Ok(0) | Err(QueueError::Stopped(_)) => {}
        Ok(count) => tracing::warn!(
            "revived" = count,
            "what became dead letters before it was clear that every event is refused alike is \
             queued again"
        ),
        Err(error) => tracing::error!(
            "what became dead letters before it was clear that every event is refused alike \
             cannot be queued again: {error}; find it with `pinrelay dead list` and use `pinrelay \
             dead retry`"
        ),
    }
}

/// What a letter was refused for, in the words that the streak counts by, and what was sent of it;
/// `None`: it died of something else.
fn refusal(prepare: &Prepare, letter: &Letter) -> Option<(String, Option<Prepared>)> {
    match letter.key.reason() {
        DeadReason::Refused | DeadReason::TooLarge => {}
        DeadReason::NoMatchKey
        | DeadReason::Expired
        | DeadReason::Late
        | DeadReason::CustomRefused
        | DeadReason::UnreadableTime => return None,
    }
    let entry = Entry {
        id: EntryId::dead(letter.key.number()),
        id_hash: 0,
        accepted_at: letter.accepted_at,
        event_time: letter.event_time,
        body: letter.body.clone(),
        sent_as: None,
        failures: 0,
    };
    let prepared = prepare(&entry, &StrippedKeys::default()).ok();
    let message = match &prepared {
        Some(sent) => normalise(&letter.message, &sent.message_id, &sent.json),
        None => normalise(&letter.message, "", &letter.body),
    };
    Some((message, prepared))
}
