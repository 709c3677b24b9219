//! Dead letters that are queued again and not claimed.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::queue::sled::numbers::PeriodNumber;

/// One of them.
pub struct DeferredLetter {
    pub number: u64,
    pub period: PeriodNumber,
    /// The name of an attempt that may have arrived.
    pub sent_as: Option<Arc<str>>,
}

/// All of them, in the order in which they are claimed.
pub type Deferred = VecDeque<DeferredLetter>;
