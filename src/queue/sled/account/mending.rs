//! What recovery mends with.

use crate::clock::Millis;
use crate::queue::sled::account::ledger::Ledger;
use crate::queue::sled::disk::{Batch, Evidence};
/// What a start mends with: what it tells to, the account, and the batch that all of it goes into.
pub struct Mending<'a> {
    pub evidence: &'a Evidence<'a>,
    pub ledger: &'a mut Ledger,
    pub batch: &'a mut Batch,
    pub now: Millis,
}
