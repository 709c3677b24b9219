//! A typo in the config while the daemon runs well: whoever only asks it needs no more of the
//! file than where it is.

use std::fs;
use std::process::{Output, Stdio};

use crate::support::{Client, Site, StandIn, s, samples};

fn run(site: &Site, args: &[&str]) -> Output {
    let mut command = site.command(args);
    command.stdin(Stdio::null()).output().expect("it runs")
}

fn err(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// Whatever is wrong, as long as the socket's place can be read.
const BROKEN: [(&str, &str); 6] = [
    ("a key that is none", "[delivery]\nlingr = \"1s\"\n"),
    (
        "a value that is none",
        "[delivery]\nlinger = \"soon\"\nmax_age = 5\n",
    ),
    (
        "two values at odds",
        "[delivery]\nbackoff_initial = \"1h\"\n",
    ),
    ("a table that does not end", "[delivery\nlinger = \"1s\"\n"),
    ("a text that does not end", "[delivery]\nlinger = \"1s\n"),
    ("no TOML at all", "[delivery]\n=== <<<<<<< HEAD\n"),
];

#[test]
fn a_typo_blinds_no_command_that_only_asks() {
    let stand_in = StandIn::start();
    // Without the variables that stand over the file.
    let site = (Site::new(&stand_in).unset("delivery", "linger"))
        .unset("delivery", "backoff_initial")
        .unset("delivery", "backoff_max");
    let daemon = site.start();
    let samples = samples("typo", 0..6);
    Client::queue(&daemon.socket(), &samples[..5]);
    stand_in.takes(5, s(10));
    for (what, text) in BROKEN {
        site.config(text);
        for args in [
            &["status"][..],
            &["status", "--json"],
            &["trace", &samples[0].id],
            &["dead", "list"],
            &["losses"],
            &["clock"],
            &["pause", "--for", "1h"],
            &["resume"],
        ] {
            let out = run(&site, args);
            assert_eq!(
                out.status.code(),
                Some(0),
                "{what}: {args:?}: {}",
                err(&out)
            );
            let told = err(&out);
            assert_eq!(told.lines().count(), 1, "{what}: {args:?}: {told}");
            for words in ["the config is broken", "pinrelay check", "admin.sock"] {
                assert!(told.contains(words), "{what}: {args:?}: {told}");
            }
        }
        // It does read the file, and says what is wrong with it.
        let reload = run(&site, &["reload"]);
        assert_eq!(reload.status.code(), Some(78), "{what}: {}", err(&reload));
        let check = run(&site, &["check"]);
        assert_eq!(check.status.code(), Some(78), "{what}");
    }
    // The daemon's own answer on what is wrong stands behind the line.
    site.config("[delivery]\nlingr = 1\n");
    assert!(err(&run(&site, &["reload"])).contains("did you mean `linger`?"));
    // What is sent goes to the socket that the file has.
    let file = site.path("events");
    fs::write(&file, format!("{}\n", samples[5].line)).expect("a file");
    let sent = run(&site, &["send", file.to_str().expect("a path")]);
    assert_eq!(sent.status.code(), Some(0), "{}", err(&sent));
    // A file that is named and is not there is another matter: it says nothing of any daemon.
    fs::remove_file(site.config_file()).expect("removed");
    let out = run(&site, &["status"]);
    assert_eq!(out.status.code(), Some(78), "{}", err(&out));
    assert_eq!(daemon.stop(s(10)).code, Some(0));
}

#[test]
fn verify_of_a_folder_that_is_named_needs_no_config() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("named", 0..5));
    stand_in.takes(5, s(10));
    assert_eq!(daemon.stop(s(10)).code, Some(0));
    site.config("[delivery]\nlingr = 1\n");
    let queue = site.path("queue");
    let queue = queue.to_str().expect("a path");
    let out = run(&site, &["verify", "--json", "--queue", queue]);
    assert_eq!(out.status.code(), Some(0), "{}", err(&out));
    assert!(err(&out).contains("the config is broken"), "{}", err(&out));
    // Which folder it is would come from the broken file.
    assert_eq!(run(&site, &["verify"]).status.code(), Some(78));
    // A prerm asks so.
    assert_eq!(run(&site, &["verify", "--where"]).status.code(), Some(78));
    site.config("");
    let place = run(&site, &["verify", "--where"]);
    assert_eq!(String::from_utf8_lossy(&place.stdout), format!("{queue}\n"));
}
