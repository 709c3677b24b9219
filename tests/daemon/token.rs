//! The token's file is followed: a daemon that is parked for its token goes on by itself.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::{Client, Daemon, Site, StandIn, s, samples, within};

/// A daemon whose token is refused, and which would not try again for an hour.
fn parked<'a>(stand_in: &StandIn, site: &'a Site) -> Daemon<'a> {
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("token", 0..50));
    daemon.shows(s(10), "parked", |status| status["gate"]["reason"] == "auth");
    assert_eq!(stand_in.totals().distinct_event_ids, 0);
    daemon
}

fn site(stand_in: &StandIn) -> Site {
    (Site::new(stand_in))
        .set("delivery", "backoff_initial", "1h")
        .set("delivery", "backoff_max", "1h")
}

/// Delivered at once, without a word to the daemon, and nothing of the token in its log.
fn goes_on(stand_in: &StandIn, daemon: &Daemon<'_>) {
    stand_in.takes(50, s(10));
    let log = daemon.log();
    assert!(log.contains("the new token is in use"), "{log}");
    // The names are those of the status.
    assert!(log.contains(r#""reason":"auth""#), "{log}");
    assert!(log.contains(r#""hashing":"raw""#), "{log}");
    assert!(!log.contains("pina_"), "{log}");
}

#[test]
fn a_token_written_in_place_is_taken() {
    let stand_in = StandIn::with(&["--token", "pina_second"]);
    let site = site(&stand_in);
    let daemon = parked(&stand_in, &site);
    site.token("pina_second");
    goes_on(&stand_in, &daemon);
}

#[test]
fn a_token_renamed_over_the_old_one_is_taken() {
    let stand_in = StandIn::with(&["--token", "pina_second"]);
    let site = site(&stand_in);
    let daemon = parked(&stand_in, &site);
    fs::write(site.path("token.new"), "pina_second\n").expect("written");
    fs::rename(site.path("token.new"), site.path("token")).expect("renamed");
    goes_on(&stand_in, &daemon);
}

#[test]
fn a_token_behind_another_link_is_taken() {
    let stand_in = StandIn::with(&["--token", "pina_second"]);
    let site = site(&stand_in);
    for (folder, token) in [("one", "pina_first"), ("two", "pina_second")] {
        fs::create_dir(site.path(folder)).expect("a folder");
        fs::write(site.path(folder).join("token"), token).expect("written");
    }
    fs::remove_file(site.path("token")).expect("removed");
    symlink("one", site.path("data")).expect("a link");
    symlink("data/token", site.path("token")).expect("a link");
    let daemon = parked(&stand_in, &site);
    symlink("two", site.path("data.new")).expect("a link");
    fs::rename(site.path("data.new"), site.path("data")).expect("renamed");
    goes_on(&stand_in, &daemon);
}

#[test]
fn one_that_cannot_be_used_is_told_and_the_old_one_stays() {
    let stand_in = StandIn::with(&["--token", "pina_first"]);
    let site = site(&stand_in);
    let daemon = site.start();
    let told = |what: &str| {
        within(s(10), what, || daemon.log().contains(what).then_some(()));
    };
    fs::write(site.path("token"), "pina_two words").expect("written");
    told("holds more than one word, or odd characters");
    fs::write(site.path("token"), "").expect("written");
    told("is empty");
    fs::remove_file(site.path("token")).expect("removed");
    told("cannot be read");
    Client::queue(&daemon.socket(), &samples("old", 0..10));
    stand_in.takes(10, s(10));
    let log = daemon.log();
    assert_eq!(
        log.matches("the old token stays in use").count(),
        3,
        "{log}"
    );
    assert!(!log.contains("pina_"), "{log}");
}

#[test]
fn a_reload_follows_the_file_that_it_names() {
    let stand_in = StandIn::with(&["--token", "pina_second"]);
    let site = site(&stand_in);
    let other = site.path("other");
    fs::write(&other, "pina_first\n").expect("written");
    let daemon = parked(&stand_in, &site);
    let text = fs::read_to_string(site.config_file()).expect("a config");
    let text = text.replace("/token\"", "/other\"");
    fs::write(site.config_file(), text).expect("written");
    let reloaded = site.command(&["reload"]).output().expect("it runs");
    assert!(reloaded.status.success(), "{reloaded:?}");
    fs::write(&other, "pina_second\n").expect("written");
    goes_on(&stand_in, &daemon);
}

#[test]
fn check_says_what_a_change_reaches() {
    let site = Site::at("http://127.0.0.1:1");
    let says = |command: &mut std::process::Command| {
        let out = command.output().expect("it runs");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let said = says(&mut site.command(&["check"]));
    assert!(
        said.contains("reaches the running daemon by itself"),
        "{said}"
    );
    let credential = site.path("pinterest-token");
    fs::rename(site.path("token"), &credential).expect("renamed");
    let mut check = site.command(&["check"]);
    let folder = credential.parent().expect("a folder");
    check
        .env("PINRELAY_PINTEREST__TOKEN_FILE", &credential)
        .env("CREDENTIALS_DIRECTORY", folder);
    let said = says(&mut check);
    assert!(
        said.contains("stays as it was when the service started"),
        "{said}"
    );
}

/// A mount or a network file system may tell nothing of a change. Here nothing is told because the
/// writer never closes the file.
#[test]
fn a_token_whose_change_nothing_tells_is_looked_at_again_while_parked() {
    let stand_in = StandIn::with(&["--token", "pina_other"]);
    let site = site(&stand_in);
    let mut file = fs::File::options()
        .write(true)
        .open(site.path("token"))
        .expect("open");
    let daemon = parked(&stand_in, &site);
    std::io::Write::write_all(&mut file, b"pina_other\n").expect("written");
    stand_in.takes(50, s(30));
    assert!(
        daemon.log().contains("the new token is in use"),
        "{}",
        daemon.log()
    );
    drop(file);
}
