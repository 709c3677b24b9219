//! Taking config and token that were read again.

use std::sync::Arc;

use super::prepare::prepare;
use super::reader::Everything;
use super::{Daemon, set};
use crate::admin::Reloaded;
use crate::config::{Config, FoundToken};
use crate::deliver::Reason;
use crate::lifecycle::notify;
use crate::transform::Transform;

impl Daemon {
    /// Reads config and token again; a bad one changes nothing. The service manager is told of
    /// the beginning and the end.
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub(super) async fn reload(&mut self) -> Result<Reloaded, String> {
        notify::reloading();
        let read = self.reader.config().await;
        let read = read.and_then(|read| self.sockets.allowed_by(&read.config).map(|()| read));
        let outcome = match read {
            Ok(Everything {
                config,
                transform,
                policy,
                token,
                write_keys,
            }) => {
                set(&self.write_keys, &write_keys);
                self.policy.set(policy, self.clock.now());
                Ok(self.take(config, transform, token))
            }
            Err(error) => {
                tracing::error!("reload: {error}; nothing was changed");
                Err(format!("{error}; nothing was changed"))
            }
        };
        notify::ready(&self.status_line().await);
        outcome
    }

    /// What the service manager shows.
    pub(super) async fn status_line(&self) -> String {
        (self.report)().await.line(&jiff::tz::TimeZone::system())
    }

    /// Takes the token that is in its file now.
    pub(super) async fn token_file_changed(&mut self) {
        let read = self.reader.token(self.read.token.clone()).await;
        let Some(found) = self.token_watch.read_again(read) else {
            return;
        };
        if self.token.swap(found.token) {
            tracing::info!("the token file has changed: the new token is in use");
            self.delivery.token_changed();
        }
    }

    /// Looks at the token's file if the token in use is refused.
    pub(super) async fn look_at_refused_token(&mut self) {
        let gate = self.delivery.status().await.gate;
        if gate.reason == Some(Reason::Auth) && self.token_watch.is_of_a_file() {
            self.token_file_changed().await;
        }
    }

    fn take(&mut self, config: Config, transform: Transform, token: FoundToken) -> Reloaded {
        self.token_watch.follow(&token);
        let reloaded = Reloaded {
            changed: self.read.takes_effect(&config),
            // Against what was started with: told at each reload until there is a restart.
            needs_restart: self.config.needs_restart(&config),
            token_changed: self.token.swap(token.token),
        };
        for change in &reloaded.changed {
            tracing::info!("reload: {change}");
        }
        for change in &reloaded.needs_restart {
            tracing::warn!("reload: {change} needs a restart to take effect");
        }
        let transform = Arc::new(transform);
        self.transform.replace(transform.clone());
        self.delivery.reload(
            prepare(transform, self.observer.clone(), self.clock.clone()),
            config.delivery_limits(),
        );
        // What was found under the config before would be advised again.
        self.observer.quality().forget_looks();
        if reloaded.token_changed {
            self.delivery.token_changed();
        }
        self.http_limits.set(config.http_limits());
        self.notify.reload(config.notify_options());
        self.stop_limit.drains(config.delivery.drain_deadline);
        self.read = config;
        tracing::info!(
            token_changed = reloaded.token_changed,
            "reload: config and token were read again"
        );
        reloaded
    }
}
