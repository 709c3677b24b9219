//! Each part's options, out of the config: the one place where the two meet.

use std::sync::Arc;

use super::Config;
use super::values;
use crate::queue::sled;
use crate::{deliver, ingest, transform};

impl Config {
    /// For the transform.
    pub fn transform_options(&self) -> transform::Options {
        transform::Options {
            partner_name: self.pinterest.app_name.clone(),
            default_action_source: self.pinterest.default_action_source.to_owned(),
            default_currency: self.pinterest.default_currency.clone(),
            default_user_agent: self.user_data.default_user_agent.clone(),
            hashing: match self.user_data.hashing {
                values::Hashing::Raw => transform::Hashing::Raw,
                values::Hashing::Sha256 => transform::Hashing::Sha256,
            },
            event_names: (self.event_names.iter())
                .map(|pair| (pair.from.clone(), pair.to.clone()))
                .collect(),
            mappings: (self.mappings.iter())
                .map(|pair| transform::MappingRule {
                    source: pair.from.clone(),
                    destination: pair.to.clone(),
                })
                .collect(),
        }
    }

    /// For the ingest side.
    pub fn ingest_options(&self) -> ingest::Options {
        ingest::Options {
            max_event_bytes: self.ingest.max_event_bytes as usize,
        }
    }

    /// For the durable queue; `on_failure` is told once when storage has failed.
    pub fn queue_options(&self, on_failure: Arc<dyn Fn(&str) + Send + Sync>) -> sled::Options {
        sled::Options {
            dedup_window: self.queue.dedup_window,
            max_bytes: self.queue.max_bytes,
            min_free: self.queue.min_free,
            dead_retention: self.dead_letters.retention,
            dead_max_bytes: self.dead_letters.max_bytes,
            on_failure,
            ..sled::Options::new(&self.queue.path)
        }
    }

    /// For the delivery side of this ad account.
    pub fn delivery_options(&self, ad_account_id: &str) -> deliver::Options {
        deliver::Options {
            base_url: self.pinterest.base_url.as_str().to_owned(),
            ad_account_id: ad_account_id.to_owned(),
            test: self.pinterest.test,
            request_timeout: self.delivery.request_timeout,
            limits: self.delivery_limits(),
        }
    }

    /// The part of the delivery side's options that a reload may change.
    pub fn delivery_limits(&self) -> deliver::Limits {
        let delivery = &self.delivery;
        deliver::Limits {
            max_batch_events: self.max_batch_events() as usize,
            max_batch_bytes: delivery.max_batch_bytes as usize,
            linger: delivery.linger,
            max_in_flight: delivery.max_in_flight as usize,
            max_age: delivery.max_age,
            max_calls_per_minute: delivery.max_calls_per_minute,
            backoff_initial: delivery.backoff_initial,
            backoff_max: delivery.backoff_max,
            on_refused: match self.custom_properties.on_refused {
                values::OnRefused::Strip => deliver::OnRefused::Strip,
                values::OnRefused::DeadLetter => deliver::OnRefused::DeadLetter,
            },
        }
    }
}
