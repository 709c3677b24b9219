//! The layout of a queue's folder: every path in it, and what each is called where something is
//! told of it.

use std::path::{Path, PathBuf};

use crate::queue::contract::LetterNumber;
use crate::queue::sled::numbers::{Generation, PeriodNumber};

/// Whose queue it is, and the key of its messageId hashes.
pub const FORMAT: &str = "format";
/// One process at a time.
pub const LOCK: &str = "lock";
/// The counters, outside of any store.
pub const HIGH: &str = "high";
/// The operator's pause, while there is one.
pub const PAUSE: &str = "pause";
/// The folder of the account's store.
const META: &str = "meta";
/// The folder of the generations, each with a store.
pub const GENERATIONS: &str = "gen";
/// The folder of the dead letters, by period, each with a store.
pub const DEAD: &str = "dead";
/// The folder of the files of remembered ids.
pub const SEEN: &str = "seen";
/// The folder of the lists of purged letters.
pub const PURGED: &str = "purged";
/// The folder of what could not be used.
pub const QUARANTINE: &str = "quarantine";

/// The folder of the account's store.
pub fn meta_folder(root: &Path) -> PathBuf {
    root.join(META)
}

/// The folder of a generation.
pub fn generation_folder(root: &Path, generation: Generation) -> PathBuf {
    root.join(generation_name(generation))
}

/// What a generation is called.
pub fn generation_name(generation: Generation) -> String {
    format!("{GENERATIONS}/{generation}")
}

/// The folder of a period of dead letters.
pub fn period_folder(root: &Path, period: PeriodNumber) -> PathBuf {
    root.join(period_name(period))
}

/// What a period is called.
pub fn period_name(period: PeriodNumber) -> String {
    format!("{DEAD}/{period}")
}

/// The name in `seen/` of the file that covers these generations.
pub fn seen_file(generations: (Generation, Generation)) -> String {
    format!("{}-{}.ids", generations.0, generations.1)
}

/// What a file of remembered ids is called.
pub fn seen_name(file: &str) -> String {
    format!("{SEEN}/{file}")
}

/// The list of the purged letters from `first` to `last`.
pub fn purged_list(root: &Path, (first, last): (LetterNumber, LetterNumber)) -> PathBuf {
    root.join(PURGED)
        .join(format!("{:010}-{:010}.ids", first.0, last.0))
}
