//! Listening, whatever is spoken: `unix` binds socket files and knows them again, `acceptor` accepts the
//! clients of a service, `crowd` says who goes when there is no room, `served` is what an HTTP
//! server makes of both.

mod acceptor;
mod crowd;
mod served;
mod unix;

pub use acceptor::{Acceptor, Listener, acceptor};
pub use crowd::{Busy, Crowd, Limits, Place, Who};
pub use served::{Served, Service};
pub use unix::{BindError, LONGEST_PATH, SocketFile, bind, connect_now, is_listened_on};
