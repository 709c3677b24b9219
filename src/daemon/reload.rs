//! Reading config and token again.

use super::Daemon;
use super::error::DaemonError;
use super::prepare::prepare;
use crate::admin::Reloaded;
use crate::config::{Config, ConfigError};
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
        let outcome = self.apply(load);
        notify::ready(&(self.report)().await.line());
        outcome
    }

    fn apply(
        &mut self,
        load: &impl Fn() -> Result<Config, ConfigError>,
    ) -> Result<Reloaded, String> {
        let read = || -> Result<(Config, Transform, bool), DaemonError> {
            let config = load()?;
            config.require_run()?;
            let transform = config.transform()?;
            let token = config.token.read()?;
            Ok((config, transform, self.token.swap(token.token)))
        };
        match read() {
            Ok((config, transform, token_changed)) => {
                let later = self.config.needs_restart(&config);
                if !later.is_empty() {
                    tracing::warn!(
                        "reload: {} changed and needs a restart to take effect",
                        later.join(", ")
                    );
                }
                self.delivery
                    .reload(prepare(transform), config.delivery_limits());
                if token_changed {
                    self.delivery.token_changed();
                }
                // The rest stays as it was started with: what needs a restart is told at each
                // reload until there is one.
                self.config.delivery.drain_deadline = config.delivery.drain_deadline;
                tracing::info!(token_changed, "reload: config and token were read again");
                Ok(Reloaded {
                    needs_restart: later,
                    token_changed,
                })
            }
            Err(error) => {
                tracing::error!("reload: {error}; nothing was changed");
                Err(error.to_string())
            }
        }
    }
}
