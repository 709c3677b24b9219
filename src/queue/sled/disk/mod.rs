//! The disk: sled made into stores whose commits are synced, folders, failed reads, and
//! `quarantine/`. Nothing here knows what is stored.

pub mod batch;
pub mod error;
pub mod evidence;
pub mod files;
pub mod layout;
pub mod quarantine;
pub mod scratch;
pub mod store;
pub mod sync;
pub mod syscalls;
