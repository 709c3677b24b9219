//! Reads config and token.
//!
//! Invariant: files are read beside the daemon's loop, and not waited for longer than a moment: a
//! file system that does not answer must hold up neither a signal nor the next command.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::error::DaemonError;
use crate::config::{Config, ConfigError, FoundToken, TokenSources, WriteKey};
use crate::policy::Policy;
use crate::transform::Transform;

/// Reads the config.
pub type Load = Arc<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>;

/// How long a file may take to be read.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads files on a thread beside the loop.
pub(super) struct Reader {
    load: Load,
    /// What has not come back yet.
    hanging: Option<JoinHandle<()>>,
}

/// What a reload puts in effect.
pub(super) struct Everything {
    pub config: Config,
    pub transform: Transform,
    pub policy: Policy,
    pub token: FoundToken,
    pub write_keys: Vec<WriteKey>,
}

impl Reader {
    pub fn new(load: Load) -> Self {
        Self {
            load,
            hanging: None,
        }
    }

    /// Everything that a reload needs.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn config(&mut self) -> Result<Everything, String> {
        let load = self.load.clone();
        let read = self.read(move || everything(&load)).await?;
        read.map_err(|error| error.to_string())
    }

    /// The token.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn token(&mut self, sources: TokenSources) -> Result<FoundToken, String> {
        let read = self.read(move || sources.read()).await?;
        read.map_err(|error| error.to_string())
    }

    /// # Errors
    /// That no answer came in time. No second thread waits for the same.
    async fn read<T: Send + 'static>(
        &mut self,
        what: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let seconds = PATIENCE.as_secs();
        let silent = || {
            format!(
                "the files of the config could not be read within {seconds} s: see the file \
                 system that they are on (`mount`, `dmesg`)"
            )
        };
        if self
            .hanging
            .as_ref()
            .is_some_and(|task| !task.is_finished())
        {
            return Err(silent());
        }
        let (tell, told) = tokio::sync::oneshot::channel();
        self.hanging = Some(tokio::task::spawn_blocking(move || {
            let _ = tell.send(what());
        }));
        match tokio::time::timeout(PATIENCE, told).await {
            Ok(Ok(read)) => Ok(read),
            // A bug in what reads: its panic is in the log.
            Ok(Err(_)) => Err("reading the config ended by a bug; see the log".to_owned()),
            Err(_) => Err(silent()),
        }
    }
}

fn everything(load: &Load) -> Result<Everything, DaemonError> {
    let config = load()?;
    config.require_run()?;
    let transform = config.transform()?;
    let policy = config.policy()?;
    let token = config.token.read()?;
    // What cannot be read refuses the reload, as it would a start.
    let write_keys = config.write_keys()?;
    config.http_tls().map(|files| files.read()).transpose()?;
    Ok(Everything {
        config,
        transform,
        policy,
        token,
        write_keys,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_file_system_that_does_not_answer_is_told_and_asked_once() {
        let nothing: Load = Arc::new(|| crate::config::load(None, std::iter::empty()));
        let mut reader = Reader::new(nothing);
        let (let_go, go) = mpsc::channel::<()>();
        // Time is paused while a thread hangs, so it is moved by hand.
        let hang = reader.read(move || go.recv());
        let moved = async {
            tokio::task::yield_now().await;
            tokio::time::advance(PATIENCE).await;
        };
        let (hung, ()) = tokio::join!(hang, moved);
        assert!(hung.unwrap_err().contains("within 2 s"));
        let again = reader.read(|| 1).await;
        assert!(
            again.unwrap_err().contains("within 2 s"),
            "one thread hangs, not two"
        );
        let_go.send(()).unwrap();
        while reader.hanging.as_ref().is_some_and(|t| !t.is_finished()) {
            tokio::task::yield_now().await;
        }
        assert_eq!(reader.read(|| 2).await, Ok(2));
    }
}
