//! The real binary over its real sockets: daemon, stand-in and clients as a test drives them.
//! Everything that is started here ends with its value, by its pid.

mod client;
mod daemon;
mod events;
mod http;
mod lint;
mod mount;
mod process;
mod stand_in;
mod stored;
mod terminal;

use std::time::{Duration, Instant};

pub use client::{Answer, Client, deliver_all};
pub use daemon::{Daemon, Site};
pub use events::{Sample, noisy, sample, samples};
pub use http::{get, request};
pub use lint::Page;
pub use mount::Mount;
pub use process::{Ended, PINRELAY, Process, bare};
pub use stand_in::StandIn;
pub use stored::is_stored;
pub use terminal::seen;

/// Between two looks at another process.
const LOOK: Duration = Duration::from_millis(20);

/// Looks until there is something to see. It tells no event of its own across a process, so
/// this is a bounded poll.
pub fn within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        std::thread::sleep(LOOK);
    }
}

/// Seconds.
pub const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Milliseconds.
pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
