//! The screens in docs/operations.md are what the commands print.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::support::{Client, Sample, Site, StandIn, s, samples, seen, within};

/// The screen that the page shows below this command.
fn page(command: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let page = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let start = format!("```text\n$ {command}\n");
    let block = page.split(&start).nth(1).expect(command);
    let screen = block.split("```").next().expect("a fence").to_owned();
    assert!(screen.lines().count() <= 24, "{screen}");
    for line in screen.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    screen
}

/// The rows of a screen as words, without what is another each time: version, times, spans,
/// sizes, rates, and how many requests it took. What is wrapped to a second line is joined.
fn rows(screen: &str) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    for line in screen.lines() {
        match rows.last_mut() {
            Some(row) if line.starts_with("             ") => {
                row.push(' ');
                row.push_str(line.trim());
            }
            _ => rows.push(line.to_owned()),
        }
    }
    rows.iter().map(|row| plain(row)).collect()
}

fn plain(row: &str) -> String {
    const UNITS: [&str; 10] = ["s", "min", "h", "d", "ms", "B", "KiB", "MiB", "GiB", "TiB"];
    let is_number =
        |word: &str| word.starts_with(|c: char| c.is_ascii_digit()) && word.parse::<f64>().is_ok();
    let words: Vec<&str> = row.split_whitespace().collect();
    let requests = words.first() == Some(&"requests");
    let mut out: Vec<String> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let bare = word.trim_matches([',', ';', ':', '(', ')']);
        let next = words
            .get(at + 1)
            .map(|w| w.trim_matches([',', ';', ':', ')']));
        let said = if is_number(bare) && next.is_some_and(|next| UNITS.contains(&next)) {
            word.replace(bare, "SO")
        } else if UNITS.contains(&bare) {
            // The unit of the number before it.
            let Some(number) = out.pop().filter(|last| last.ends_with("SO")) else {
                panic!("{row}: {word}");
            };
            // A span has one or two of them.
            if out.last().is_some_and(|last| last == "MANY") {
                out.pop();
            }
            out.push(number.replace("SO", &word.replace(bare, "MANY")));
            continue;
        } else if bare.contains(':') && bare.as_bytes()[0].is_ascii_digit() {
            word.replace(bare, "TIME")
        } else if bare.len() == 10 && bare.matches('-').count() == 2 {
            // The date before a time, around midnight.
            continue;
        } else if requests && is_number(bare) {
            word.replace(bare, "N")
        } else if bare == env!("CARGO_PKG_VERSION") {
            word.replace(bare, "VERSION")
        } else {
            (*word).to_owned()
        };
        out.push(said);
    }
    // The column of rates.
    if out.len() == 4 && ["accepted", "delivered"].contains(&out[0].as_str()) {
        out[3] = "RATE".into();
    }
    out.join(" ")
}

/// Nobody can be told by it.
fn faceless(n: usize) -> Sample {
    let id = format!("anonymous-{n}");
    Sample {
        line: json!({"messageId": id, "type": "page"}).to_string(),
        event_name: "page_visit",
        id,
    }
}

/// 1,200 events went, three were refused, two had no match key; then the token was withdrawn,
/// and 40 more came in.
#[test]
fn status_and_dead_list_look_as_the_page_shows_them() {
    let stand_in = StandIn::start();
    stand_in.mode(json!({
        "refuse_containing": "order-",
        "refuse_message": "currency 'EURO' is not supported",
    }));
    let site = Site::new(&stand_in);
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("sale", 0..1200));
    daemon.shows(s(20), "delivered", |status| status["delivered"] == 1200);
    Client::queue(&daemon.socket(), &samples("order", 0..3));
    daemon.shows(s(20), "refused", |status| status["dead_total"] == 3);
    Client::queue(&daemon.socket(), &[faceless(1), faceless(2)]);
    daemon.shows(s(20), "dead", |status| status["dead_total"] == 5);
    stand_in.mode(json!({"token": "another"}));
    Client::queue(&daemon.socket(), &samples("sale", 1200..1240));
    daemon.shows(s(20), "parked, all put back", |status| {
        status["state"] == "parked" && status["queued"] == 40
    });

    let run = |args: &[&str]| {
        let mut command = site.command(args);
        let out = command.env("TZ", "UTC").output().expect("it runs");
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).expect("UTF-8")
    };
    // While a probe is under way its next moment is not known, and its event is being sent.
    let status = within(s(20), "a moment between probes", || {
        let text = run(&["status"]);
        (text.contains("next probe in") && text.contains("; 0 sending")).then_some(text)
    });
    // Where events go is the stand-in's here, and that it is none of Pinterest's is said.
    let shown = status.replace(
        "next:        take base_url out and restart, unless this is a test\n",
        "",
    );
    assert_ne!(shown, status);
    let (head, rest) = shown.split_once("\nto  ").expect("a row");
    let (to, rest) = rest.split_once("\ngate ").expect("a row");
    assert!(to.contains("NOT PINTEREST: base_url comes from"), "{to}");
    let theirs = "to           POST https://api.pinterest.com/v5/… for ad account 549755885175,\n             config /etc/pinrelay/pinrelay.toml";
    let status = format!("{head}\n{theirs}\ngate {rest}");
    let list = site.command(&["dead", "list"]);
    let seen = seen(&list, (80, 24), &[("TZ", "UTC"), ("NO_COLOR", "1")]);
    let Some(listed) = seen else {
        return;
    };
    for (command, shown) in [("pinrelay status", status), ("pinrelay dead list", listed)] {
        assert_eq!(rows(&page(command)), rows(&shown), "{command}\n{shown}");
    }
}

#[test]
fn the_comparison_can_say_no() {
    let row = "disk         5 MiB of 8 GiB; 3 d 4 h, 02:14:09 (256 MiB kept), up 40 s";
    assert_eq!(
        plain(row),
        "disk MANY of MANY; MANY, TIME (MANY kept), up MANY"
    );
    assert_ne!(plain("dead 5 5"), plain("dead 5 6"));
    let joined = rows("disk  1 B of\n              2 B\nledger  holds\n");
    assert_eq!(joined, ["disk MANY of MANY", "ledger holds"]);
}
