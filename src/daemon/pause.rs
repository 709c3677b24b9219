//! The operator's pause over restarts: a small file in the queue's folder, and the moment at
//! which it ends by itself.
//!
//! While the process lives the pause is measured by the monotonic clock: the operator asked for
//! two hours of quiet, and a wall clock that leaps must not send what is to wait. Across a
//! restart only the wall clock goes on, so the file says when the pause ends by it; never is it
//! longer than it was asked to be, and where the wall clock is not believed it begins anew,
//! for waiting costs time alone while what was sent cannot be taken back. For the same reason
//! a file that cannot be read counts as a pause until it is resumed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::clock::{Millis, millis};
use crate::deliver::Pause;

/// In the queue's folder, so that it goes where the queue goes.
const FILE: &str = "pause";

/// What the file holds, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    pause: Pause,
    /// How long it was to be, milliseconds; `None`: until it is ended.
    length: Option<u64>,
}

impl Record {
    /// What is left of it at wall time `now`; `None`: it ends when it is ended.
    fn left(&self, now: Millis, believed: bool) -> Option<Duration> {
        let length = self.length?;
        let until = self.pause.until.unwrap_or(now);
        let left = u64::try_from(until.saturating_sub(now)).unwrap_or(0);
        let left = if believed { left.min(length) } else { length };
        Some(Duration::from_millis(left))
    }
}

/// Keeps the pause of this queue.
pub(super) struct Pauses {
    file: PathBuf,
    clock: Clock,
    /// When the one that holds ends by itself.
    ends: Option<Instant>,
}

impl Pauses {
    /// What the last process left in `folder`, if its pause still holds. `believed`: whether
    /// the wall clock is.
    pub fn open(folder: &Path, clock: Clock, believed: bool) -> (Self, Option<Pause>) {
        let mut this = Self {
            file: folder.join(FILE),
            clock,
            ends: None,
        };
        let now = this.clock.now();
        let record = match read(&this.file) {
            Ok(None) => return (this, None),
            Ok(Some(record)) => record,
            Err(why) => {
                let reason = format!("the file {} cannot be read: {why}", this.file.display());
                tracing::error!(
                    "{reason}; delivery is taken to be paused, for what was meant to wait must \
                     not leave; `pinrelay resume` ends it"
                );
                let pause = Pause {
                    since: now,
                    until: None,
                    reason: Some(reason),
                };
                return (this, Some(pause));
            }
        };
        let left = record.left(now, believed);
        if left.is_some_and(|left| left.is_zero()) {
            tracing::info!("the pause has ended while pinrelay was stopped: delivery goes on");
            // Left behind it says at the next start that it is over.
            let _ = this.remove();
            return (this, None);
        }
        let mut pause = record.pause;
        pause.until = left.map(|left| now.saturating_add(millis(left)));
        this.ends = left.map(|left| Instant::now() + left);
        told(&pause, "delivery is still paused");
        (this, Some(pause))
    }

    /// Begins a pause, or goes on with one that has held since `held` under another end and
    /// reason. Yet to be kept by [`Pauses::keep`].
    pub fn begin(
        &mut self,
        held: Option<Millis>,
        length: Option<Duration>,
        reason: Option<String>,
    ) -> Pause {
        let now = self.clock.now();
        self.ends = length.map(|length| Instant::now() + length);
        Pause {
            since: held.unwrap_or(now),
            until: length.map(|length| now.saturating_add(millis(length))),
            reason,
        }
    }

    /// Keeps the pause that has begun over restarts.
    ///
    /// # Errors
    /// The system's: it holds all the same, and a restart would end it.
    pub fn keep(&self, pause: &Pause, length: Option<Duration>) -> Result<(), String> {
        let record = Record {
            pause: pause.clone(),
            length: length.map(|length| millis(length).unsigned_abs()),
        };
        write(&self.file, &record).map_err(|error| {
            format!(
                "delivery is paused, but a restart would end that: {} cannot be written: {error}",
                self.file.display()
            )
        })
    }

    /// Ends it, durably.
    ///
    /// # Errors
    /// Where the file stays: the pause is not over then, or a restart would bring it back.
    pub fn end(&mut self) -> Result<(), String> {
        self.remove().map_err(|error| {
            format!(
                "the file {} cannot be removed: {error}; delivery stays as it is",
                self.file.display()
            )
        })?;
        self.ends = None;
        Ok(())
    }

    /// Resolves when the pause ends by itself; never, if there is none that does.
    pub async fn over(&self) {
        match self.ends {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// What [`Pauses::over`] asks for.
    pub fn ended_by_itself(&mut self) {
        self.ends = None;
        if let Err(error) = self.remove() {
            // A restart reads there that the time is over.
            tracing::warn!("{} cannot be removed: {error}", self.file.display());
        }
        tracing::info!("the pause is over: delivery goes on");
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        sync_folder(&self.file)
    }
}

/// Says in the log that it holds.
pub(super) fn told(pause: &Pause, what: &str) {
    let until = match pause.until.map(jiff::Timestamp::from_millisecond) {
        Some(Ok(at)) => at.strftime("until %Y-%m-%dT%H:%M:%SZ").to_string(),
        _ => "until it is resumed".to_owned(),
    };
    let reason = pause.reason.as_deref().unwrap_or("none given");
    tracing::warn!(reason, "{what} {until}; `pinrelay resume` ends it");
}

/// The file's record; `None` if there is no file.
fn read(file: &Path) -> Result<Option<Record>, String> {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let record: Record = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
    if record.length.is_some() != record.pause.until.is_some() {
        return Err("it says half of when the pause ends".into());
    }
    Ok(Some(record))
}

/// Invariant: after any crash the file is the old one or the new one, whole.
fn write(file: &Path, record: &Record) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut out = File::create(&new)?;
    serde_json::to_writer(&mut out, record)?;
    out.write_all(b"\n")?;
    out.sync_all()?;
    fs::rename(&new, file)?;
    sync_folder(file)
}

fn sync_folder(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_790_000_000_000;
    const HOUR: Duration = Duration::from_secs(3600);

    fn pauses(folder: &Path, now: Millis) -> (Pauses, Option<Pause>) {
        Pauses::open(folder, Clock::manual(now), true)
    }

    #[test]
    fn what_is_left_of_it_is_never_more_than_was_asked_for() {
        let record = Record {
            pause: Pause {
                since: NOW,
                until: Some(NOW + 3_600_000),
                reason: None,
            },
            length: Some(3_600_000),
        };
        let minutes = |now, believed| {
            let left = record.left(now, believed).expect("it ends");
            left.as_secs() / 60
        };
        assert_eq!(minutes(NOW + 600_000, true), 50);
        assert_eq!(minutes(NOW + 3_600_000, true), 0);
        assert_eq!(minutes(NOW + 86_400_000, true), 0);
        assert_eq!(minutes(NOW - 86_400_000, true), 60, "the clock went back");
        assert_eq!(minutes(NOW + 86_400_000, false), 60, "it may have leapt");
    }

    #[tokio::test]
    async fn it_is_found_again_with_its_words_and_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let (mut first, none) = pauses(folder.path(), NOW);
        assert_eq!(none, None);
        let words = Some("the shop \"moves\"\n".to_owned());
        let said = first.begin(None, Some(HOUR), words);
        assert_eq!(first.keep(&said, Some(HOUR)), Ok(()));
        let (_, found) = pauses(folder.path(), NOW + 60_000);
        assert_eq!(found, Some(said));
        let (mut second, found) = pauses(folder.path(), NOW + 3_600_000);
        assert_eq!(found, None);
        assert!(!folder.path().join(FILE).exists());
        // Said anew it keeps its beginning; without an end it has to be ended.
        let said = second.begin(Some(NOW), None, None);
        assert_eq!(second.keep(&said, None), Ok(()));
        assert_eq!((said.since, said.until), (NOW, None));
        assert_eq!(pauses(folder.path(), NOW + 86_400_000).1, Some(said));
        assert_eq!(second.end(), Ok(()));
        assert_eq!(second.end(), Ok(()));
        assert_eq!(pauses(folder.path(), NOW).1, None);
    }

    #[tokio::test]
    async fn what_cannot_be_read_holds_until_it_is_resumed() {
        for bytes in [
            &b""[..],
            b"{",
            b"\xff",
            b"{\"since\":1,\"until\":2}",
            b"{\"since\":1,\"until\":null,\"reason\":null,\"length\":5}",
        ] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(FILE), bytes).unwrap();
            let (mut pauses, found) = pauses(folder.path(), NOW);
            let reason = found.expect("paused").reason.expect("words");
            assert!(reason.contains("cannot be read"), "{reason}");
            assert_eq!(pauses.end(), Ok(()));
            assert!(!folder.path().join(FILE).exists());
        }
    }

    #[tokio::test]
    async fn what_cannot_be_kept_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let (mut pauses, _) = pauses(&folder.path().join("gone"), NOW);
        let said = pauses.begin(None, None, None);
        let kept = pauses.keep(&said, None);
        assert!(kept.is_err_and(|why| why.contains("a restart would end that")));
        assert!(pauses.end().is_err());
    }
}
