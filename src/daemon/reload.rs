//! Reading config and token again.

use super::Daemon;
use super::error::DaemonError;
use super::prepare::prepare;
use crate::admin::Reloaded;
use crate::config::{Config, ConfigError, FoundToken};
use crate::lifecycle::notify;
use crate::transform::Transform;

impl Daemon {
    /// Reads config and token again; a bad one changes nothing. The service manager is told of
    /// the beginning and the end.
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub(super) async fn reload(
        &mut self,
        load: &impl Fn() -> Result<Config, ConfigError>,
    ) -> Result<Reloaded, String> {
        notify::reloading();
        let outcome = match read(load) {
            Ok((config, transform, token)) => Ok(self.take(config, transform, token)),
            Err(error) => {
                tracing::error!("reload: {error}; nothing was changed");
                Err(error.to_string())
            }
        };
        notify::ready(&(self.report)().await.line());
        outcome
    }

    /// Takes the token that is in its file now.
    pub(super) fn token_file_changed(&mut self) {
        let Some(found) = self.token_watch.read_again(&self.read.token) else {
            return;
        };
        if self.token.swap(found.token) {
            tracing::info!("the token file has changed: the new token is in use");
            self.delivery.token_changed();
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
        self.delivery
            .reload(prepare(transform), config.delivery_limits());
        if reloaded.token_changed {
            self.delivery.token_changed();
        }
        self.notify.reload(config.notify_options());
        self.read = config;
        tracing::info!(
            token_changed = reloaded.token_changed,
            "reload: config and token were read again"
        );
        reloaded
    }
}

/// Everything that a reload needs, or what is wrong with it.
fn read(
    load: &impl Fn() -> Result<Config, ConfigError>,
) -> Result<(Config, Transform, FoundToken), DaemonError> {
    let config = load()?;
    config.require_run()?;
    let transform = config.transform()?;
    let token = config.token.read()?;
    Ok((config, transform, token))
}
