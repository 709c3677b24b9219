//! A queue with a file of each kind: events that wait in several generations, one of them open;
//! remembered ids in several files, merged ones among them; dead letters in three periods, some
//! queued again; a list of purged letters; the operator's pause. Left by a clean stop, and by a
//! kill behind some more events. And what clients were told of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::script::ask;
use crate::support::{Client, Daemon, Sample, Site, StandIn, s, samples, within};

/// The stand-in's switches in every run: it refuses some events for good.
pub fn refuses() -> Value {
    json!({"refuse_containing": "poison", "refuse_message": "no"})
}

/// How the process before left the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    Clean,
    Killed,
}

impl Left {
    pub const BOTH: [Self; 2] = [Self::Clean, Self::Killed];

    pub fn name(self) -> &'static str {
        match self {
            Self::Clean => "a clean stop",
            Self::Killed => "a kill",
        }
    }

    /// The folder with the queue in it, and what it promised.
    pub fn known(self) -> &'static Known {
        match self {
            Self::Clean => &PREPARED.0,
            Self::Killed => &PREPARED.1,
        }
    }
}

/// What was acknowledged, and the folder that has to hold it.
pub struct Known {
    /// Holds the queue, and what the daemon may keep beside it.
    pub state: PathBuf,
    /// Delivered before.
    pub delivered: Vec<Sample>,
    /// Queued, to be delivered.
    pub waiting: Vec<Sample>,
    /// Dead for good: those that are queued again die again.
    pub dead: Vec<Sample>,
    /// Those of the dead that are queued again.
    pub again: BTreeSet<String>,
    /// Dead letters that were given up: their period is gone, an import brings them back.
    pub purged: Vec<Sample>,
}

/// Both, made once; the folders go at the end of the process that made them.
static PREPARED: LazyLock<(Known, Known)> = LazyLock::new(prepare);

/// A place for a queue of this kind.
pub fn site(stand_in: &StandIn) -> Site {
    let site = Site::new(stand_in)
        .set("queue", "generation_events", "100")
        .set("dead_letters", "max_bytes", "8MiB")
        .set("delivery", "drain_deadline", "0s");
    let queue = site.path("state/queue").display().to_string();
    fs::create_dir_all(site.path("state")).expect("a folder");
    site.set("queue", "path", &queue)
}

/// A place with a copy of this queue.
pub fn site_with(stand_in: &StandIn, state: &Path) -> Site {
    let site = site(stand_in);
    copy(state, &site.path("state"));
    site
}

/// Copies what is in a folder into another one, as it is.
fn copy(from: &Path, to: &Path) {
    let status = (Command::new("cp").arg("-a"))
        .args([&from.join("."), to])
        .status();
    assert!(
        status.expect("cp").success(),
        "{} is copied",
        from.display()
    );
}

/// Events that Pinterest refuses.
fn poison(numbers: std::ops::Range<usize>) -> Vec<Sample> {
    let line = |n: usize| {
        format!(
            r#"{{"messageId":"poison-{n}","type":"track","event":"Product Viewed","context":{{"traits":{{"email":"poison{n}@mail.example"}}}}}}"#
        )
    };
    let sample = |n| Sample {
        id: format!("poison-{n}"),
        event_name: "view_content",
        line: line(n),
    };
    numbers.map(sample).collect()
}

/// A large event that cannot be sent: without a match key. What it carries does not compress.
fn large(series: &str, n: usize) -> Sample {
    use rand::distr::{Alphanumeric, SampleString};
    use rand::{RngExt, SeedableRng, rngs::StdRng};
    let mut dice = StdRng::seed_from_u64(n as u64);
    let length = dice.random_range(180_000..220_000);
    let noise = Alphanumeric.sample_string(&mut dice, length);
    let id = format!("large-{series}-{n}");
    Sample {
        line: format!(
            r#"{{"messageId":"{id}","type":"track","event":"Product Viewed","properties":{{"noise":"{noise}"}}}}"#
        ),
        id,
        event_name: "view_content",
    }
}

fn dies(daemon: &Daemon<'_>, samples: &[Sample], total: usize) {
    Client::queue(&daemon.socket(), samples);
    daemon.shows(s(60), "dead letters", |status| {
        status["dead_total"] == total
    });
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn done(site: &Site, method: &str, path: &str, body: &str) -> Value {
    let (status, text) = ask(&site.admin(), method, path, body).expect("an answer");
    assert_eq!(status, 200, "{method} {path}: {text}");
    serde_json::from_str(&text).expect("JSON")
}

fn prepare() -> (Known, Known) {
    let stand_in = StandIn::start();
    stand_in.mode(refuses());
    let site = site(&stand_in);
    let queue = site.path("state/queue");
    let daemon = site.start();

    // Until files of remembered ids were merged, and there are two more that were not: a
    // generation takes a little more than its hundred, the more the faster it comes.
    let seen = || {
        let names = names_in(&queue.join("seen"));
        let merged = |name: &String| {
            let ends = name
                .strip_suffix(".ids")
                .and_then(|ends| ends.split_once('-'));
            ends.is_some_and(|(from, to)| from != to)
        };
        (names.iter().any(merged), names.len())
    };
    let mut delivered = Vec::new();
    while !seen().0 || seen().1 < 3 {
        let count = delivered.len();
        assert!(count < 5000, "{:?} files of remembered ids", seen());
        delivered.extend(samples("delivered", count..count + 50));
        Client::queue(&daemon.socket(), &delivered[count..]);
        daemon.shows(s(60), "all delivered", |status| {
            status["delivered"] == delivered.len()
        });
    }

    // A period of letters that are all given up, so that a list stands for it.
    let fill = |series: &str, before: usize| {
        let periods = names_in(&queue.join("dead")).len();
        let mut letters = Vec::new();
        while names_in(&queue.join("dead")).len() <= periods.max(1) {
            assert!(letters.len() < 20, "a period takes no end");
            letters.push(large(series, letters.len()));
            dies(
                &daemon,
                &letters[letters.len() - 1..],
                before + letters.len(),
            );
        }
        letters
    };
    // The last of them begins the next period already, in which it stays.
    let mut purged = fill("given-up", 0);
    let mut dead = vec![purged.pop().expect("several")];
    for sample in &purged {
        let path = format!("/dead/purge?id={}", sample.id);
        assert_eq!(done(&site, "POST", &path, "")["count"], 1);
    }
    dead.extend(poison(0..6));
    dies(&daemon, &dead[1..], dead.len());
    let more = fill("kept", dead.len());
    dead.extend(more);
    let last = poison(6..12);
    dies(&daemon, &last, dead.len() + last.len());
    dead.extend(last);
    // The housekeeper looks for such a period every ten seconds.
    within(s(30), "a list of purged letters", || {
        (!names_in(&queue.join("purged")).is_empty()).then_some(())
    });

    done(
        &site,
        "POST",
        "/pause",
        r#"{"reason":"kept for the tests"}"#,
    );
    let mut waiting = samples("waiting", 0..260);
    for part in waiting.chunks(20) {
        Client::queue(&daemon.socket(), part);
    }
    let again = ["poison-1", "poison-8"];
    for id in again {
        let path = format!("/dead/retry?id={id}");
        assert_eq!(done(&site, "POST", &path, "")["count"], 1);
    }
    assert_eq!(daemon.stop(s(30)).code, Some(0));
    assert!(seen().0 && seen().1 >= 3, "{:?}", seen());
    assert!(names_in(&queue.join("gen")).len() >= 2);
    assert!(names_in(&queue.join("dead")).len() >= 2);
    assert!(queue.join("pause").exists());

    let known = |name: &str, waiting: &[Sample]| {
        let state = scratch().join(name);
        fs::create_dir_all(&state).expect("a folder");
        copy(&site.path("state"), &state);
        Known {
            state,
            delivered: delivered.clone(),
            waiting: waiting.to_vec(),
            dead: dead.clone(),
            again: again.map(str::to_owned).into(),
            purged: purged.clone(),
        }
    };
    let clean = known("clean", &waiting);
    let daemon = site.start();
    let late = samples("late", 0..30);
    for part in late.chunks(3) {
        Client::queue(&daemon.socket(), part);
    }
    daemon.kill();
    waiting.extend(late);
    (clean, known("killed", &waiting))
}

/// This process' own below the folder that cargo keeps for tests; those of processes that have
/// ended go.
fn scratch() -> PathBuf {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reads");
    for name in names_in(&all) {
        if !Path::new("/proc").join(&name).exists() {
            // Another process may be at it as well.
            let _ = fs::remove_dir_all(all.join(name));
        }
    }
    all.join(std::process::id().to_string())
}
