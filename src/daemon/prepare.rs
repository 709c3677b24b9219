//! The seams of the transform: to delivery, and to whoever asks whose an event is.

use std::sync::{Arc, Mutex, PoisonError};

use crate::admin::{self, Persons};
use crate::deliver::{self, Prepare};
use crate::queue::{DeadReason, Whose};
use crate::transform::{Dead, Person, Transform};

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

    /// Whose an event is, as the transform reads it.
    pub fn persons(&self) -> Persons {
        let in_effect = self.clone();
        Arc::new(move |named| {
            let person = match named {
                admin::Person::Email(address) => Person::of_email(&address),
                admin::Person::UserId(user_id) => Person::of_user_id(&user_id),
            }?;
            let transform = in_effect.0.lock();
            let transform = transform.unwrap_or_else(PoisonError::into_inner).clone();
            let whose: Whose = Arc::new(move |_, body| transform.is_of(body, &person));
            Some(whose)
        })
    }
}

/// Transforms each event under this config as it is about to be sent.
pub(super) fn prepare(transform: Arc<Transform>) -> Prepare {
    // Warned of once per process, with the number since.
    let unusable = Mutex::new(0u64);
    Arc::new(move |entry, stripped| {
        let sent_as = entry.sent_as.as_deref();
        let without = |key: &str| stripped.strips(key);
        match transform.payload(&entry.body, entry.event_time, sent_as, &without) {
            Ok(payload) => {
                if payload.unusable > 0 {
                    let mut count = unusable.lock().unwrap_or_else(|e| e.into_inner());
                    *count += u64::from(payload.unusable);
                    if *count == u64::from(payload.unusable) {
                        tracing::warn!(
                            "a [[mappings]] source holds a value that its schema field cannot \
                             take; the computed value is sent. See `pinrelay transform`"
                        );
                    }
                }
                Ok(deliver::Prepared {
                    name: payload.event_name,
                    message_id: payload.message_id,
                    json: payload.json,
                    custom_keys: payload
                        .custom_keys
                        .iter()
                        .map(|key| key.to_string())
                        .collect(),
                })
            }
            Err(dead) => Err(deliver::Dead {
                reason: match dead {
                    Dead::NoMatchKey { .. } => DeadReason::NoMatchKey,
                    Dead::Invalid(_) => DeadReason::Refused,
                },
                message: dead.to_string(),
            }),
        }
    })
}
