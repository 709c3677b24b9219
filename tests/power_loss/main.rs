//! Power loss, exhaustively: the real binary goes through a script under strace; from what it
//! wrote and synced, every disk is built that a power cut could have left, and each is opened.
//! Everything acknowledged before the cut has to be there, and the ledger has to hold.
//!
//! `PINRELAY_POWER_LOSS=all` goes through all cuts, otherwise a handful. A failure prints its
//! seed and keeps its trace; `PINRELAY_POWER_LOSS_SEED` and `PINRELAY_POWER_LOSS_REPLAY` (the
//! kept folder) repeat it.

#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the daemon's tests, which use all of it"
)]
#[path = "../daemon/support/mod.rs"]
mod support;

mod cuts;
mod disk;
mod judge;
mod open;
mod script;
mod story;
mod trace;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, mpsc};
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use cuts::Cut;
use disk::{Disk, Image};
use open::Found;
use script::{Life, Recording};
use story::Story;
use support::{Site, StandIn, s};
use trace::Step;

/// Cuts of the ordinary run.
const HANDFUL: usize = 60;
/// Images that go through the real binary.
const THROUGH: usize = 4;
const WORKERS: usize = 2;

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Where images are laid: memory, if there is some, for an image's own syncs prove nothing.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = tempfile::Builder::new()
        .prefix("pinrelay-")
        .tempdir_in(memory);
    made.or_else(|_| tempfile::tempdir()).expect("a folder")
}

fn site(stand_in: &StandIn) -> Site {
    Site::new(stand_in)
        .set(
            "queue",
            "generation_events",
            &script::GENERATION.to_string(),
        )
        .set("delivery", "max_batch_events", "20")
        .set("delivery", "max_in_flight", "2")
        .set("delivery", "linger", "10ms")
        .set("delivery", "request_timeout", "400ms")
        .set("delivery", "drain_deadline", "500ms")
}

/// Records, or takes what an earlier run kept.
fn recording() -> Recording {
    if let Some(kept) = variable("PINRELAY_POWER_LOSS_REPLAY") {
        let kept = PathBuf::from(kept);
        let root = fs::read_to_string(kept.join("root")).expect("a kept recording");
        let lives = (0..)
            .map_while(|n| fs::read_to_string(kept.join(format!("life-{n}"))).ok())
            .map(|trace| Life { trace, left: None })
            .collect();
        let root = root.into();
        return Recording { root, lives };
    }
    let stand_in = StandIn::start();
    script::record(&site(&stand_in), &stand_in)
}

fn keep(recording: &Recording) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("power_loss");
    fs::create_dir_all(&folder).expect("a folder");
    let root = recording.root.to_str().expect("UTF-8");
    fs::write(folder.join("root"), root).expect("written");
    for (at, life) in recording.lives.iter().enumerate() {
        fs::write(folder.join(format!("life-{at}")), &life.trace).expect("written");
    }
    folder
}

/// The steps of all lives; the model agrees with the folder at the end of each.
fn steps(recording: &Recording) -> Vec<Step> {
    let mut disk = Disk::new();
    let mut all = Vec::new();
    for life in &recording.lives {
        let from = all.last().map_or(0, |step: &Step| step.end);
        let steps = trace::read(&life.trace, &recording.root, from);
        for step in &steps {
            disk.take(step);
        }
        if let Some(left) = &life.left {
            disk.is(left);
        }
        all.extend(steps);
    }
    all
}

#[test]
fn after_a_power_cut_at_any_moment_everything_acknowledged_is_there() {
    if !script::can_trace() && variable("PINRELAY_POWER_LOSS_REPLAY").is_none() {
        println!("skipped: there is no strace here, or it may not trace");
        return;
    }
    let seed = variable("PINRELAY_POWER_LOSS_SEED")
        .map_or_else(rand::random, |seed| seed.parse().expect("a number"));
    let all = variable("PINRELAY_POWER_LOSS").as_deref() == Some("all");
    let recording = recording();
    let steps = steps(&recording);
    let story = Story::read(&steps);
    let trial = Trial {
        lines: lines(&story),
        now: i64::try_from((std::time::UNIX_EPOCH.elapsed().expect("after 1970")).as_millis())
            .expect("this century"),
        steps: &steps,
        seed,
        chosen: if all {
            None
        } else {
            Some(choose(&steps, seed))
        },
    };
    let sight = trial.run();
    let mut failures = sight.judge(&story);
    if !failures.is_empty() {
        let kept = keep(&recording);
        for (cut, faults) in failures.iter().take(100) {
            println!(
                "after sync {}, moment {}, kept: {}",
                cut.sync, cut.moment, cut.kept
            );
            for fault in faults.iter().take(6) {
                println!("    {fault}");
            }
        }
        println!(
            "PINRELAY_POWER_LOSS_SEED={seed} PINRELAY_POWER_LOSS_REPLAY={}",
            kept.display()
        );
        let image = kept.join("image");
        let _ = fs::remove_dir_all(&image);
        let (cut, _) = failures.swap_remove(0);
        trial.find(&cut).lay(&image);
        println!("the disk of the first of them: {}", image.display());
    }
    println!(
        "power loss: seed {seed}, {} events, {} syncs, {} images, {} distinct, {} failures",
        story.events.len(),
        sight.syncs,
        sight.cuts.len(),
        sight.found.len(),
        failures.len()
    );
    assert!(failures.is_empty(), "see above");
    through_the_binary(&trial, &sight, &story);
}

fn lines(story: &Story) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    for (id, event) in &story.events {
        let mut lines: Vec<_> = event.lines.iter().map(|(_, line)| line.clone()).collect();
        lines.sort();
        lines.dedup();
        all.insert(id.clone(), lines);
    }
    all
}

/// Some cuts, anywhere.
fn choose(steps: &[Step], seed: u64) -> BTreeSet<usize> {
    let mut count = 0;
    cuts::each(steps, seed, |_, _| count += 1);
    let mut dice = StdRng::seed_from_u64(seed ^ 1);
    (0..HANDFUL).map(|_| dice.random_range(0..count)).collect()
}

struct Trial<'a> {
    lines: BTreeMap<String, Vec<String>>,
    now: i64,
    steps: &'a [Step],
    seed: u64,
    /// `None`: all.
    chosen: Option<BTreeSet<usize>>,
}

/// What was seen.
#[derive(Default)]
struct Sight {
    syncs: usize,
    /// Every cut, with the number of its image.
    cuts: Vec<(Cut, usize)>,
    found: Vec<Result<Found, String>>,
}

impl Trial<'_> {
    fn each(&self, mut show: impl FnMut(Cut, &dyn Fn() -> Image)) -> usize {
        let mut number = 0;
        cuts::each(self.steps, self.seed, |cut, image| {
            if self.chosen.as_ref().is_none_or(|c| c.contains(&number)) {
                show(cut, image);
            }
            number += 1;
        })
    }

    fn find(&self, wanted: &Cut) -> Image {
        let mut found = None;
        self.each(|cut, image| {
            if (cut.moment, &cut.kept) == (wanted.moment, &wanted.kept) {
                found = Some(image());
            }
        });
        found.expect("the same cuts again")
    }

    /// Opens every distinct image, some at a time.
    fn run(&self) -> Sight {
        let scratch = scratch();
        let begun = Instant::now();
        let (images, inbox) = mpsc::sync_channel::<(usize, Image)>(WORKERS);
        let inbox = Mutex::new(inbox);
        let found: Mutex<Vec<(usize, Result<Found, String>)>> = Mutex::default();
        let mut sight = Sight::default();
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    loop {
                        let next = inbox.lock().expect("no worker panics").recv();
                        let Ok((number, image)) = next else { return };
                        let root = scratch.path().join(number.to_string());
                        let seen = open::open_image(&image, &root, self.now, &self.lines);
                        let _ = fs::remove_dir_all(&root);
                        let mut found = found.lock().expect("no worker panics");
                        found.push((number, seen));
                        if found.len().is_multiple_of(500) {
                            println!("{} images opened, {:?}", found.len(), begun.elapsed());
                        }
                    }
                });
            }
            let mut known: HashMap<u128, usize> = HashMap::new();
            sight.syncs = self.each(|cut, image| {
                let image = image();
                let next = known.len();
                let number = *known.entry(image.hash()).or_insert(next);
                if number == next {
                    images.send((number, image)).expect("a worker");
                }
                sight.cuts.push((cut, number));
            });
            drop(images);
        });
        let mut found = found.into_inner().expect("no worker panics");
        found.sort_by_key(|(number, _)| *number);
        sight.found = found.into_iter().map(|(_, found)| found).collect();
        sight
    }
}

impl Sight {
    /// Cuts after which something was wrong.
    fn judge(&self, story: &Story) -> Vec<(Cut, Vec<String>)> {
        let mut failures = Vec::new();
        let mut settled = BTreeSet::new();
        for (cut, image) in &self.cuts {
            let found = match &self.found[*image] {
                Ok(found) => found,
                Err(error) => {
                    failures.push((cut.clone(), vec![error.clone()]));
                    continue;
                }
            };
            let faults = judge::faults(story, found, cut.moment, &settled);
            if !faults.is_empty() {
                failures.push((cut.clone(), faults));
            }
            if cut.least {
                // Its acknowledged events that are not queued are settled from here on; those
                // that come again with other bytes may be revived.
                let once = story
                    .events
                    .iter()
                    .filter(|(_, event)| event.lines.len() == 1);
                let gone = once.filter(|(id, _)| {
                    found.again.get(*id) == Some(&pinrelay::queue::Receipt::Duplicate)
                        && !found.claims.contains_key(*id)
                });
                settled.extend(gone.map(|(id, _)| id.clone()));
            }
        }
        failures
    }
}

/// Some of the images once more, through the real binary: it starts, delivers what is there,
/// and stops.
fn through_the_binary(trial: &Trial<'_>, sight: &Sight, story: &Story) {
    let mut dice = StdRng::seed_from_u64(trial.seed ^ 2);
    for _ in 0..THROUGH {
        let (cut, image) = &sight.cuts[dice.random_range(0..sight.cuts.len())];
        let found = sight.found[*image].as_ref().expect("judged before");
        let stand_in = StandIn::start();
        let site = site(&stand_in);
        trial.find(cut).lay(&site.path("queue"));
        let daemon = site.start();
        let status = daemon.shows(s(30), "an empty queue", |status| {
            status["ledger"]["queued"] == 0 && status["ledger"]["sending"] == 0
        });
        assert_eq!(
            status["ledger"]["ledger_imbalance"], 0,
            "{cut:?} {status:#}"
        );
        assert_eq!(status["ledger"]["set_aside"], 0, "{cut:?} {status:#}");
        let seen: BTreeMap<_, _> = (stand_in.events().into_iter())
            .map(|e| (e.event_id.to_string(), e.event_name.to_string()))
            .collect();
        for (id, claims) in &found.claims {
            if story.events[id].sent.is_empty() {
                // Without a match key it is not sent at all.
                continue;
            }
            let name = seen
                .get(id)
                .unwrap_or_else(|| panic!("{id} was not sent, {cut:?}"));
            assert!(claims[0].1.as_ref().is_none_or(|sent_as| sent_as == name));
        }
        stand_in.mode(json!({}));
        assert_eq!(daemon.stop(s(20)).code, Some(0), "{cut:?}");
    }
}
