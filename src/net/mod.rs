//! Listening, whatever is spoken: `unix` binds socket files, `bounded` limits what the clients of
//! one listener may hold.

mod bounded;
mod unix;

pub use bounded::{Bounded, Brief, Limits};
pub use unix::{BindError, bind};
