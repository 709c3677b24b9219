//! Listening, whatever is spoken: `unix` binds socket files and knows them again, `door` accepts the
//! clients of a service, `crowd` says who goes when there is no room, `served` is what an HTTP
//! server makes of both.

mod crowd;
mod door;
mod served;
mod unix;

pub use crowd::{Busy, Limits, Place, Who};
pub use door::{Door, Listener, door};
pub use served::{Served, Service};
pub use unix::{BindError, SocketFile, bind};
