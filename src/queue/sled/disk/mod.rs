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

pub use batch::{Batch, part_key, parts, split_part};
pub use error::{At, StoreError};
pub use evidence::Evidence;
pub use files::{
    create_private_dir, delete_folder, disk_usage, entries, exchange, file_id, has_room,
    if_out_of_inodes, is_there, numbered, put_in_place, replace, retry_without_fds, successor,
    sweep, sync_dir,
};
pub use layout::{
    DEAD, GENERATIONS, PAUSE, PURGED, QUARANTINE, SEEN, generation_folder, generation_name,
    meta_folder, period_folder, period_name, seen_file, seen_name,
};
pub use quarantine::{copy_durably, forget_copy, retire};
pub use scratch::Scratch;
pub use store::{Store, StoredRow};
pub use syscalls::FileId;
