//! The delivery side with Pinterest as its destination.

use super::client::{ClientError, Http};
use super::profile::PINTEREST;
use crate::deliver::handle::{Handle, start};
use crate::deliver::item::Prepare;
use crate::deliver::options::{Environment, Options};
use crate::queue::Queue;
use crate::secret::SharedToken;

/// Starts delivering from `queue` to the ad account. `seed` feeds the jitter. Must be called
/// within a runtime.
///
/// # Errors
/// [`ClientError`] if the options allow no client; nothing was started then.
pub fn spawn(
    options: &Options,
    queue: Queue,
    prepare: Prepare,
    token: SharedToken,
    environment: Environment,
    seed: u64,
) -> Result<Handle, ClientError> {
    let http = Http::new(options, token, environment.clock.clone())?;
    let handle = start(options, queue, prepare, &PINTEREST, http, environment, seed);
    Ok(handle)
}
