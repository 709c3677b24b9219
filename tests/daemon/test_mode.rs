//! `pinterest.test = true`: a store of its own, told everywhere, and nothing of it in real life.

use serde_json::json;

use crate::support::{Client, Site, StandIn, s, samples};

#[test]
fn going_live_starts_with_nothing_of_the_test() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in).set("pinterest", "test", "true");
    let daemon = site.start();
    let events = samples("both", 0..40);
    Client::queue(&daemon.socket(), &events);
    let status = daemon.shows(s(20), "settled", |status| status["delivered_test"] == 40);
    assert_eq!(
        (&status["delivered"], &status["test_mode"]),
        (&json!(0), &json!(true))
    );
    let shown = site.command(&["status"]).output().expect("it runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let processed = shown.lines().find(|line| line.starts_with("in test mode"));
    let processed = processed.is_some_and(|line| line.contains(" 40"));
    assert!(shown.contains("TEST MODE") && processed, "{shown}");
    let ended = daemon.stop(s(10));
    assert!(
        ended.output.contains("TEST MODE: Pinterest checks"),
        "{}",
        ended.output
    );
    assert!(ended.output.contains("/queue-test"), "{}", ended.output);
    // The commands look where the daemon does.
    let verified = site.command(&["verify"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(said.contains("read 40 events"), "{said}");
    let adopted = site.command(&["adopt"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&adopted.stdout).into_owned();
    assert!(said.contains("/queue-test: 0 events queued"), "{said}");
    let checked = site.command(&["check"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("/queue-test"), "{said}");
    assert!(!site.path("queue").exists());
    // The same messageIds are new in real life.
    let site = site.unset("pinterest", "test");
    let daemon = site.start();
    Client::queue(&daemon.socket(), &events);
    let status = daemon.shows(s(20), "settled", |status| status["delivered"] == 40);
    assert_eq!(
        (&status["delivered_test"], &status["test_mode"]),
        (&json!(0), &json!(false))
    );
    stand_in.holds(&events);
    assert!(!daemon.log().contains("TEST MODE"));
}
