//! The service manager's watchdog, fed by the queue's committer and not by a timer: a disk that
//! does not answer is seen, whatever else still runs.

use crate::lifecycle::notify;
use crate::queue::Queue;

/// Feeds it three times in the time that it allows, each time the committer has come round.
/// Nothing, where nobody watches. Ends with the queue.
pub(super) fn feed(queue: Queue) {
    let Some(limit) = notify::watchdog_limit() else {
        return;
    };
    tokio::spawn(async move {
        while queue.heartbeat().await.is_ok() {
            notify::alive();
            tokio::time::sleep(limit / 3).await;
        }
    });
}
