//! Tests of the durable engine that need more of it than one file.

mod ages;
mod clock;
mod cut_short;
pub mod damage;
pub mod prelude;
mod purged;
mod recovery;
mod regressions;
pub mod support;
mod watched;
