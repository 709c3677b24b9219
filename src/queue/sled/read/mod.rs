//! Reading beside the committer: claims, look-ups by messageId, pages for the operator, what is of one person.
//!
//! Nothing here writes. What cannot be read is reported to the committer, which sets it aside.

pub mod claim;
pub mod dead_page;
pub mod find;
pub mod queued_letters;
pub mod theirs;
pub mod waiting;
