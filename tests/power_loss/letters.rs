//! The script of the dead letters: events set apart, periods that follow one another, a purge.
//!
//! Not here: a purge by `dead_letters.retention`, which is a minute at least. It takes the same
//! way as the one by `dead_letters.max_bytes`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rand::distr::{Alphanumeric, SampleString};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::script::{Recording, Stage, poison, settled};
use crate::support::{Client, Daemon, Sample, Site, StandIn, s, samples, within};

/// `dead_letters.max_bytes`, the least the config allows, and so the size of a period as well.
pub const QUOTA: u64 = 1 << 20;
/// The housekeeper asks for a purge every ten seconds.
const PURGE: Duration = s(25);

/// An event under whose requests Pinterest breaks down.
fn stubborn(n: usize) -> Sample {
    let id = format!("stubborn-{n}");
    Sample {
        line: format!(
            r#"{{"messageId":"{id}","type":"track","event":"Product Viewed","context":{{"traits":{{"email":"s@mail.example"}}}}}}"#
        ),
        id,
        event_name: "view_content",
    }
}

/// A large event that cannot be sent: without a match key. What it carries does not compress.
fn large(n: usize) -> String {
    let mut dice = StdRng::seed_from_u64(n as u64);
    let length = dice.random_range(180_000..220_000);
    let noise = Alphanumeric.sample_string(&mut dice, length);
    format!(
        r#"{{"messageId":"large-{n}","type":"track","event":"Product Viewed","properties":{{"noise":"{noise}"}}}}"#
    )
}

struct Scene<'a> {
    site: &'a Site,
    stand_in: &'a StandIn,
    delivered: u64,
}

impl Scene<'_> {
    /// Bytes of all periods; what vanishes meanwhile counts nothing.
    fn usage(&self) -> u64 {
        let list = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
        let files = list(self.site.path("queue/dead")).flat_map(|period| list(period.path()));
        files
            .filter_map(|file| Some(file.metadata().ok()?.len()))
            .sum()
    }

    /// Whether the queue has it apart from the line. Not by the periods' bytes, which need not
    /// grow by a letter: a store uses again what is free in it.
    fn is_apart(&self, event: &Sample) -> bool {
        let trace = (self.site.command(&["trace", &event.id, "--json"]).output()).expect("it runs");
        let trace: Value = serde_json::from_slice(&trace.stdout).expect("JSON");
        trace["stored"]["from_dead_letters"] == true
    }

    /// Sends it, and good ones beside it, until it is set apart.
    fn set_apart(&mut self, daemon: &Daemon<'_>, dead: u64, event: &Sample) {
        let mut client = Client::connect(&daemon.socket());
        let asked = self.stand_in.totals().requests;
        assert_eq!(client.ask(&event.line).status(), "queued");
        self.stand_in.asked(asked + 1, s(10));
        // Eight failures among successes are its own.
        for turn in 0..30 {
            if self.is_apart(event) {
                return;
            }
            let n = self.delivered as usize;
            let other = &samples("beside", n..n + 1)[0];
            assert_eq!(client.ask(&other.line).status(), "queued");
            self.delivered += 1;
            settled(daemon, self.delivered, dead);
            let asked = self.stand_in.totals().requests;
            within(s(10), &format!("failure {turn}, or its letter"), || {
                let failed = self.stand_in.totals().requests > asked;
                (failed || self.is_apart(event)).then_some(())
            });
        }
        panic!("{} is not set apart", event.id);
    }
}

/// Runs the script.
pub fn record(site: &Site, stand_in: &StandIn) -> Recording {
    let mut stage = Stage::new(site);
    let mut scene = Scene {
        site,
        stand_in,
        delivered: 0,
    };
    let breaks = json!({
        "fault": "500", "fault_containing": "stubborn",
        "refuse_containing": "poison", "refuse_message": "no"
    });

    // The first period: an event set apart, then letters until it is full.
    let daemon = stage.start();
    stand_in.mode(breaks.clone());
    scene.set_apart(&daemon, 0, &stubborn(0));
    let mut client = Client::connect(&daemon.socket());
    let mut dead = 0;
    while scene.usage() <= QUOTA {
        assert_eq!(client.ask(&large(dead as usize)).status(), "queued");
        dead += 1;
        settled(&daemon, scene.delivered, dead);
    }
    // The next letters begin another.
    Client::queue(&daemon.socket(), &poison(0..3, "one"));
    settled(&daemon, scene.delivered, dead + 3);
    scene.set_apart(&daemon, dead + 3, &stubborn(1));

    // A period in which an event waits is not purged. Now none does, for a moment or for good.
    stand_in.mode(json!({"refuse_containing": "poison", "refuse_message": "no"}));
    settled(&daemon, scene.delivered + 2, dead + 3);
    scene.delivered += 2;
    daemon.shows(PURGE, "a purge", |status| {
        status["ledger"]["purged"] == dead
    });
    assert_eq!(client.ask(&large(0)).status(), "duplicate");

    // Set apart at the time of a kill.
    stand_in.mode(breaks);
    scene.set_apart(&daemon, 3, &stubborn(2));
    daemon.kill();
    stage.ended();

    stand_in.well();
    let daemon = stage.start();
    settled(&daemon, scene.delivered + 1, 3);
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    stage.ended();
    stage.recording()
}
