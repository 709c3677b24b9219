//! The counts of match quality beside the queue, so that they outlive a restart. They are this
//! daemon's own: where the queue is in a database, they are in the folder that systemd gives the
//! service (`$STATE_DIRECTORY`), and without that they begin anew with each start.
//!
//! Invariant: the file is whole or the one before; what cannot be read is moved aside and told, and
//! counting begins anew from that moment.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::config::{Config, Engine};
use crate::files;
use crate::observe::{Kept, Observer};

/// The folder of the service's state; the first, if there are several.
const STATE: &str = "STATE_DIRECTORY";
/// Behind the name of the queue's folder, or of its schema.
const SUFFIX: &str = ".quality";
/// No such file is larger, in bytes.
const LARGEST: u64 = 16 << 20;
/// Between two looks whether something has changed. A kill loses the counts since the last.
const EVERY: Duration = Duration::from_secs(60);

/// How long a stop waits for the file.
const PATIENCE: Duration = Duration::from_secs(1);

/// The file, read; `None`: there is no place for one.
pub(super) struct QualityFile {
    path: Option<PathBuf>,
    observer: Observer,
}

/// The file, kept up to date until this is stopped.
pub(super) struct Keeping {
    kept: Option<(PathBuf, JoinHandle<()>)>,
    observer: Observer,
}

/// What the file stands beside.
pub(super) fn beside(config: &Config) -> Option<PathBuf> {
    match config.queue.engine {
        Engine::Sled => Some(config.queue_folder()),
        Engine::Postgres => {
            let folders = env::var_os(STATE)?;
            let folder = env::split_paths(&folders).next()?;
            folder
                .is_absolute()
                .then(|| folder.join(config.queue_schema()))
        }
    }
}

impl QualityFile {
    /// Reads what was counted before.
    pub fn open(beside: Option<&Path>, observer: Observer, clock: Clock) -> Self {
        let path = beside.map(|queue| behind(queue, SUFFIX));
        let kept = path.as_deref().and_then(read_or_move);
        observer.quality().begin(kept, clock.now());
        Self { path, observer }
    }

    /// Keeps it from here on. Must be called within a runtime.
    pub fn keep(self) -> Keeping {
        let Self { path, observer } = self;
        let Some(path) = path else {
            let kept = None;
            return Keeping { kept, observer };
        };
        let (file, counts) = (path.clone(), observer.clone());
        let task = tokio::spawn(async move {
            let mut is_told = false;
            loop {
                tokio::time::sleep(EVERY).await;
                let (file, counts) = (file.clone(), counts.clone());
                let kept = tokio::task::spawn_blocking(move || keep(&file, &counts)).await;
                if let Ok(Err(why)) = kept
                    && !std::mem::replace(&mut is_told, true)
                {
                    tracing::warn!(
                        "the counts of match quality are not kept over a restart: {why}"
                    );
                }
            }
        });
        Keeping {
            kept: Some((path, task)),
            observer,
        }
    }
}

impl Keeping {
    /// Writes what has changed, for the last time. A disk that hangs is not waited for.
    pub async fn stop(self) {
        let Self { kept, observer } = self;
        let Some((path, task)) = kept else {
            return;
        };
        task.abort();
        let kept = tokio::task::spawn_blocking(move || keep(&path, &observer));
        let why = match tokio::time::timeout(PATIENCE, kept).await {
            Ok(Ok(Ok(()))) => return,
            Ok(Ok(Err(why))) => why,
            Ok(Err(_)) | Err(_) => "the disk does not answer".to_owned(),
        };
        tracing::warn!("the counts of match quality are not kept over this stop: {why}");
    }
}

/// The path with this behind its name.
fn behind(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

/// What cannot be read is moved aside.
fn read_or_move(path: &Path) -> Option<Kept> {
    match read(path) {
        Ok(kept) => kept,
        Err(why) => {
            let moved = fs::rename(path, behind(path, ".unreadable")).is_ok();
            tracing::warn!(
                file = %path.display(),
                "the counts of match quality cannot be read ({why}); they begin anew{}",
                if moved { ", and the file is kept as .unreadable" } else { "" }
            );
            None
        }
    }
}

fn read(path: &Path) -> Result<Option<Kept>, String> {
    let text = match files::read_text(path, LARGEST) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
        Ok(text) => text,
    };
    let kept: Kept = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    match kept.version {
        1 => Ok(Some(kept)),
        other => Err(format!(
            "it is of version {other}, and this release knows 1"
        )),
    }
}

fn keep(path: &Path, observer: &Observer) -> Result<(), String> {
    let Some(kept) = observer.quality().changed() else {
        return Ok(());
    };
    write(path, &kept).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    // Always of this name: what a kill leaves behind is written over.
    let beside = behind(path, ".tmp");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut new = options.custom_flags(libc::O_NOFOLLOW).open(&beside)?;
    new.write_all(&serde_json::to_vec(kept)?)?;
    new.sync_all()?;
    fs::rename(beside, path)
}
