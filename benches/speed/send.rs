//! `pinrelay send`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::Bench;
use super::accept::NOBODY;
use super::process::Daemon;
use super::table::Row;

pub fn files(bench: &Bench, binary: &Path, events: u64) -> Vec<Row> {
    let rate = |connections: u64| {
        let folder = bench.folder();
        let daemon = Daemon::start(binary, folder.path(), NOBODY);
        daemon.command(&["pause"]);
        let each = events / connections;
        let file = |c: u64| {
            let file = folder.path().join(format!("events-{c}.ndjson"));
            let bytes = bench.load.bytes(b'f', c * each..(c + 1) * each);
            std::fs::write(&file, bytes).expect("a file");
            file
        };
        let files: Vec<PathBuf> = (0..connections).map(file).collect();
        let begun = Instant::now();
        let send = |file: &PathBuf| -> Child {
            let mut command = Command::new(binary);
            command
                .arg("send")
                .arg("--socket")
                .arg(daemon.socket())
                .arg(file);
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("it runs")
        };
        let sends: Vec<Child> = files.iter().map(send).collect();
        for mut send in sends {
            assert!(
                send.wait().expect("it ends").success(),
                "every event is queued"
            );
        }
        (each * connections) as f64 / begun.elapsed().as_secs_f64()
    };
    let (one, eight) = (rate(1), rate(8));
    let row = Row::new("send, one file on one connection", one, "events/s");
    vec![row.beside("8 files on 8 connections", eight).at_least(0.8)]
}
