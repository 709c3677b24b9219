//! The seams of the transform: to delivery, and to whoever asks whose an event is.

use std::sync::{Arc, Mutex, PoisonError};

use crate::admin::{self, Advised, Noting, Persons};
use crate::clock::{Clock, Millis};
use crate::deliver::{self, Prepare};
use crate::note::{Note, Notes, Word};
use crate::observe::Observer;
use crate::policy::Limited;
use crate::queue::{DeadReason, Whose};
use crate::transform::{Dead, Fixed, Person, Transform};

/// Notes of one event and of one field and word that are kept and counted.
const MOST_OF_A_KIND: usize = 10;

/// The transform of the config that was read last.
#[derive(Clone)]
pub(super) struct InEffect(Arc<Mutex<Arc<Transform>>>);

impl InEffect {
    pub fn new(transform: Arc<Transform>) -> Self {
        Self(Arc::new(Mutex::new(transform)))
    }

    pub fn replace(&self, transform: Arc<Transform>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = transform;
    }

    /// It, for as long as the caller is at it: a reload in between does not change it.
    fn transform(&self) -> Arc<Transform> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whose an event is, as the transform reads it.
    pub fn persons(&self) -> Persons {
        let in_effect = self.clone();
        Arc::new(move |named| {
            let person = match named {
                admin::Person::Email(address) => Person::of_email(&address),
                admin::Person::UserId(user_id) => Person::of_user_id(&user_id),
            }?;
            let transform = in_effect.transform();
            let whose: Whose = Arc::new(move |_, body| transform.is_of(body, &person));
            Some(whose)
        })
    }

    /// Whether limited data processing is due for a line.
    pub fn limited(&self) -> Limited {
        let in_effect = self.clone();
        Arc::new(move |body| in_effect.transform().is_from_limited_state(body))
    }

    /// The settings that advice is about, as they are.
    pub fn advised(&self) -> Advised {
        let in_effect = self.clone();
        Arc::new(move || {
            let transform = in_effect.transform();
            admin::Settings {
                content_ids: transform.content_ids().to_vec(),
                default_user_agent: transform.default_user_agent().map(str::to_owned),
                unlike_tag: (transform.unlike_tag().into_iter())
                    .map(|unlike| admin::UnlikeTag {
                        cure: unlike.cure(),
                        is_costly: unlike.is_costly(),
                        event: unlike.event,
                        here: unlike.here,
                        tag: unlike.tag,
                    })
                    .collect(),
            }
        })
    }

    /// What of an event cannot be read as it stands.
    pub fn noting(&self) -> Noting {
        let in_effect = self.clone();
        Arc::new(move |body, accepted_at, event_time| {
            let transform = in_effect.transform();
            let fixed = fixed(accepted_at, event_time);
            some_of_each(match transform.payload(body, fixed, None, &|_| false) {
                Ok(payload) => payload.notes,
                Err(unsendable) => unsendable.notes,
            })
        })
    }
}

/// `accepted_at` in Unix milliseconds, `event_time` in seconds.
const fn fixed(accepted_at: Millis, event_time: i64) -> Fixed {
    Fixed {
        accepted_at: accepted_at.div_euclid(1000),
        event_time,
    }
}

/// Transforms each event under this config as it is about to be sent, and looks closely at a few.
pub(super) fn prepare(transform: Arc<Transform>, observer: Observer, clock: Clock) -> Prepare {
    Arc::new(move |entry, stripped| {
        let sent_as = entry.sent_as.as_deref();
        let without = |key: &str| stripped.strips(key);
        let fixed = fixed(entry.accepted_at, entry.event_time);
        let made = transform.payload(&entry.body, fixed, sent_as, &without);
        let quality = observer.quality();
        if let Ok(payload) = &made
            && quality.may_look()
        {
            let look = transform.look(&entry.body, payload.coverage);
            quality.looked(clock.monotonic(), &payload.event_name, look);
        }
        match made {
            Ok(payload) => Ok(deliver::Prepared {
                name: payload.event_name,
                message_id: payload.message_id,
                json: payload.json,
                custom_keys: (payload.custom_keys.iter())
                    .map(|key| key.to_string())
                    .collect(),
                notes: told(payload.notes),
                coverage: payload.coverage,
            }),
            Err(unsendable) => Err(deliver::Dead {
                reason: match unsendable.why {
                    Dead::NoMatchKey { .. } => DeadReason::NoMatchKey,
                    Dead::UnreadableTime { .. } => DeadReason::UnreadableTime,
                    Dead::Invalid(_) => DeadReason::Refused,
                },
                message: unsendable.why.to_string(),
                message_id: unsendable.message_id,
                notes: told(unsendable.notes),
            }),
        }
    })
}

fn told(notes: Vec<Note>) -> Option<Notes> {
    let kept = some_of_each(notes);
    (!kept.is_empty()).then(|| kept.into())
}

/// The first few of each kind. What a line of a quarter of a MiB can hold of them would be megabytes,
/// for each event on its way.
fn some_of_each(mut notes: Vec<Note>) -> Vec<Note> {
    let mut kinds: Vec<((&str, Word), usize)> = Vec::new();
    notes.retain(|note| {
        let kind = (note.field, note.word);
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => {
                *count += 1;
                *count <= MOST_OF_A_KIND
            }
            None => {
                kinds.push((kind, 1));
                true
            }
        }
    });
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_kind_of_note_is_crowded_out() {
        let note = |field, word| Note {
            field,
            word,
            ..Note::repaired()
        };
        let mut many = vec![note("ph", Word::Unreadable); 1000];
        many.push(note("ph", Word::Placeholder));
        many.push(note("currency", Word::Unreadable));
        let kept = some_of_each(many);
        assert_eq!(kept.len(), MOST_OF_A_KIND + 2);
        assert_eq!(kept.last().map(|note| note.field), Some("currency"));
    }
}
