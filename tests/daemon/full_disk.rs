//! A disk that is really full, on a small file system of the test's own: nothing acknowledged is
//! lost, nothing hangs, the log says what to do, and with room it all goes on. And the reserve
//! (`queue.min_free`), which keeps it from coming to that.
//!
//! `PINRELAY_FULL_DISK_RUNS` sets how often the disk is filled (2).

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    Client, Daemon, Ended, Mount, PINRELAY, Process, Sample, Site, StandIn, noisy, s, samples,
    within,
};

const MIB: u64 = 1 << 20;
/// Lines that are under way at once.
const WINDOW: usize = 4;

fn site(stand_in: &StandIn) -> Site {
    let site = Site::new(stand_in).unset("queue", "min_free");
    let queue = site.path("disk/queue").display().to_string();
    site.set("queue", "path", &queue)
}

/// How a client fared.
enum End {
    /// It was told to come again later.
    Unavailable(String),
    /// The connection broke.
    Broken,
}

/// Sends large events until the daemon takes no more; those that it acknowledged go to `acked`.
fn pour(daemon: &Daemon<'_>, series: &str, acked: &mut Vec<Sample>) -> End {
    let mut client = Client::connect(&daemon.socket());
    for round in 0.. {
        let samples = noisy(series, round * WINDOW..(round + 1) * WINDOW, 40_000);
        let text: String = samples.iter().map(|s| format!("{}\n", s.line)).collect();
        // What was answered before it broke counts.
        let _ = client.write(text.as_bytes());
        for sample in samples {
            match client.answer() {
                Ok(answer) if answer.status() == "queued" => acked.push(sample),
                Ok(answer) if answer.status() == "unavailable" => {
                    return End::Unavailable(answer.error().to_owned());
                }
                Ok(answer) => panic!("{answer:?}"),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => panic!("it hangs"),
                Err(_) => return End::Broken,
            }
        }
        assert!(round < 1000, "the disk was never full");
    }
    unreachable!("it returns")
}

/// It ended by itself for want of room, and said so.
fn ended_for_want_of_room(ended: &Ended) {
    assert_eq!(ended.code, Some(74), "{}", ended.output);
    let said = (ended.output.lines())
        .any(|line| line.contains("No space left on device") && line.contains("queue"));
    assert!(said, "{}", ended.output);
    assert!(!ended.output.contains("a bug"), "{}", ended.output);
}

/// All that was acknowledged arrives, and the account is even.
fn all_arrives(daemon: &Daemon<'_>, stand_in: &StandIn, acked: &[Sample]) {
    let status = daemon.shows(s(60), "an empty queue", |status| {
        status["ledger"]["queued"] == 0 && status["ledger"]["sending"] == 0
    });
    let ledger = &status["ledger"];
    assert_eq!(ledger["ledger_imbalance"], 0, "{status:#}");
    assert_eq!(ledger["set_aside"], 0, "{status:#}");
    let seen = stand_in.events();
    for sample in acked {
        let found = seen.iter().find(|e| *e.event_id == *sample.id);
        assert!(found.is_some_and(|e| e.count > 0), "{} is lost", sample.id);
    }
    let resent = ledger["resent"].as_u64().expect("a count");
    assert!(stand_in.totals().duplicates <= resent, "{status:#}");
}

/// Fills the disk once; how many events were acknowledged, and how it went.
fn run(number: u64) -> Option<(usize, &'static str)> {
    let stand_in = StandIn::start();
    stand_in.mode(json!({"fault": "503"}));
    let (zero, ext4) = (number.is_multiple_of(2), number / 2 % 2 == 1);
    let mut site = site(&stand_in);
    if zero {
        site = site.set("queue", "min_free", "0");
    }
    let mount = match ext4 {
        true => Mount::ext4(&site, 64)?,
        false => Mount::tmpfs(&site, 64)?,
    };
    let start = |site| Process::start(&mut mount.run(site));
    let mut acked = Vec::new();
    let daemon = site.ready(start(&site));
    // Somewhere between a little and a lot of room, and never the same.
    let room = if zero { 1 } else { 17 } * MIB + number * 7919 % 97 * (MIB / 16);
    mount.fill("ballast", room);
    let end = pour(&daemon, &format!("full{number}"), &mut acked);
    let how = match &end {
        End::Broken => {
            ended_for_want_of_room(&daemon.end(s(20)));
            "exit 74"
        }
        // The last that it says before it ends.
        End::Unavailable(why) if why.contains("the queue has stopped") => {
            ended_for_want_of_room(&daemon.end(s(20)));
            "exit 74"
        }
        End::Unavailable(why) => {
            assert!(!zero, "there is no reserve: {why}");
            assert!(why.contains("min_free") && why.contains("later"), "{why}");
            // Somebody else takes the rest, and the daemon has its settlements to write.
            mount.fill("more", 0);
            stand_in.well();
            let begun = Instant::now();
            let mut daemon = daemon;
            while daemon.running() && begun.elapsed() < s(5) {
                std::thread::sleep(Duration::from_millis(50));
            }
            match daemon.running() {
                // What was there before suffices: it goes on, and takes nothing.
                true => daemon.kill(),
                false => ended_for_want_of_room(&daemon.end(s(5))),
            }
            "unavailable, then full"
        }
    };
    // On the full disk it starts, or says why not; it does not hang and does not damage.
    let mut again = start(&site);
    let begun = Instant::now();
    while again.running() && begun.elapsed() < s(4) {
        std::thread::sleep(Duration::from_millis(50));
    }
    match again.running() {
        true => again.kill(),
        false => {
            let ended = again.ended(s(1));
            assert_eq!(ended.code, Some(74), "{}", ended.output);
            assert!(ended.output.contains("queue"), "{}", ended.output);
        }
    }
    for ballast in ["ballast", "more"] {
        let _ = fs::remove_file(mount.path(ballast));
    }
    stand_in.well();
    let daemon = site.ready(start(&site));
    all_arrives(&daemon, &stand_in, &acked);
    // And it takes more.
    let more = samples(&format!("after{number}"), 0..20);
    within(s(10), "acceptance", || {
        let answers = Client::send_any(&daemon.socket(), &more[..1]);
        (answers[0].status() != "unavailable").then_some(())
    });
    Client::send(&daemon.socket(), &more);
    all_arrives(&daemon, &stand_in, &more);
    assert_eq!(daemon.stop(s(30)).code, Some(0));
    Some((acked.len(), how))
}

#[test]
fn a_full_disk_loses_nothing_and_recovers() {
    let runs = std::env::var("PINRELAY_FULL_DISK_RUNS")
        .map_or(2, |n| n.parse().expect("PINRELAY_FULL_DISK_RUNS"));
    let mut total = 0;
    for number in 0..runs {
        let Some((acked, how)) = run(number) else {
            return;
        };
        total += acked;
        let kind = if number / 2 % 2 == 1 { "ext4" } else { "tmpfs" };
        let reserve = if number.is_multiple_of(2) {
            "0"
        } else {
            "the default"
        };
        println!("run {number}: {kind}, min_free {reserve}: {acked} acknowledged, {how}");
    }
    println!("{runs} full disks: {total} events acknowledged, 0 lost, 0 hangs");
}

/// Below the reserve events are refused for now, deliveries go on, and acceptance comes back
/// without a restart.
#[test]
fn below_the_reserve_nothing_is_taken_and_deliveries_go_on() {
    let stand_in = StandIn::start();
    stand_in.mode(json!({"fault": "503"}));
    let site = site(&stand_in).set("queue", "min_free", "12MiB");
    let Some(mount) = Mount::tmpfs(&site, 64) else {
        return;
    };
    let daemon = site.ready(Process::start(&mut mount.run(&site)));
    let before = samples("before", 0..300);
    Client::queue(&daemon.socket(), &before);
    mount.fill("ballast", 8 * MIB);
    let mut client = Client::connect(&daemon.socket());
    let line = samples("below", 0..1).remove(0).line;
    let error = within(s(10), "a refusal", || {
        let answer = client.ask(&line);
        (answer.status() == "unavailable").then(|| answer.error().to_owned())
    });
    assert!(error.contains("queue.min_free keeps 12 MiB"), "{error}");
    assert_eq!(daemon.log().matches("not accepting").count(), 1);
    // What needs no room is answered as always.
    let ignored = client.ask(r#"{"messageId":"i","type":"identify","userId":"u"}"#);
    assert_eq!(ignored.status(), "ignored");
    stand_in.well();
    all_arrives(&daemon, &stand_in, &before);
    assert_eq!(client.ask(&line).status(), "unavailable");
    fs::remove_file(mount.path("ballast")).expect("removed");
    within(s(10), "acceptance", || {
        (client.ask(&line).status() != "unavailable").then_some(())
    });
    let after = samples("after", 0..300);
    Client::queue(&daemon.socket(), &after);
    all_arrives(&daemon, &stand_in, &after);
    assert_eq!(daemon.log().matches("not accepting").count(), 1);
    assert_eq!(daemon.stop(s(30)).code, Some(0));
}

/// Out of inodes is out of room, with bytes left: it is told before a file cannot be made, which
/// would end the process.
#[test]
fn nearly_out_of_inodes_nothing_is_taken_and_deliveries_go_on() {
    let stand_in = StandIn::start();
    stand_in.mode(json!({"fault": "503"}));
    let site = site(&stand_in);
    let Some(mount) = Mount::few_files(&site, 800) else {
        return;
    };
    let daemon = site.ready(Process::start(&mut mount.run(&site)));
    let before = samples("before", 0..300);
    Client::queue(&daemon.socket(), &before);
    // The reserve is a quarter: 200.
    let others = mount.path("others");
    fs::create_dir(&others).expect("a folder");
    for number in 0..600 {
        let made = fs::File::create(others.join(number.to_string()));
        made.expect("a file of somebody else's");
    }
    let mut client = Client::connect(&daemon.socket());
    let line = samples("below", 0..1).remove(0).line;
    let error = within(s(10), "a refusal", || {
        let answer = client.ask(&line);
        (answer.status() == "unavailable").then(|| answer.error().to_owned())
    });
    assert!(error.contains("nearly out of inodes"), "{error}");
    assert!(
        error.contains("where 200 are kept") && error.contains("df -i"),
        "{error}"
    );
    let said = "the file system of queue.path is nearly out of inodes";
    daemon.shows(s(5), "why it takes nothing", |status| {
        status["not_accepting"][0] == said
    });
    let config = site.path("pinrelay.toml");
    let check = mount.shell(&format!(
        "PINRELAY_QUEUE__PATH=\"$1/queue\" '{PINRELAY}' check -c '{}'",
        config.display()
    ));
    let told = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(told.contains("nearly out of inodes"), "{told}");
    stand_in.well();
    all_arrives(&daemon, &stand_in, &before);
    assert_eq!(client.ask(&line).status(), "unavailable");
    fs::remove_dir_all(&others).expect("removed");
    within(s(10), "acceptance", || {
        (client.ask(&line).status() != "unavailable").then_some(())
    });
    let after = samples("after", 0..300);
    Client::queue(&daemon.socket(), &after);
    all_arrives(&daemon, &stand_in, &after);
    assert_eq!(daemon.stop(s(30)).code, Some(0));
}

/// The system words it as a full disk, and whoever looks finds bytes left.
#[test]
fn an_end_for_want_of_inodes_says_so_and_so_does_the_next_start() {
    let stand_in = StandIn::start();
    stand_in.mode(json!({"fault": "503"}));
    // Nothing is kept.
    let site =
        (site(&stand_in).set("queue", "min_free", "0")).set("queue", "generation_events", "100");
    let Some(mount) = Mount::few_files(&site, 400) else {
        return;
    };
    let daemon = site.ready(Process::start(&mut mount.run(&site)));
    let others = mount.path("others");
    fs::create_dir(&others).expect("a folder");
    let full =
        (0..).find(|number: &u32| fs::File::create(others.join(number.to_string())).is_err());
    assert!(full.is_some_and(|number| number > 100));
    // Until a store has to be made; the answer to the line at which it ends does not come.
    let mut client = Client::connect(&daemon.socket());
    for sample in samples("until", 0..2000) {
        if client
            .write(format!("{}\n", sample.line).as_bytes())
            .is_err()
            || client.answer().is_err()
        {
            break;
        }
    }
    let ended = daemon.end(s(30));
    assert_eq!(ended.code, Some(74), "{}", ended.output);
    for words in ["storage failed", "is out of inodes (`df -i`)"] {
        assert!(ended.output.contains(words), "{words}: {}", ended.output);
    }
    let again = Process::start(&mut mount.run(&site)).ended(s(30));
    assert_eq!(again.code, Some(74), "{}", again.output);
    assert!(
        again.output.contains("is out of inodes (`df -i`)"),
        "{}",
        again.output
    );
    fs::remove_dir_all(&others).expect("removed");
    let daemon = site.ready(Process::start(&mut mount.run(&site)));
    assert_eq!(daemon.status()["ledger"]["ledger_imbalance"], 0);
}

/// The reserve never counts for more than a quarter of the file system: else a small disk would
/// take nothing with the default.
#[test]
fn on_a_small_disk_a_quarter_is_the_reserve() {
    let stand_in = StandIn::start();
    let site = site(&stand_in);
    let Some(mount) = Mount::tmpfs(&site, 64) else {
        return;
    };
    let daemon = site.ready(Process::start(&mut mount.run(&site)));
    mount.fill("ballast", 20 * MIB);
    Client::queue(&daemon.socket(), &samples("above", 0..50));
    mount.fill("ballast", 14 * MIB);
    let mut client = Client::connect(&daemon.socket());
    let line = samples("below", 0..1).remove(0).line;
    let error = within(s(10), "a refusal", || {
        let answer = client.ask(&line);
        (answer.status() == "unavailable").then(|| answer.error().to_owned())
    });
    assert!(error.contains("queue.min_free keeps 16 MiB"), "{error}");
    assert_eq!(daemon.stop(s(30)).code, Some(0));
}
