//! The way from a block to its receipts.

use super::entry::Receipt;
use super::error::QueueError;

/// Receipts on their way: they resolve after the commitment.
pub struct Pending(pub(super) tokio::sync::oneshot::Receiver<Result<Vec<Receipt>, QueueError>>);

/// Where the receipts of one who waits for them go. Dropped without an answer, it says that the
/// queue has stopped.
pub struct Reply(tokio::sync::oneshot::Sender<Result<Vec<Receipt>, QueueError>>);

impl Reply {
    /// Tells what is known; whoever waited may be gone.
    pub fn answer(self, receipts: Result<Vec<Receipt>, QueueError>) {
        let _ = self.0.send(receipts);
    }
}

impl Pending {
    /// Receipts that somebody else waits for first: whose block holds the events of several.
    pub fn later() -> (Reply, Self) {
        let (reply, receipts) = tokio::sync::oneshot::channel();
        (Reply(reply), Self(receipts))
    }

    /// One receipt per event of the block, in order, after the commitment.
    pub async fn receipts(self) -> Result<Vec<Receipt>, QueueError> {
        self.0
            .await
            .unwrap_or_else(|_| Err(QueueError::Stopped("the committer is gone".into())))
    }
}
