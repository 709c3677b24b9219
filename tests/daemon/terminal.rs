//! What people see on terminals of several sizes, with and without colour, in two locales.

use serde_json::json;

use crate::support::{Client, Site, StandIn, s, samples, seen};

/// Columns and rows.
const SIZES: [(u16, u16); 3] = [(60, 24), (80, 24), (120, 40)];
/// The widths that tables have, whatever the terminal's is.
const TABLE: usize = 57;

/// Without what a terminal obeys: the colours of ours alone.
fn without_colours(text: &str) -> String {
    let mut text = text.to_owned();
    for colour in ["\u{1b}[32m", "\u{1b}[33m", "\u{1b}[1;31m", "\u{1b}[0m"] {
        text = text.replace(colour, "");
    }
    assert!(!text.contains('\u{1b}'), "{text:?}");
    text
}

fn coloured_words(text: &str) -> Vec<&str> {
    let parts = text.split("\u{1b}[").skip(1);
    let words = parts.filter_map(|part| part.split_once('m'));
    words
        .filter(|(code, _)| *code != "0")
        .map(|(_, word)| word)
        .collect()
}

/// A daemon that parks, with dead letters behind it.
#[test]
fn every_screen_fits_its_terminal_and_is_coloured_where_that_is_wanted() {
    let stand_in = StandIn::start();
    let message = "the currency of this event is none that is supported for purchases \
                   made by catalogue, see the guide";
    stand_in.mode(json!({"refuse_containing": "order-", "refuse_message": message}));
    let site = Site::new(&stand_in);
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("order", 0..2));
    daemon.shows(s(20), "refused", |status| status["dead_total"] == 2);
    Client::queue(&daemon.socket(), &samples("view", 0..6));
    daemon.shows(s(20), "delivered", |status| status["delivered"] == 6);
    stand_in.mode(json!({"token": "another"}));
    Client::queue(&daemon.socket(), &samples("sale", 0..1));
    daemon.shows(s(20), "parked", |status| status["state"] == "parked");

    let trace = ["trace", "order-000000"];
    let screens: [(&[&str], &[&str]); 9] = [
        (&["status"], &["parked", "next:"]),
        (&["quality"], &[]),
        (&["dead", "list"], &["refused"]),
        (&["dead", "list", "--each"], &["refused"]),
        (&["queue", "list"], &["parked"]),
        (&["check"], &["ok", "advice"]),
        (&trace, &[]),
        (&["clock"], &[]),
        (&["losses"], &[]),
    ];
    for (args, coloured) in screens {
        for size in SIZES {
            let command = site.command(args);
            let Some(text) = seen(&command, size, &[("LANG", "C.UTF-8")]) else {
                return;
            };
            let columns = usize::from(size.0).max(TABLE);
            let plain = without_colours(&text);
            for line in plain.lines() {
                let is_word = !line.trim().contains(' ');
                let fits = line.chars().count() <= columns;
                assert!(fits || is_word, "{args:?} {size:?}: {line}\n{plain}");
            }
            let words = coloured_words(&text);
            for word in coloured {
                assert!(
                    words.iter().any(|it| it.starts_with(word)),
                    "{word}: {text:?}"
                );
            }
            for refused in [("NO_COLOR", "1"), ("TERM", "dumb")] {
                let text = seen(&command, size, &[refused, ("LANG", "C.UTF-8")]);
                let text = text.expect("as before");
                assert!(!text.contains('\u{1b}'), "{refused:?}: {text:?}");
                assert_eq!(text.lines().count(), plain.lines().count(), "{text}");
            }
            let text = seen(&command, size, &[("LANG", "C")]).expect("as before");
            assert!(text.is_ascii(), "{args:?}: {text}");
        }
    }

    let wide = seen(&site.command(&["dead", "list"]), (120, 40), &[]).expect("as before");
    let words: Vec<&str> = wide.split_whitespace().collect();
    assert!(
        words.join(" ").contains(message),
        "the whole message: {wide}"
    );
    // Without a terminal nothing is cut, wrapped or coloured.
    let piped = site.command(&["dead", "list"]).output().expect("it runs");
    let piped = String::from_utf8(piped.stdout).expect("text");
    assert!(
        piped.contains(message) && !piped.contains('\u{1b}'),
        "{piped}"
    );
}

/// In a zone of its own each screen has one offset, and what it shows is taken by `--since`.
#[test]
fn times_are_those_of_one_zone_and_are_taken_again() {
    let stand_in = StandIn::start();
    stand_in.mode(json!({"refuse_containing": "order-", "refuse_message": "no"}));
    let site = Site::new(&stand_in);
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("order", 0..1));
    daemon.shows(s(20), "refused", |status| status["dead_total"] == 1);
    let pause = site.command(&["pause", "--for", "2h"]).output();
    assert!(pause.expect("it runs").status.success());
    let out = |args: &[&str]| {
        let mut command = site.command(args);
        let out = command.env("TZ", "UTC-05:30").output().expect("it runs");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        (String::from_utf8(out.stdout).expect("text"), said)
    };
    let screens: [&[&str]; 6] = [
        &["status"],
        &["dead", "list"],
        &["dead", "show", "order-000000"],
        &["trace", "order-000000"],
        &["clock"],
        &["pause", "--for", "1h"],
    ];
    for args in screens {
        let (text, said) = out(args);
        let is_time = |word: &&str| {
            let bytes = word.as_bytes();
            bytes.len() > 5 && bytes[2] == b':' && bytes[0].is_ascii_digit()
        };
        // What an event says is its own.
        let own = text.split("\n\nevent, as").next().expect("a screen");
        let times: Vec<&str> = own.split_whitespace().filter(is_time).collect();
        assert!(!times.is_empty(), "{args:?}: {text}{said}");
        for time in times {
            let time = time.trim_end_matches([',', ';', ')']);
            assert!(time.ends_with("+05:30"), "{args:?} {time}: {text}");
        }
    }
    let (shown, _) = out(&["dead", "show", "order-000000"]);
    let died = shown
        .lines()
        .find_map(|line| line.strip_prefix("died at      "));
    let died = died.expect("when it died");
    for since in [died, "2020-01-01", "-1h", "1h", "yesterday"] {
        let (listed, said) = out(&["dead", "list", "--since", since]);
        assert!(listed.contains("1 dead letter"), "{since}: {listed}{said}");
    }
    let (listed, _) = out(&["dead", "list", "--until", died]);
    assert!(listed.contains("no dead letters fit"), "{listed}");
    let (_, said) = out(&["dead", "list", "--since", "teatime"]);
    assert!(said.contains("15:00") && said.contains("-1h"), "{said}");
}
