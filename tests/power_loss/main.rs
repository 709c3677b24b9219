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
mod letters;
mod open;
mod operator;
mod script;
mod step;
mod story;
mod trace;
mod trial;
mod words;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use disk::Disk;
use script::{Life, Recording};
use step::{Act, Step};
use story::Story;
use support::{Site, StandIn, s};
use trace::CutShort;
use trial::{Sight, Trial};

/// Cuts of the ordinary run.
const HANDFUL: usize = 50;

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn site(stand_in: &StandIn) -> Site {
    site_at(&stand_in.url())
}

fn site_at(url: &str) -> Site {
    Site::at(url)
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

/// Recordings before it is given up: the kill must not cut a write short.
const ATTEMPTS: usize = 5;

/// A recording and its steps, as `record` makes it.
fn recorded(record: impl Fn() -> Recording) -> (Recording, Vec<Step>) {
    for _ in 0..ATTEMPTS {
        let recording = record();
        match steps(&recording) {
            Ok(steps) => return (recording, steps),
            Err(CutShort(call)) => println!("recorded again: the kill cut this short: {call}"),
        }
    }
    panic!(
        "in each of {ATTEMPTS} recordings a kill cut a call short, and whether it took effect is \
         not known; run it again"
    );
}

/// What an earlier run kept.
fn kept(folder: &Path) -> Recording {
    let root = fs::read_to_string(folder.join("root")).expect("a kept recording");
    let lives = (0..)
        .map_while(|n| fs::read_to_string(folder.join(format!("life-{n}"))).ok())
        .map(|trace| Life { trace, left: None })
        .collect();
    let root = root.into();
    Recording { root, lives }
}

fn keep(recording: &Recording, folder: &Path) {
    fs::create_dir_all(folder).expect("a folder");
    let root = recording.root.to_str().expect("UTF-8");
    fs::write(folder.join("root"), root).expect("written");
    for (at, life) in recording.lives.iter().enumerate() {
        fs::write(folder.join(format!("life-{at}")), &life.trace).expect("written");
    }
}

/// The steps of all lives; the model agrees with the folder at the end of each.
fn steps(recording: &Recording) -> Result<Vec<Step>, CutShort> {
    let mut disk = Disk::new();
    let mut all = Vec::new();
    for life in &recording.lives {
        let from = all.last().map_or(0, |step: &Step| step.end);
        let steps = trace::read(&life.trace, &recording.root, from)?;
        for step in &steps {
            disk.take(step);
        }
        if let Some(left) = &life.left {
            disk.is(left);
        }
        all.extend(steps);
    }
    Ok(all)
}

fn all_cuts() -> bool {
    variable("PINRELAY_POWER_LOSS").as_deref() == Some("all")
}

/// Records a script and tries its cuts, all or a handful; `through` images go through the real
/// binary.
fn try_script(name: &str, handful: usize, through: usize, record: impl Fn() -> Recording) {
    let replayed = variable("PINRELAY_POWER_LOSS_REPLAY").map(PathBuf::from);
    if replayed
        .as_ref()
        .is_some_and(|folder| !folder.ends_with(name))
    {
        return;
    }
    if !script::can_trace() && replayed.is_none() {
        println!("skipped: there is no strace here, or it may not trace");
        return;
    }
    let seed = variable("PINRELAY_POWER_LOSS_SEED")
        .map_or_else(rand::random, |seed| seed.parse().expect("a number"));
    let (recording, steps) = match &replayed {
        Some(folder) => {
            let recording = kept(folder);
            let steps = steps(&recording).expect("what was read once");
            (recording, steps)
        }
        None => recorded(record),
    };
    let story = Story::read(&steps);
    let trial = Trial::new(&steps, &story, 0, seed, (!all_cuts()).then_some(handful));
    let sight = trial.run();
    if !sight.failures.is_empty() {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("power_loss")
            .join(name);
        keep(&recording, &folder);
        report(&trial, &sight, &folder);
        println!(
            "PINRELAY_POWER_LOSS_SEED={seed} PINRELAY_POWER_LOSS_REPLAY={}",
            folder.display()
        );
    }
    println!(
        "power loss, {name}: seed {seed}, {} events, {} syncs, {} images, {} distinct, {} failures",
        story.events.len(),
        sight.syncs,
        sight.cuts.len(),
        sight.found.len(),
        sight.failures.len()
    );
    assert!(sight.failures.is_empty(), "see above");
    through_the_binary(&trial, &sight, &story, through);
}

#[test]
fn after_a_power_cut_at_any_moment_everything_acknowledged_is_there() {
    try_script("events", HANDFUL, 3, || {
        let stand_in = StandIn::start();
        script::record(&site(&stand_in), &stand_in)
    });
}

#[test]
fn events_set_apart_and_purged_periods_stand_a_power_cut_as_well() {
    try_script("letters", HANDFUL / 2, 1, || {
        let stand_in = StandIn::start();
        let quota = letters::QUOTA.to_string();
        let site = site(&stand_in).set("dead_letters", "max_bytes", &quota);
        letters::record(&site, &stand_in)
    });
}

#[test]
fn what_the_operator_did_to_dead_letters_stands_a_power_cut() {
    try_script("operator", HANDFUL / 2, 1, || {
        let stand_in = StandIn::start();
        operator::record(&site(&stand_in), &stand_in)
    });
}

/// Says what failed; the disk of the first failure is laid down for a look.
fn report(trial: &Trial<'_>, sight: &Sight, kept: &Path) {
    for (cut, faults) in sight.failures.iter().take(60) {
        println!(
            "after sync {}, moment {}, kept: {}",
            cut.sync, cut.moment, cut.kept
        );
        for fault in faults.iter().take(6) {
            println!("    {fault}");
        }
    }
    let image = kept.join("image");
    let _ = fs::remove_dir_all(&image);
    trial.find(&sight.failures[0].0).lay(&image);
    println!("the disk of the first of them: {}", image.display());
}

/// Some of the images once more, through the real binary: it starts, delivers what is there,
/// and stops.
fn through_the_binary(trial: &Trial<'_>, sight: &Sight, story: &Story, count: usize) {
    let mut dice = StdRng::seed_from_u64(trial.seed ^ 2);
    for _ in 0..count {
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
            // Without a match key it is not sent at all; at this cut it may not be mended yet.
            let is_keyless = id.starts_with("keyless-") && !claims[0].0.contains("email");
            if is_keyless || story.events[id].sent.is_empty() {
                continue;
            }
            let name = seen
                .get(id)
                .unwrap_or_else(|| panic!("{id} was not sent, {cut:?}"));
            assert!(claims[0].1.as_ref().is_none_or(|sent_as| sent_as == name));
        }
        assert_eq!(daemon.stop(s(20)).code, Some(0), "{cut:?}");
    }
}

/// Steps of a short life: a queue is made and takes three events that nobody fetches.
fn short_life() -> (Vec<Step>, Vec<support::Sample>) {
    let site = site_at("http://127.0.0.1:9/v5");
    let samples = support::samples("short", 0..3);
    let recording = script::record_short(&site, &samples);
    (steps(&recording).expect("nobody was killed"), samples)
}

#[test]
fn without_its_syncs_the_queue_is_seen_to_lose_events() {
    if !script::can_trace() {
        println!("skipped: there is no strace here, or it may not trace");
        return;
    }
    let (mut steps, _) = short_life();
    let of_events = |step: &Step| match &step.act {
        Act::Sync { path } => path.starts_with("gen") && path.ends_with("db"),
        _ => false,
    };
    let story = Story::read(&steps);
    let cuts = |steps: &[Step]| Trial::new(steps, &story, 0, 1, None).run().failures;
    let none = cuts(&steps);
    assert!(none.is_empty(), "{none:?}");
    steps.retain(|step| !of_events(step));
    let failures = cuts(&steps);
    let lost = |faults: &[String]| faults.iter().any(|f| f.contains("acknowledged"));
    assert!(
        failures.iter().any(|(_, faults)| lost(faults)),
        "{failures:?}"
    );
}

/// What a killed process wrote and did not sync is seen by the next one, which must not take it
/// for durable.
#[test]
fn a_kill_and_then_a_power_cut_lose_nothing_either() {
    if !script::can_trace() {
        println!("skipped: there is no strace here, or it may not trace");
        return;
    }
    let (first, samples) = short_life();
    let all = all_cuts();
    let changes = |act: &Act| {
        !matches!(
            act,
            Act::Sync { .. } | Act::Sent { .. } | Act::Got { .. } | Act::End
        )
    };
    let kills: Vec<usize> = (1..first.len())
        .filter(|at| changes(&first[at - 1].act))
        .collect();
    // The ordinary run: while `meta` and the first generation are made, and before the sync of
    // the last event.
    let last_write = |folder: &str, name: &str| {
        let is = |step: &Step| match &step.act {
            Act::Write { path, .. } => path.starts_with(folder) && path.ends_with(name),
            _ => false,
        };
        first.iter().rposition(is).map(|at| at + 1)
    };
    let few = [("meta", "conf"), ("gen", "conf"), ("gen", "db")];
    let few: Vec<usize> = (few.iter())
        .filter_map(|(folder, name)| last_write(folder, name))
        .collect();
    let (mut images, mut lives, mut evidence) = (0, 0, 0);
    for kill in if all { kills } else { few } {
        let mut steps: Vec<Step> = first[..kill].to_vec();
        let mut moment = first[kill - 1].end + 1;
        // A kill may leave a record cut short behind the last whole one: opening writes over it,
        // and the store is copied before.
        if let Act::Write { path, at, data } = &first[kill - 1].act
            && path.starts_with("gen")
            && path.ends_with("db")
        {
            let act = Act::Write {
                path: path.clone(),
                at: at + data.len() as u64,
                data: vec![0x17; 40],
            };
            steps.push(Step {
                begin: moment,
                end: moment,
                act,
            });
            moment += 1;
        }
        let mut disk = Disk::new();
        for step in &steps {
            disk.take(step);
        }
        let site = site_at("http://127.0.0.1:9/v5");
        disk.image(&|_| disk::LetterFilter::All)
            .lay(&site.path("queue"));
        let recording = script::record_short(&site, &samples);
        let second = trace::read(&recording.lives[0].trace, &recording.root, moment);
        let second = second.expect("nobody was killed");
        steps.push(Step {
            begin: moment,
            end: moment,
            act: Act::End,
        });
        steps.extend(second);
        let story = Story::read(&steps);
        let trial = Trial::new(&steps, &story, moment, 1, (!all).then_some(20));
        let sight = trial.run();
        if !sight.failures.is_empty() {
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("killed");
            report(&trial, &sight, &kept);
            panic!("killed after {:.200?}", first[kill - 1].act);
        }
        // The copies made before the stores were changed are whole for their syncs alone.
        let of_copies = |step: &Step| match &step.act {
            Act::Sync { path } => path.starts_with("quarantine") && path.ends_with("db"),
            _ => false,
        };
        steps.retain(|step| !of_copies(step));
        let unsynced = Trial::new(&steps, &story, moment, 1, None);
        evidence += unsynced.torn_copies().len();
        images += sight.found.len();
        lives += 1;
    }
    assert!(evidence > 0, "unsynced copies are not seen to be torn");
    println!("power loss after a kill: {lives} kills, {images} distinct images, 0 failures");
}
