//! The log's format, as the flag, the config and the stream say.

use serde_json::Value;

use crate::support::{Process, Site, StandIn, s, within};

/// The line that says that the daemon is ready, once it is there.
fn ready_line(site: &Site, flags: &[&str], env: &[(&str, &str)]) -> String {
    let mut command = site.run();
    command.args(flags).envs(env.iter().copied());
    let process = Process::start(&mut command);
    within(s(20), "ready", || {
        let output = process.output();
        let line = output
            .lines()
            .find(|line| line.contains("ready: taking events"));
        line.map(str::to_owned)
    })
}

#[test]
fn a_flag_goes_before_the_config_and_a_stream_is_not_taken_for_another() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in).set("log", "format", "human");
    let is_json = |line: &str| serde_json::from_str::<Value>(line).is_ok();
    let line = ready_line(&site, &[], &[]);
    assert!(line.contains(" INFO ") && !is_json(&line), "{line}");
    assert!(is_json(&ready_line(&site, &["--log-format", "json"], &[])));
    // Where no journal listens its lines carry a priority. Where one does, they go there.
    if !std::path::Path::new("/run/systemd/journal/socket").exists() {
        let line = ready_line(&site, &["--log-format", "journald"], &[]);
        assert!(line.starts_with("<6>"), "{line}");
    }
    // What systemd said of the parent's stderr is not true of this pipe.
    let site = site.unset("log", "format");
    assert!(is_json(&ready_line(
        &site,
        &[],
        &[("JOURNAL_STREAM", "1:2")]
    )));
    let wrong = (site.command(&["run", "--log-format", "xml"]).output()).expect("it runs");
    assert_eq!(wrong.status.code(), Some(64), "{wrong:?}");
    let loud = ready_line(&site, &["--log-format", "human"], &[("RUST_LOG", "debug")]);
    assert!(loud.contains(" INFO "), "{loud}");
}
