//! Which engines there are: a closed set, each matched by name.

/// Makes the same call of whichever engine it is. `$kind` is an enum with a variant for each.
macro_rules! each {
    ($kind:ident, $on:expr, $engine:ident => $call:expr) => {
        match $on {
            $kind::Memory($engine) => $call,
            $kind::Sled($engine) => $call,
            #[cfg(feature = "postgres")]
            $kind::Postgres($engine) => $call,
        }
    };
}

pub(super) use each;
