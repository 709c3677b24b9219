//! The reference engine: the simplest correct queue, in memory.
//!
//! It is the model that the contract tests hold the durable engine against, and what the
//! delivery loop is simulated on. [`MemoryEngine::reopen`] forgets what a crash forgets.

mod engine;
mod forget;
mod letters;
mod state;
mod turn;

pub use engine::MemoryEngine;
pub use turn::MemoryTurn;
