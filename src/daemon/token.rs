//! The token: read at the start, and again whenever its file changes. And the write keys, which are
//! read at the start and at a reload.

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use super::error::DaemonError;
use crate::config::{Config, FoundToken, TokenSource, WriteKey};
use crate::lifecycle::FileWatch;

/// Reads it, and says what is careless about its file.
pub(super) fn read(config: &Config) -> Result<FoundToken, DaemonError> {
    let found = config.token.read()?;
    if let (true, Some(file)) = (found.exposed, &found.file) {
        tracing::warn!(
            "the token file {} can be read by every user of this machine: chmod 0640 it",
            file.display()
        );
    }
    Ok(found)
}

/// Reads the write keys, and says what is careless about their files.
pub(super) fn write_keys(config: &Config) -> Result<Vec<WriteKey>, DaemonError> {
    let keys = config.write_keys()?;
    for key in keys.iter().filter(|key| key.exposed) {
        if let Some(file) = &key.file {
            tracing::warn!(
                "the file {} of the write key `{}` can be read by every user of this machine: \
                 chmod 0640 it",
                file.display(),
                key.name
            );
        }
    }
    Ok(keys)
}

/// Says so where whoever may send events can read the token as well: `socket` is where they send.
pub(super) fn tell_shared(found: &FoundToken, socket: &UnixListener) {
    let address = socket.local_addr().ok();
    let path = address.as_ref().and_then(|address| address.as_pathname());
    let gid = path.and_then(|path| Some(std::fs::metadata(path).ok()?.gid()));
    // Root's own group is no group of producers.
    if let (Some(file), Some(gid @ 1..)) = (&found.file, gid)
        && found.group == Some(gid)
    {
        tracing::warn!(
            "the token file {} can be read by everyone who may send events, for both belong to one \
             group; `pinrelay check` says how to part them",
            file.display()
        );
    }
}

/// Follows the file that the token is in; nothing, where a change of the source does not reach
/// this process.
#[derive(Default)]
pub(super) struct TokenWatch {
    file: Option<PathBuf>,
    watch: Option<FileWatch>,
    /// Why the file could not be used last, so that each trouble is told once.
    wrong: Option<String>,
}

impl TokenWatch {
    /// Follows the source of this token from here on.
    pub fn follow(&mut self, found: &FoundToken) {
        let file = match found.source {
            TokenSource::File => found.file.clone(),
            TokenSource::Credential | TokenSource::Variable => None,
        };
        self.wrong = None;
        if self.file == file && self.watch.is_some() == file.is_some() {
            return;
        }
        self.watch = None;
        if let Some(file) = &file {
            match FileWatch::new(file) {
                Ok(watch) => self.watch = Some(watch),
                Err(error) => tracing::warn!(
                    "the folder of the token file {} cannot be watched: {error}; after a change \
                     of the token run `pinrelay reload`",
                    file.display()
                ),
            }
        }
        self.file = file;
    }

    /// Whether another token in a file would be taken.
    pub fn is_of_a_file(&self) -> bool {
        self.file.is_some()
    }

    /// Resolves when the file has changed; never, if none is watched. Cancel-safe.
    pub async fn changed(&mut self) {
        let Some(watch) = &mut self.watch else {
            return std::future::pending().await;
        };
        if let Err(error) = watch.changed().await {
            tracing::warn!(
                "the token file is watched no longer: {error}; after a change of the token run \
                 `pinrelay reload`"
            );
            self.watch = None;
        }
    }

    /// The token that was `read` after a change, if it can be used. One that cannot is told once:
    /// the old one stays, for half a change must not stop the deliveries that it still carries.
    pub fn read_again(&mut self, read: Result<FoundToken, String>) -> Option<FoundToken> {
        let found = read.and_then(|found| match found.file == self.file {
            true => Ok(found),
            // Another source that happens to exist is not what the daemon was given.
            false => Err("the token file is gone".to_owned()),
        });
        match found {
            Ok(found) => {
                self.wrong = None;
                Some(found)
            }
            Err(error) => {
                if self.wrong.as_ref() != Some(&error) {
                    tracing::error!("{error}; the old token stays in use");
                    self.wrong = Some(error);
                }
                None
            }
        }
    }
}
