//! The whole delivery side against a scripted Pinterest, under paused time.

mod answers;
mod custom;
mod drain;
mod random;
mod refused_all;
mod trouble;
mod world;

pub use world::options;
