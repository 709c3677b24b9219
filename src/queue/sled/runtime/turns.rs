//! Who may deliver: one holder in this process, for as long as it wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Held by the turn and by each of its calls that is under way, so that the next turn begins
/// behind them all.
pub type Right = Arc<OwnedSemaphorePermit>;

/// Gives out the right.
pub struct Turns {
    free: Arc<Semaphore>,
    had_one: AtomicBool,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            free: Arc::new(Semaphore::new(1)),
            had_one: AtomicBool::new(false),
        }
    }
}

impl Turns {
    /// Waits until nobody has it.
    pub async fn take(&self) -> Option<Right> {
        let right = self.free.clone().acquire_owned().await;
        right.map(Arc::new).ok()
    }

    /// Whether this is the first turn: that one finds the line as the start left it.
    pub fn is_first(&self) -> bool {
        !self.had_one.swap(true, Ordering::AcqRel)
    }
}
