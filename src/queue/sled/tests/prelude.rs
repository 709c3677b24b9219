//! Names that every test here uses.

pub use std::collections::HashSet;
pub use std::os::unix::fs::FileExt as _;
pub use std::path::Path;
pub use std::sync::{Arc, Mutex};
pub use std::time::{Duration, Instant};

pub use tempfile::TempDir;

pub use crate::clock::{Clock, Millis};
pub use crate::queue::Queue;
pub use crate::queue::block::{Block, BlockBuilder};
pub use crate::queue::entry::{DeadReason, Entry, Mark, Outcome, Receipt, Settlement};
pub use crate::queue::error::{OpenError, QueueError};
pub use crate::queue::lock::lock;
pub use crate::queue::sled::engine::SledEngine;
pub use crate::queue::sled::numbers::{Generation, PeriodNumber};
pub use crate::queue::sled::options::Options;
