//! The operator's pause over restarts: what the queue keeps of it, and the moment at which it ends
//! by itself.
//!
//! While the process lives the pause is measured by the monotonic clock: the operator asked for
//! two hours of quiet, and a wall clock that leaps must not send what is to wait. Across a
//! restart only the wall clock goes on, so what is kept says when the pause ends by it; never is it
//! longer than it was asked to be, and where the wall clock is not believed it begins anew,
//! for waiting costs time alone while what was sent cannot be taken back. For the same reason
//! what cannot be read counts as a pause until it is resumed.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;
use crate::clock::{Millis, millis};
use crate::deliver::Pause;
use crate::queue::{PauseRecord, Queue};

/// How long the queue's folder may take to keep a pause or to let it go: a disk that does not answer
/// must not hold up the next command, nor a signal.
pub(super) const STORES: Duration = Duration::from_secs(2);

/// What is left of it at wall time `now`; `None`: it ends when it is ended.
fn left(record: &PauseRecord, now: Millis, believed: bool) -> Option<Duration> {
    let length = record.length?;
    let until = record.until.unwrap_or(now);
    let left = u64::try_from(until.saturating_sub(now)).unwrap_or(0);
    let left = if believed { left.min(length) } else { length };
    Some(Duration::from_millis(left))
}

/// Keeps the pause of this queue.
pub(super) struct Pauses {
    queue: Queue,
    clock: Clock,
    /// When the one that holds ends by itself.
    ends: Option<Instant>,
}

impl Pauses {
    /// What the last process left with the queue, if its pause still holds. `believed`: whether
    /// the wall clock is.
    pub async fn open(queue: Queue, clock: Clock, believed: bool) -> (Self, Option<Pause>) {
        let mut this = Self {
            queue,
            clock,
            ends: None,
        };
        let now = this.clock.now();
        let record = match this.queue.pause_record().await {
            Ok(None) => return (this, None),
            Ok(Some(record)) => record,
            Err(why) => {
                let reason = why.to_string();
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
        let left = left(&record, now, believed);
        if left.is_some_and(|left| left.is_zero()) {
            tracing::info!("the pause has ended while pinrelay was stopped: delivery goes on");
            // Left behind it says at the next start that it is over.
            let _ = this.queue.set_pause_record(None).await;
            return (this, None);
        }
        let pause = Pause {
            since: record.since,
            until: left.map(|left| now.saturating_add(millis(left))),
            reason: record.reason,
        };
        this.ends = left.map(|left| Instant::now() + left);
        log_pause(&pause, "delivery is still paused");
        (this, Some(pause))
    }

    /// Begins a pause, or goes on with one that has held since `held` under another end and
    /// reason. Yet to be made durable by [`Pauses::store`].
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
    /// The queue's: it holds all the same, and a restart would end it.
    pub async fn store(&self, pause: &Pause, length: Option<Duration>) -> Result<(), String> {
        let pause = pause.clone();
        let record = PauseRecord {
            since: pause.since,
            until: pause.until,
            reason: pause.reason,
            length: length.map(|length| millis(length).unsigned_abs()),
        };
        let stored = self.set(Some(record)).await;
        stored.map_err(|error| format!("delivery is paused, but a restart would end that: {error}"))
    }

    async fn set(&self, record: Option<PauseRecord>) -> Result<(), String> {
        let set = tokio::time::timeout(STORES, self.queue.set_pause_record(record));
        match set.await {
            Ok(set) => set.map_err(|error| error.to_string()),
            Err(_) => Err(format!(
                "the disk of {} does not answer (`dmesg`)",
                self.queue.place()
            )),
        }
    }

    /// Ends it, durably.
    ///
    /// # Errors
    /// Where it stays kept: the pause is not over then, or a restart would bring it back.
    pub async fn end(&mut self) -> Result<(), String> {
        let ended = self.set(None).await;
        ended.map_err(|error| format!("{error}; delivery stays as it is"))?;
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
    pub async fn ended_by_itself(&mut self) {
        self.ends = None;
        if let Err(error) = self.set(None).await {
            // A restart reads there that the time is over.
            tracing::warn!("{error}");
        }
        tracing::info!("the pause is over: delivery goes on");
    }
}

/// Says in the log that it holds.
pub(super) fn log_pause(pause: &Pause, what: &str) {
    let until = match pause.until {
        Some(at) => format!("until {}", crate::moment::utc(at)),
        None => "until it is resumed".to_owned(),
    };
    let reason = pause.reason.as_deref().unwrap_or("none given");
    tracing::warn!(reason, "{what} {until}; `pinrelay resume` ends it");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;
    use crate::queue::{Folder, Options, Storage};

    const NOW: Millis = 1_790_000_000_000;
    const HOUR: Duration = Duration::from_secs(3600);
    /// Where the queue in a folder keeps it.
    const FILE: &str = "pause";

    fn queue(folder: &Path) -> Queue {
        let folder = Folder {
            min_free: 0,
            ..Folder::new(folder)
        };
        let options = Options::new(Storage::Folder(folder));
        crate::queue::open(&options, Clock::manual(NOW))
            .unwrap()
            .queue
    }

    async fn pauses(queue: &Queue, now: Millis) -> (Pauses, Option<Pause>) {
        Pauses::open(queue.clone(), Clock::manual(now), true).await
    }

    #[test]
    fn what_is_left_of_it_is_never_more_than_was_asked_for() {
        let record = PauseRecord {
            since: NOW,
            until: Some(NOW + 3_600_000),
            reason: None,
            length: Some(3_600_000),
        };
        let minutes = |now, believed| {
            let left = left(&record, now, believed).expect("it ends");
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
        let folder = TempDir::new().unwrap();
        let queue = queue(folder.path());
        let (mut first, none) = pauses(&queue, NOW).await;
        assert_eq!(none, None);
        let words = Some("the shop \"moves\"\n".to_owned());
        let said = first.begin(None, Some(HOUR), words);
        assert_eq!(first.store(&said, Some(HOUR)).await, Ok(()));
        let (_, found) = pauses(&queue, NOW + 60_000).await;
        assert_eq!(found, Some(said));
        let (mut second, found) = pauses(&queue, NOW + 3_600_000).await;
        assert_eq!(found, None);
        assert!(!folder.path().join(FILE).exists());
        // Said anew it keeps its beginning; without an end it has to be ended.
        let said = second.begin(Some(NOW), None, None);
        assert_eq!(second.store(&said, None).await, Ok(()));
        assert_eq!((said.since, said.until), (NOW, None));
        assert_eq!(pauses(&queue, NOW + 86_400_000).await.1, Some(said));
        assert_eq!(second.end().await, Ok(()));
        assert_eq!(second.end().await, Ok(()));
        assert_eq!(pauses(&queue, NOW).await.1, None);
        queue.close().await.unwrap();
    }

    #[tokio::test]
    async fn what_cannot_be_read_holds_until_it_is_resumed() {
        let folder = TempDir::new().unwrap();
        let queue = queue(folder.path());
        for bytes in [
            &b""[..],
            b"{",
            b"\xff",
            b"{\"since\":1,\"until\":2}",
            b"{\"since\":1,\"until\":null,\"reason\":null,\"length\":5}",
        ] {
            std::fs::write(folder.path().join(FILE), bytes).unwrap();
            let (mut pauses, found) = pauses(&queue, NOW).await;
            let reason = found.expect("paused").reason.expect("words");
            assert!(reason.contains("cannot be read"), "{reason}");
            assert_eq!(pauses.end().await, Ok(()));
            assert!(!folder.path().join(FILE).exists());
        }
        queue.close().await.unwrap();
    }

    #[tokio::test]
    async fn what_cannot_be_kept_is_said() {
        let folder = TempDir::new().unwrap();
        let queue = queue(folder.path());
        let (mut pauses, _) = pauses(&queue, NOW).await;
        // Neither of these names is a file's any more.
        std::fs::create_dir(folder.path().join("pause.new")).unwrap();
        std::fs::create_dir(folder.path().join(FILE)).unwrap();
        let said = pauses.begin(None, None, None);
        let stored = pauses.store(&said, None).await;
        assert!(stored.is_err_and(|why| why.contains("a restart would end that")));
        assert!(pauses.end().await.is_err());
        queue.close().await.unwrap();
    }
}
