//! A start with reads well again: everything that was acknowledged is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::prepare::Known;
use crate::script::{Run, get, letters};
use crate::support::{Client, Process, Sample, Site, StandIn, s};

/// Of the delivered events so many in a row are asked for one: each file holds a hundred ids.
const EVERY: usize = 5;

/// What is said of a queue that lost nothing never stands in a log.
pub fn log_is_well(log: &str) -> Result<(), String> {
    let bad = ["panicked", "a bug", "made anew", "does not add up"];
    for line in log.lines() {
        if bad.iter().any(|bad| line.contains(bad)) {
            return Err(format!("the log says: {line}"));
        }
    }
    Ok(())
}

/// Starts the daemon, lets it deliver all, and looks at everything.
pub fn judge(site: &Site, stand_in: &StandIn, known: &Known, run: &Run) -> Result<(), String> {
    let mut process = Process::start(&mut site.run());
    let looked = look(site, stand_in, known, run, &mut process);
    if looked.is_err() && !process.running() {
        let log = process.output();
        return looked.map_err(|why| format!("{why}; the next start: {log}"));
    }
    looked.map_err(|why| format!("the next start: {why}"))?;
    process.signal(Signal::SIGTERM);
    let ended = process.ended(s(30));
    log_is_well(&ended.output).map_err(|why| format!("the next start: {why}"))?;
    if ended.code != Some(0) {
        return Err(format!(
            "the next start ends with {:?}: {}",
            ended.code, ended.output
        ));
    }
    Ok(())
}

fn look(
    site: &Site,
    stand_in: &StandIn,
    known: &Known,
    run: &Run,
    process: &mut Process,
) -> Result<(), String> {
    let admin = site.admin();
    let begun = Instant::now();
    while Client::try_connect(&site.socket()).is_err() || get(&admin, "GET", "/status", "").is_err()
    {
        if !process.running() {
            return Err("it does not come up".into());
        }
        if begun.elapsed() > s(60) {
            return Err("it does not come up in time".into());
        }
        std::thread::sleep(crate::support::ms(5));
    }
    let was = get(&admin, "POST", "/resume", "")?;
    if !run.resumed && was["was"] != "paused" {
        return Err(format!("the pause is gone, and nobody ended it: {was}"));
    }
    let begun = Instant::now();
    let status = loop {
        let status = get(&admin, "GET", "/status", "")?;
        let ledger = &status["ledger"];
        if ledger["queued"] == 0 && ledger["sending"] == 0 {
            break status;
        }
        if begun.elapsed() > s(60) {
            return Err(format!("the queue does not empty: {ledger}"));
        }
        std::thread::sleep(crate::support::ms(5));
    };
    let ledger = &status["ledger"];
    for count in ["ledger_imbalance", "set_aside"] {
        if ledger[count] != 0 {
            return Err(format!("{count}: {ledger}"));
        }
    }
    let seen: BTreeMap<_, _> = (stand_in.events().into_iter())
        .map(|event| (event.event_id.to_string(), event.count))
        .collect();
    let due = || known.waiting.iter().chain(&run.acked);
    let lost: Vec<_> = (due().filter(|sample| seen.get(&sample.id).is_none_or(|n| *n == 0)))
        .map(|sample| sample.id.as_str())
        .collect();
    if let Some(first) = lost.first() {
        return Err(format!(
            "{} acknowledged events are lost, such as {first}",
            lost.len()
        ));
    }
    if let Some(twice) = known
        .delivered
        .iter()
        .find(|sample| seen.contains_key(&sample.id))
    {
        return Err(format!(
            "{} was delivered before and is sent again",
            twice.id
        ));
    }
    let resent = ledger["resent"].as_u64().unwrap_or_default();
    let doubled = stand_in.totals().duplicates;
    if doubled > resent {
        return Err(format!("{doubled} events came twice, {resent} were resent"));
    }
    let found: BTreeSet<_> = letters(|path| get(&admin, "GET", path, ""))?
        .into_iter()
        .collect();
    let dead: BTreeSet<_> = known.dead.iter().map(|sample| sample.id.clone()).collect();
    if found != dead {
        let missing: Vec<_> = dead.difference(&found).collect();
        let extra: Vec<_> = found.difference(&dead).collect();
        return Err(format!(
            "dead letters: missing {missing:?}, more than due {extra:?}"
        ));
    }
    let verdict = get(&admin, "GET", "/verify", "")?;
    if verdict["findings"].as_array().is_none_or(|f| !f.is_empty()) {
        return Err(format!("verify found: {}", verdict["findings"]));
    }
    remembers(site, due().chain(&known.dead).chain(&known.purged))?;
    remembers(site, known.delivered.iter().step_by(EVERY))?;
    // What was given up may still be brought back.
    let line = format!("{{\"event\":{}}}\n", known.purged[0].line);
    let back = get(&admin, "POST", "/dead/import", &line)?;
    if back["lines"][0]["status"] != "revived" {
        return Err(format!("a purged letter does not come back: {back}"));
    }
    let kept = fs::read_dir(site.path("state/queue/quarantine")).map_err(|e| e.to_string())?;
    let kept: Vec<_> = kept.flatten().map(|entry| entry.file_name()).collect();
    match kept.is_empty() {
        true => Ok(()),
        false => Err(format!("in quarantine: {kept:?}")),
    }
}

/// Each of these lines is a duplicate.
fn remembers<'a>(site: &Site, all: impl Iterator<Item = &'a Sample>) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("the ingest socket: {e}");
    let mut client = Client::try_connect(&site.socket()).map_err(failed)?;
    let all: Vec<_> = all.collect();
    for samples in all.chunks(20) {
        let text: String = samples.iter().map(|s| format!("{}\n", s.line)).collect();
        client.write(text.as_bytes()).map_err(failed)?;
        for sample in samples {
            let answer = client.answer().map_err(failed)?;
            if answer.status() != "duplicate" {
                return Err(format!("{} is not known any more: {answer:?}", sample.id));
            }
        }
    }
    Ok(())
}
