//! Numbers of folders.

use crate::queue::numbers::number;

number! {
    /// The number of a generation, shown as its folder is called. Invariant: it never goes down and
    /// is never given again, for the ids of a generation replace the file that bears its number.
    Generation, "{:010}"
}

number! {
    /// The number of a period of dead letters, shown as its folder is called. Invariant: it never
    /// goes down, whatever the clock does.
    PeriodNumber, "{:010}"
}

impl Generation {
    /// The greatest there is.
    pub const MAX: Self = Self(u64::MAX);
}
