//! The contract's own types, in one place for the engines behind it.

pub use super::census::Census;
pub use super::disk::{Closed, Disk};
pub use super::entry::{DeadReason, Entry, EntryId, Mark, Origin, Outcome, Receipt, Settlement};
pub use super::error::{OpenError, QueueError};
pub use super::find::{Found, Sent, Unsettled, Waiting, WaitingPage};
pub use super::forget::{Forgotten, Whose};
pub use super::id_hash::{IdHasher, IdMap, IdSet};
pub use super::letter::{
    Import, Imported, Letter, LetterFilter, LetterKey, PAGE_BYTES, PAGE_NUMBERS, Page,
};
pub use super::loss::{Loss, LossKind};
pub use super::numbers::{LetterNumber, Number, Seq};
pub use super::pause::PauseRecord;
pub use super::pending::Pending;
pub use super::verdict::{Account, Finding, Verdict};
pub use super::window::{CLAIM_WINDOW_BYTES, CLAIM_WINDOW_EVENTS, deferred_share};
