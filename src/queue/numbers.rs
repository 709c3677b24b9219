//! Numbers that must not be taken for one another.

/// A number of one kind: compared and counted, never mixed with another kind.
pub trait Number: Copy + Ord {
    fn of(value: u64) -> Self;
    fn value(self) -> u64;

    /// All from this one to `last`.
    fn through(self, last: Self) -> impl Iterator<Item = Self> {
        (self.value()..=last.value()).map(Self::of)
    }

    /// All from this one on.
    fn onward(self) -> impl Iterator<Item = Self> {
        (self.value()..).map(Self::of)
    }

    /// As keys are made of it, so that they sort like the numbers.
    fn to_key(self) -> [u8; 8] {
        self.value().to_be_bytes()
    }

    /// The number that a key of [`Number::to_key`] is of.
    fn of_key(key: &[u8]) -> Option<Self> {
        let bytes = key.try_into().ok()?;
        Some(Self::of(u64::from_be_bytes(bytes)))
    }
}

impl Number for u64 {
    fn of(value: u64) -> Self {
        value
    }

    fn value(self) -> u64 {
        self
    }
}

/// Makes a type of its own of a number, shown as the number.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $shown:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// The one behind it.
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl std::ops::Add<u64> for $name {
            type Output = Self;

            fn add(self, count: u64) -> Self {
                Self(self.0 + count)
            }
        }

        impl std::ops::AddAssign<u64> for $name {
            fn add_assign(&mut self, count: u64) {
                self.0 += count;
            }
        }

        impl std::ops::Sub<u64> for $name {
            type Output = Self;

            fn sub(self, count: u64) -> Self {
                Self(self.0 - count)
            }
        }

        /// How far apart two are.
        impl std::ops::Sub for $name {
            type Output = u64;

            fn sub(self, other: Self) -> u64 {
                self.0 - other.0
            }
        }

        impl $crate::queue::numbers::Number for $name {
            fn of(value: u64) -> Self {
                Self(value)
            }

            fn value(self) -> u64 {
                self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, $shown, self.0)
            }
        }
    };
}

pub(super) use number;

number! {
    /// An event's number in the line. Numbers ascend in the order of acceptance, may have gaps, and
    /// are never given again.
    Seq, "{}"
}

number! {
    /// A dead letter's number. Each death gives a new one; none is given again.
    LetterNumber, "{}"
}
