//! The walk in a running daemon, on the housekeeper's thread: nothing rolls, is sealed or is
//! deleted meanwhile, and committing and claiming go on.

use crate::queue::contract::{Finding, Verdict};
use crate::queue::lock::lock;
use crate::queue::sled::account::Ledger;
use crate::queue::sled::disk::{Store, StoreError};
use crate::queue::sled::numbers::{Generation, PeriodNumber};
use crate::queue::sled::runtime::{Shared, disk_watch, period_store, with_generation};
use crate::queue::sled::verify::walk::{Stores, Walk};

/// Checks the stores against the account as it was a moment ago.
pub fn verify(shared: &Shared, ledger: &Ledger, meta: Option<StoreError>) -> Verdict {
    let mut verdict = walk(shared, ledger);
    if let Some(error) = meta {
        verdict.findings.push(Finding {
            object: "meta".into(),
            what: error.to_string(),
            next: "restart the daemon: the account is made anew".into(),
        });
    }
    verdict
}

fn walk(shared: &Shared, ledger: &Ledger) -> Verdict {
    let root = &shared.options.path;
    let mut tell = |what: &str| {
        tracing::debug!("verify reads {what}");
        // This thread has the disk to watch, however long the walk.
        if let Err(error) = disk_watch::look(shared) {
            shared.fail(&error.to_string());
        }
    };
    match Walk::new(ledger).all(root, &mut Open(shared), true, &mut tell) {
        Ok(walk) => walk.verdict,
        Err(error) => Verdict {
            findings: vec![Finding {
                object: "the queue".into(),
                what: error.to_string(),
                next: "see to the disk, then ask again".into(),
            }],
            ..Verdict::default()
        },
    }
}

/// The stores of the daemon that runs.
struct Open<'a>(&'a Shared);

impl Stores for Open<'_> {
    fn generations(&self) -> Result<Vec<Generation>, StoreError> {
        Ok(lock(&self.0.claims).generations.numbers())
    }

    fn generation(
        &mut self,
        generation: Generation,
        look: &mut dyn FnMut(&Store),
    ) -> Result<(), StoreError> {
        with_generation(self.0, generation, |store| {
            look(store);
            Ok(())
        })
        .map(drop)
    }

    fn period(
        &mut self,
        period: PeriodNumber,
        look: &mut dyn FnMut(&Store),
    ) -> Result<bool, StoreError> {
        let Some(store) = period_store(self.0, period)? else {
            return Ok(false);
        };
        look(&store);
        Ok(true)
    }
}
