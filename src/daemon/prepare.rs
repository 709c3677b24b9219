//! The seam between delivery and transform.

use std::sync::{Arc, Mutex};

use crate::deliver::{self, Prepare};
use crate::queue::DeadReason;
use crate::transform::{Dead, Transform};

/// Transforms each event under this config as it is about to be sent.
pub(super) fn prepare(transform: Transform) -> Prepare {
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
