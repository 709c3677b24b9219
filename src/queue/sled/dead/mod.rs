//! Dead letters: stores of their own, by period, numbered by themselves.
//!
//! A period closes after a day or when it has grown large; its folder goes as a whole. Records
//! are packed like chunks: key = first number (u64), part (u16). They are written and synced
//! before the batch of `meta` that counts them: a record at or above `dead_next` was never
//! counted and is overwritten.

pub mod group;
pub mod letters;
pub mod period;

pub use group::CachedGroup;
pub use letters::{DeadLetters, Known, Opening};
pub use period::{group_of, heads, read_group, read_letters};
