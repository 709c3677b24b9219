//! The script of the operator: dead letters go back, away, and come in again edited.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::script::{Recording, Stage, poison, settled};
use crate::support::{Client, Sample, Site, StandIn, s};

/// Without a match key, so that it is never sent as it is.
fn keyless(n: usize) -> Sample {
    let id = format!("keyless-{n}");
    Sample {
        line: format!(r#"{{"messageId":"{id}","type":"track","event":"Product Viewed"}}"#),
        id,
        event_name: "view_content",
    }
}

fn dead(site: &Site, args: &[&str]) {
    let mut all = vec!["dead"];
    all.extend(args);
    let out = site.command(&all).output().expect("it runs");
    assert_eq!(out.status.code(), Some(0), "{args:?}: {out:?}");
}

/// The exported letters of these ids, with an email.
fn mended(export: &Path, ids: &[&str]) -> String {
    let text = fs::read_to_string(export).expect("an export");
    let lines = text.lines().filter_map(|line| {
        let mut line: Value = serde_json::from_str(line).expect("a letter");
        let id = line["event"]["messageId"].as_str()?;
        if !ids.contains(&id) {
            return None;
        }
        line["event"]["context"] = json!({"traits": {"email": "k@mail.example"}});
        Some(format!("{line}\n"))
    });
    lines.collect()
}

/// Runs the script.
pub fn record(site: &Site, stand_in: &StandIn) -> Recording {
    let mut stage = Stage::new(site);
    let daemon = stage.start();
    stand_in.mode(json!({"refuse_containing": "poison", "refuse_message": "no"}));
    let letters: Vec<_> = (0..8).map(keyless).collect();
    Client::queue(&daemon.socket(), &letters);
    Client::queue(&daemon.socket(), &poison(0..6, "one"));
    settled(&daemon, 0, 14);
    let export = site.path("dead.ndjson");
    let name = export.to_str().expect("UTF-8");
    dead(site, &["export", "-o", name]);
    for id in ["keyless-1", "keyless-2", "keyless-3"] {
        dead(site, &["purge", "--yes", "--id", id]);
    }
    // Nobody answers: what goes back stays queued, also over a kill.
    stand_in.mode(json!({"fault": "silent"}));
    for id in ["poison-1", "poison-4"] {
        dead(site, &["retry", "--id", id]);
    }
    let asked = stand_in.totals().requests;
    stand_in.asked(asked + 1, s(20));
    let mended = mended(&export, &["keyless-2", "keyless-5"]);
    fs::write(&export, mended).expect("written");
    dead(site, &["import", name]);
    daemon.kill();
    stage.ended();

    stand_in.well();
    let daemon = stage.start();
    settled(&daemon, 4, 8);
    dead(site, &["retry", "--id", "poison-0"]);
    dead(site, &["purge", "--yes", "--id", "keyless-6"]);
    settled(&daemon, 5, 6);
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    stage.ended();
    stage.recording()
}
