//! Damage met twice: a kill in the middle of what a start mends, a repair of fresh damage, and
//! the system's errors, which are no damage.

use std::path::Path;
use std::time::Instant;

use tempfile::TempDir;

use super::damage_tests::*;
use super::guard::Guard;
use super::high::{Found, HighFile};
use super::tests::{block_on, copy, until};
use super::*;
use crate::queue::{Outcome, Queue};

/// What a start does until the account is open, and then a kill.
fn begin_to_open(path: &Path) {
    let (_, found) = HighFile::open(&path.join("high")).unwrap();
    let high = match found {
        Found::High(high) => high,
        _ => high::High::default(),
    };
    let guard = Guard {
        root: path,
        clean: false,
    };
    let account = account::open(&guard, &high).unwrap();
    assert!(account.is_remade);
}

/// The second start took the half-made account for a whole one, and deleted the folders of the
/// dead letters that it did not name.
#[test]
fn a_start_killed_while_the_account_is_made_anew_is_made_good_by_the_next() {
    let home = TempDir::new().unwrap();
    let known = rich(home.path());
    for lost in ["meta", "meta and high", "meta's end"] {
        let path = home.path().join("queue");
        let from = match lost {
            "meta's end" => "made",
            _ => "killed",
        };
        copy(&home.path().join(from), &path);
        std::fs::remove_dir_all(path.join("meta")).unwrap();
        match lost {
            "meta's end" => copy(&home.path().join("killed/meta"), &path.join("meta")),
            "meta and high" => std::fs::remove_file(path.join("high")).unwrap(),
            _ => {}
        }
        begin_to_open(&path);
        let verdict = verify(&path, &mut |_| {}).unwrap();
        assert!(!verdict.findings.is_empty(), "{lost}: it is half made");
        begin_to_open(&path);
        let came = open_and_hold(&path, &known, lost);
        assert!(
            matches!(came, Came::Opened { set_aside: 0 }),
            "{lost}: {came:?}"
        );
        std::fs::remove_dir_all(&path).unwrap();
    }
}

/// A file of remembered ids was damaged; its generation, the newest that held anything, became
/// the one that is written to, and was deleted under the writer when what had been in it then
/// was settled.
#[test]
fn a_generation_whose_ids_were_lost_is_not_sealed_any_more() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("queue");
    let ids = path.join("seen/0000000001-0000000001.ids");
    let known = block_on(async {
        let clock = Clock::manual(START);
        let mut known = Known::default();
        let queue = Queue::sled(SledEngine::open(options(&path), clock.clone()).unwrap());
        send(&queue, 0..30, 0, &mut known).await;
        send(&queue, 30..50, 0, &mut known).await;
        // Rolled, sealed, and that noted: a moment after the file is there.
        let begun = Instant::now();
        let is_noted = || begun.elapsed() > Duration::from_millis(500);
        until(&queue, "sealed", || ids.exists() && is_noted()).await;
        queue.close().await.unwrap();
        std::fs::remove_file(&ids).unwrap();

        let queue = Queue::sled(SledEngine::open(options(&path), clock.clone()).unwrap());
        send(&queue, 50..60, 0, &mut known).await;
        end(&queue, 50, &mut known, |_| Outcome::Delivered).await;
        queue.settle(Vec::new()).await.unwrap();
        queue.close().await.unwrap();
        known
    });
    let came = open_and_hold(&path, &known, "after the restart");
    assert!(matches!(came, Came::Opened { set_aside: 0 }), "{came:?}");
}
