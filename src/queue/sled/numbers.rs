//! Numbers that must not be taken for one another.

use std::fmt;

/// The number of a generation. Invariant: it never goes down and is never given again, for the ids
/// of a generation replace the file that bears its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// The number of a period of dead letters. Invariant: it never goes down, whatever the clock does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeriodNumber(pub u64);

impl Generation {
    /// The greatest there is.
    pub const MAX: Self = Self(u64::MAX);

    /// The one behind it.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// All from this one to `last`.
    pub fn through(self, last: Self) -> impl Iterator<Item = Self> {
        (self.0..=last.0).map(Self)
    }
}

impl PeriodNumber {
    /// The one behind it.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl From<u64> for Generation {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl From<u64> for PeriodNumber {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

/// As its folder is called.
impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}", self.0)
    }
}

/// As its folder is called.
impl fmt::Display for PeriodNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}", self.0)
    }
}
