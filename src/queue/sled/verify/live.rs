//! The walk in a running daemon, on the housekeeper's thread: nothing rolls, is sealed or is
//! deleted meanwhile, and committing and claiming go on.

use super::super::dead::store_of;
use super::super::error::StoreError;
use super::super::ledger::Ledger;
use super::super::open::generation_folder;
use super::super::store::Store;
use super::super::{Shared, housekeeper, lock};
use super::walk::{Stores, Walk};
use crate::queue::verdict::{Finding, Verdict};

/// Checks the stores against the account as it was a moment ago.
pub(crate) fn run(shared: &Shared, ledger: &Ledger, meta: Option<StoreError>) -> Verdict {
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
        if let Err(error) = housekeeper::look(shared) {
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
    fn generations(&self) -> Result<Vec<u64>, StoreError> {
        let claims = lock(&self.0.claims);
        Ok(claims.generations.keys().copied().collect())
    }

    fn generation(
        &mut self,
        generation: u64,
        look: &mut dyn FnMut(&Store),
    ) -> Result<(), StoreError> {
        let claims = lock(&self.0.claims);
        let store = claims.generations.get(&generation).map(|r| r.store.clone());
        match store {
            // Deleted since.
            None => {}
            Some(Some(store)) => {
                drop(claims);
                look(&store);
            }
            Some(None) => {
                // Under the lock: a store cannot be opened twice.
                let root = &self.0.options.path;
                look(&Store::open(root, &generation_folder(root, generation))?);
            }
        }
        Ok(())
    }

    fn period(&mut self, period: u64, look: &mut dyn FnMut(&Store)) -> Result<bool, StoreError> {
        let Some(store) = store_of(self.0, period)? else {
            return Ok(false);
        };
        look(&store);
        Ok(true)
    }
}
