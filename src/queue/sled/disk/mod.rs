//! The disk: sled made into stores whose commits are synced, folders, failed reads, and
//! `quarantine/`. Nothing here knows what is stored.
//!
//! `store` is one sled store, `batch` what is committed to it at once, `sync` makes that durable;
//! `syscalls` sees reads that fail. `layout` has every path, `files` makes and deletes them,
//! `scratch` clones a folder. `evidence` and `quarantine` keep what cannot be used. `error` is the
//! one error of them all.

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
