//! URL, password and what events hold are in no log, error, metric or process list.

use std::fs;
use std::os::unix::net::UnixStream;

use super::server::Server;
use super::shop::{FAST, PASSWORD, prepare, said, site, url};
use super::support::{Client, Process, StandIn, get, s, within};

const EMAIL: &str = "planted.person@example.com";

/// As they are and as numbers: the bytes that a library might tell.
fn forms(text: &str) -> [String; 3] {
    let bytes = text.as_bytes();
    let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
    let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [text.to_owned(), numbers.join(", "), hex]
}

/// None of these says it.
fn is_in_none(secrets: &[&str], shown: &[(String, String)]) {
    for secret in secrets.iter().flat_map(|secret| forms(secret)) {
        for (what, text) in shown {
            assert!(!text.contains(&secret), "{what} says {secret}: {text}");
        }
    }
}

#[test]
fn url_and_events_are_shown_nowhere() {
    let Some(server) = Server::start(FAST) else {
        return;
    };
    prepare(&server);
    let stand_in = StandIn::start();
    let url = url(&[&server]);
    let site = site(&stand_in, &url, "single").set("log", "level", "trace");
    let mut shown = Vec::new();
    // By the file that is named, and by the variable.
    for by_variable in [false, true] {
        let mut command = site.run();
        command.env("RUST_LOG", "trace");
        if by_variable {
            command.env("PINRELAY_POSTGRES__URL_FILE", "");
            command.env("PINRELAY_DB_URL", &url);
        }
        let daemon = site.ready(Process::start(&mut command));
        let id = format!("planted-{by_variable}");
        let line = format!(
            r#"{{"messageId":"{id}","type":"page","userId":"planted-user","properties":{{"email":"{EMAIL}"}}}}"#
        );
        assert_eq!(
            Client::connect(&site.socket()).ask(&line).status(),
            "queued"
        );
        assert_eq!(
            Client::connect(&site.socket()).ask(&line).status(),
            "duplicate"
        );
        stand_in.takes(if by_variable { 2 } else { 1 }, s(20));
        // The connections break, as one does that meant well, and are made anew.
        assert!(server.terminate_backends("application_name LIKE 'pinrelay%'") > 0);
        within(s(20), "connections that are back", || {
            let sql = "SELECT count(*) FROM pg_stat_activity \
                       WHERE application_name = 'pinrelay accept'";
            (server.value(sql) == "1").then_some(())
        });
        let of = |file: &str| {
            let bytes = fs::read(format!("/proc/{}/{file}", daemon.pid())).expect("our own child");
            String::from_utf8_lossy(&bytes).replace('\0', "\n")
        };
        shown.push(("cmdline".to_owned(), of("cmdline")));
        // The variable that the operator set is the operator's.
        let environ = of("environ");
        let rest = environ
            .lines()
            .filter(|line| !line.starts_with("PINRELAY_DB_URL="));
        shown.push(("environ".into(), rest.collect::<Vec<_>>().join("\n")));
        let children = format!("/proc/{0}/task/{0}/children", daemon.pid());
        assert_eq!(fs::read_to_string(children).unwrap_or_default(), "");
        let metrics = get(
            UnixStream::connect(site.admin()).expect("an admin socket"),
            "/metrics",
        );
        shown.push(("metrics".into(), metrics.1));
        for args in [
            &["status"][..],
            &["status", "--json"],
            &["check"],
            &["config", "show"],
            &["config", "show", "--effective"],
            &["config", "show", "--json"],
            &["verify"],
            &["trace", &id],
            &["adopt"],
        ] {
            shown.push((args.join(" "), said(&site, args).1));
        }
        let log = daemon.stop(s(20)).output;
        assert!(log.contains("DEBUG"), "the level that was asked for: {log}");
        shown.push(("log".into(), log));
    }
    is_in_none(&[&url, PASSWORD, EMAIL, "planted-user"], &shown);
}

/// Nor by an error: of the server's, or of a URL that is none.
#[test]
fn no_error_shows_the_url() {
    let Some(server) = Server::start(FAST) else {
        return;
    };
    prepare(&server);
    let stand_in = StandIn::start();
    let address = server.address();
    let mut shown = Vec::new();
    for (url, words) in [
        (
            format!("postgres://shop:S3CRET-other@{address}/shop"),
            "password was refused",
        ),
        (
            format!("postgres://S3CRET-user:x@{address}/shop"),
            "password was refused",
        ),
        (
            format!("postgres://shop:S3CRET/x@{address}/shop"),
            "has an @",
        ),
        (
            format!("postgres://shop:{PASSWORD}@{address}/nowhere"),
            "no database nowhere",
        ),
        (
            format!("postgres://shop:{PASSWORD}@{address}/shop?unknown=S3CRET"),
            "`unknown`",
        ),
        (format!("S3CRET://{address}"), "is none"),
    ] {
        let site = site(&stand_in, &url, "single");
        for command in [&["run"][..], &["check"], &["verify"], &["adopt"]] {
            let mut command_line = site.command(command);
            command_line.env("RUST_LOG", "trace");
            let ended = Process::start(&mut command_line).ended(s(20));
            let what = format!("{words}: {command:?}");
            assert_ne!(ended.code, Some(0), "{what}: {}", ended.output);
            if command == ["run"] {
                assert_eq!(ended.code, Some(78), "{what}: {}", ended.output);
                assert!(ended.output.contains(words), "{what}: {}", ended.output);
            }
            shown.push((what, ended.output));
        }
    }
    is_in_none(&["S3CRET", PASSWORD], &shown);
}
