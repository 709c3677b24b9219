//! The whole delivery side against a scripted Pinterest, under paused time.

mod answers;
mod custom;
mod drain;
mod hand;
mod pause;
mod refused_all;
mod shown;
mod simulation;
mod trouble;
mod turns;
mod world;

pub use world::options;
