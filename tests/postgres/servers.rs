//! The servers that the other tests stand on do what those tests take for granted.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::server::Server;

/// Without a disk's syncs: nothing here is about a power cut.
const FAST: &[(&str, &str)] = &[("fsync", "off")];

#[test]
fn a_server_answers_and_keeps_what_it_has_over_its_lives() {
    let Some(server) = Server::start(FAST) else {
        return;
    };
    server.sql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1), (2)");
    assert_eq!(
        server.sql("SELECT n, n + 1 FROM kept ORDER BY n"),
        ["1|2", "2|3"]
    );
    assert!(
        server
            .try_sql("postgres", "SELECT 1 / 0")
            .unwrap_err()
            .contains("division by zero")
    );
    assert_eq!(server.value("SHOW fsync"), "off");
    server.set("work_mem", "1234kB");
    assert_eq!(server.value("SHOW work_mem"), "1234kB");
    let address = server.address();
    server.restart();
    server.kill9();
    assert_eq!(server.pid(), None);
    assert!(server.try_sql("postgres", "SELECT 1").is_err());
    server.restart();
    assert_eq!(server.address(), address);
    assert_eq!(
        server.sql("SELECT count(*) FROM kept; SHOW work_mem"),
        ["2", "1234kB"]
    );
    // Nobody who may do everything runs it.
    let pid = server.pid().expect("it runs");
    let owner = fs::metadata(format!("/proc/{pid}")).expect("it runs").uid();
    assert_ne!(owner, 0);
}

#[test]
fn roles_need_their_password_and_sessions_hold_what_they_have_open() {
    let Some(server) = Server::start(FAST) else {
        return;
    };
    server.sql("CREATE ROLE shop LOGIN PASSWORD 'word'; CREATE TABLE kept (n int)");
    let url = |password: &str| server.url_of("shop", password, "postgres");
    let says = |url: String| {
        let out = Command::new("psql")
            .args(["-XAtc", "SELECT current_user", &url])
            .output();
        String::from_utf8(out.expect("psql").stdout).expect("text")
    };
    assert_eq!(says(url("word")), "shop\n");
    assert_eq!(says(url("other")), "");
    assert_eq!(says(server.url("postgres")), "postgres\n");

    let mut session = server.session("postgres", "postgres");
    assert_eq!(
        session.ask("BEGIN; INSERT INTO kept VALUES (7) RETURNING n"),
        ["7"]
    );
    assert_eq!(server.value("SELECT count(*) FROM kept"), "0");
    let complaint = session.ask("SELECT 1 / 0").concat();
    assert!(complaint.contains("division by zero"), "{complaint}");
    session.ask("ROLLBACK");
    session.send("SELECT pg_sleep(60)");
    server.shows(
        "a session that sleeps",
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'",
        |count| count == "1",
    );
    assert_eq!(server.cancel_backends("wait_event = 'PgSleep'"), 1);
    let complaint = session.answer().concat();
    assert!(complaint.contains("canceling statement"), "{complaint}");
    assert_eq!(server.terminate_backends("application_name = 'test'"), 1);
    let complaint = session.ask("SELECT 1").concat();
    assert!(complaint.contains("terminating connection"), "{complaint}");
}

#[test]
fn a_standby_is_waited_for_and_has_what_was_acknowledged_when_it_is_promoted() {
    let Some(server) = Server::start(FAST) else {
        return;
    };
    server.sql("CREATE TABLE kept (n int)");
    let standby = server.standby("second");
    server.wait_for("second");
    let insert = |n: u32| format!("SET synchronous_commit = on; INSERT INTO kept VALUES ({n})");
    server.sql(&insert(1));
    // A standby that stands still holds up an answer, and nothing else.
    standby.pause();
    let mut waits = server.session("postgres", "postgres");
    waits.send(&insert(2));
    server.shows(
        "a commit that waits",
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
        |count| count == "1",
    );
    assert_eq!(server.value("SELECT count(*) FROM kept"), "1");
    standby.resume();
    assert_eq!(waits.answer(), Vec::<String>::new());

    server.kill9();
    standby.promote();
    assert_eq!(standby.sql("SELECT n FROM kept ORDER BY n"), ["1", "2"]);
    assert_eq!(standby.value("SHOW synchronous_standby_names"), "");
    // And so on: it can have a standby of its own.
    let third = standby.standby("third");
    standby.wait_for("third");
    standby.sql(&insert(3));
    assert_eq!(third.value("SELECT pg_is_in_recovery()"), "t");
}

#[test]
fn a_backup_brings_back_what_was() {
    let Some(server) = Server::start(FAST) else {
        return;
    };
    server.sql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)");
    let backup = server.backup();
    for n in 2..4 {
        server.sql(&format!("INSERT INTO kept VALUES ({n})"));
        server.restore(&backup);
        assert_eq!(server.sql("SELECT n FROM kept"), ["1"]);
    }
}

/// The process of the tests may be killed: nothing of a server is left then, paused or not.
#[test]
fn a_server_ends_with_who_started_it() {
    const CHILD: &str = "PINRELAY_TEST_SERVER_OF_THE_KILLED";
    if std::env::var_os(CHILD).is_some() {
        let server = Server::start(FAST).expect("one was there");
        let standby = server.standby("second");
        standby.pause();
        let pids = [server.pid(), standby.pid()].map(|pid| pid.expect("it runs"));
        let folders = [server.folder(), standby.folder()].map(Path::display);
        let told = std::env::var_os(CHILD).expect("it was set");
        let text = format!("{} {} {} {}", pids[0], pids[1], folders[0], folders[1]);
        fs::write(&told, text).expect("a file");
        // It is killed here, or ends with its parent.
        std::io::stdin()
            .read_line(&mut String::new())
            .expect("stdin");
        return;
    }
    if Server::start(FAST).is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let told = folder.path().join("told");
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "servers::a_server_ends_with_who_started_it"])
        .env(CHILD, &told)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("it runs again");
    let soon = |what: &str, is: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !is() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let text = || fs::read_to_string(&told).unwrap_or_default();
    while text().split(' ').count() < 4 {
        let ended = child.try_wait().expect("our own child");
        assert!(ended.is_none(), "it ended: {ended:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().expect("our own child");
    child.wait().expect("our own child");
    let text = text();
    let words: Vec<&str> = text.split(' ').collect();
    for pid in &words[..2] {
        soon("its end", &|| !Path::new("/proc").join(pid).exists());
    }
    for folder in &words[2..] {
        soon("an end of its folder", &|| !Path::new(folder).exists());
    }
}
