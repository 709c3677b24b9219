//! The commands.

pub mod transform;
