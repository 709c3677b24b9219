//! The way from a block to its receipts.

use super::entry::Receipt;
use super::error::QueueError;

/// Receipts on their way: they resolve after the commitment.
pub struct Pending(pub(super) tokio::sync::oneshot::Receiver<Result<Vec<Receipt>, QueueError>>);

impl Pending {
    /// One receipt per event of the block, in order, after the commitment.
    pub async fn receipts(self) -> Result<Vec<Receipt>, QueueError> {
        self.0
            .await
            .unwrap_or_else(|_| Err(QueueError::Stopped("the committer is gone".into())))
    }
}
