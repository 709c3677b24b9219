//! Real clients against the real daemon, each set up as its own docs say but for the host. While
//! they send, the daemon is killed and stopped; in the end every event is at the stand-in, and none
//! was queued twice.
//!
//! The scripts are in `tests/http_clients`, with what each client does about a server that is away.
//! Their packages are installed below the target folder; where that cannot be, a test is skipped, or
//! fails under `PINRELAY_HTTP_CLIENTS_REQUIRED=1`. `PINRELAY_HTTP_CLIENT_EVENTS` sets how many events
//! each sends: 4000 here, 10000 for the whole of it; with a few hundred a client may be done before
//! the last thing has happened to it. `page` runs what docs/http.md prints;
//! `commerce` looks at what Chord's package makes of a shop's events.

#[path = "docs/blocks.rs"]
#[allow(dead_code, reason = "shared with the tests of the pages")]
mod blocks;
#[path = "http_clients/commerce.rs"]
mod commerce;
#[path = "http_clients/installed.rs"]
mod installed;
#[path = "http_clients/page.rs"]
mod page;
#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the daemon's tests, which use all of it"
)]
#[path = "daemon/support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use installed::Installed;
use serde_json::Value;
use support::{Daemon, Process, Site, StandIn, s, within};

/// As Jitsu's are, `id:secret`: the others have to cope with the colon.
const KEY: &str = "shop:secret";

/// Each happens when a further fifth of the events is accepted; for so long the daemon is away.
const TROUBLE: [(Trouble, Duration); 4] = [
    (Trouble::Kill, s(1)),
    (Trouble::Kill, s(2)),
    (Trouble::Kill, s(1)),
    (Trouble::Stop, s(1)),
];

/// One client at a time: two cores are the client's and the daemon's.
static ONE: Mutex<()> = Mutex::new(());

#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// SIGKILL.
    Kill,
    /// SIGTERM: it drains, and ends by itself.
    Stop,
}

/// Whose messageIds the events have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ids {
    /// The script's: prefix and number.
    Scripts,
    /// The client's own, which nobody can set.
    Clients,
}

/// How the daemon listens.
#[derive(Clone, Copy, Debug)]
enum Way {
    Tcp,
    Unix,
}

#[test]
fn segment_for_node() {
    let client = || installed::node("segment.mjs");
    delivers(client, &[], Ids::Scripts, Way::Tcp);
}

#[test]
fn segment_for_python() {
    let client = || installed::python("segment_client.py");
    delivers(client, &[], Ids::Scripts, Way::Tcp);
}

#[test]
fn jitsu() {
    delivers(|| installed::node("jitsu.mjs"), &[], Ids::Clients, Way::Tcp);
}

#[test]
fn rudderstack() {
    let client = || installed::node("rudderstack.mjs");
    delivers(client, &[], Ids::Scripts, Way::Tcp);
}

#[test]
fn chord_with_jitsu() {
    let client = || installed::node("chord.mjs");
    delivers(client, &["jitsu"], Ids::Clients, Way::Tcp);
}

#[test]
fn chord_with_segment() {
    let client = || installed::node("chord.mjs");
    delivers(client, &["segment"], Ids::Scripts, Way::Tcp);
}

#[test]
fn curl() {
    delivers(installed::curl, &[], Ids::Scripts, Way::Tcp);
}

#[test]
fn curl_over_a_unix_socket() {
    delivers(installed::curl, &[], Ids::Scripts, Way::Unix);
}

/// Everything that this client sends arrives, once, whatever happens to the daemon meanwhile.
fn delivers(client: impl FnOnce() -> Installed, more: &[&str], ids: Ids, way: Way) {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut client = match client() {
        Ok(client) => client,
        Err(missing) => return skipped(&missing),
    };
    let events = number("PINRELAY_HTTP_CLIENT_EVENTS").unwrap_or(4_000);
    let patience = s(120 + events / 100);
    let stand_in = StandIn::start();
    let address = format!("127.0.0.1:{}", free_port());
    let site = Site::new(&stand_in);
    let site = match way {
        Way::Tcp => site.set("ingest", "http_listen", &address),
        Way::Unix => {
            let socket = site.path("http.sock");
            let socket = socket.to_str().expect("a path in UTF-8");
            client.env("UNIX_SOCKET", socket);
            site.set("ingest", "http_socket", socket)
        }
    };
    let started = || {
        let daemon = site.start();
        if let Way::Tcp = way {
            // Only some clients would wait for it when they are new.
            within(s(10), "somebody listens", || {
                TcpStream::connect(&address).ok()
            });
        }
        daemon
    };

    let mut daemon = started();
    let (url, count) = (format!("http://{address}"), events.to_string());
    client.args([url.as_str(), KEY, "it", count.as_str()]);
    let mut client = Process::start(client.args(more));
    for (fifths, (trouble, away)) in (1..).zip(TROUBLE) {
        let due = events * fifths / 5;
        let status = daemon.shows(patience, "further events, or the client's end", |status| {
            accepted(status) >= due || !alive(client.pid())
        });
        let busy = client.running() && accepted(&status) < events;
        assert!(
            busy,
            "{fifths}/5: {status:#}\n{}",
            complaints(&client.output())
        );
        match trouble {
            Trouble::Kill => daemon.kill(),
            Trouble::Stop => assert_eq!(daemon.stop(s(30)).code, Some(0)),
        }
        // This is the trouble, and nothing to wait for.
        std::thread::sleep(away);
        daemon = started();
    }
    let ended = client.ended(patience);
    assert_eq!(ended.code, Some(0), "{}", complaints(&ended.output));

    let told = told(&ended.output, ids, events);
    let status = settled(&daemon, events, patience);
    arrived(&stand_in, &told);
    let totals = stand_in.totals();
    let resent = status["ledger"]["resent"].as_u64().expect("a count");
    assert!(totals.duplicates <= resent, "{totals:?} {status:#}");
    assert_eq!((totals.renamed, totals.changed), (0, 0), "{totals:?}");
    verify(&site, "running");
    assert_eq!(daemon.stop(s(30)).code, Some(0));
    verify(&site, "stopped");
    println!(
        "{events} events accepted and delivered, {} answered `duplicate`, {resent} resent in doubt",
        status["ledger"]["duplicate"]
    );
}

/// The messageIds that the client was told are stored: each event has one, and one of its own.
fn told(output: &str, ids: Ids, events: u64) -> BTreeSet<String> {
    let told: Vec<_> = (output.lines())
        .filter_map(|line| line.strip_prefix("delivered "))
        .map(str::to_owned)
        .collect();
    let different: BTreeSet<_> = told.iter().cloned().collect();
    assert_eq!(told.len(), different.len(), "an event was told twice");
    assert_eq!(told.len() as u64, events);
    if ids == Ids::Scripts {
        let due: BTreeSet<_> = (0..events).map(|n| format!("it-{n}")).collect();
        assert_eq!(different, due);
    }
    different
}

/// The status when all is delivered: as many events as were sent, each accepted once.
fn settled(daemon: &Daemon<'_>, events: u64, patience: Duration) -> Value {
    let status = daemon.shows(patience, "an empty queue", |status| {
        status["ledger"]["queued"] == 0 && status["ledger"]["sending"] == 0
    });
    let ledger = &status["ledger"];
    for (count, due) in [
        ("accepted", events),
        ("delivered", events),
        ("dead", 0),
        ("purged", 0),
        ("set_aside", 0),
        ("ignored", 0),
        ("rejected", 0),
        ("ledger_imbalance", 0),
    ] {
        assert_eq!(ledger[count], due, "{count}: {status:#}");
    }
    assert!(!daemon.log().contains("ERROR"), "{}", daemon.log());
    status
}

/// Exactly these events are at the stand-in, each under one name.
fn arrived(stand_in: &StandIn, told: &BTreeSet<String>) {
    let seen: Vec<_> = (stand_in.events().into_iter())
        .filter(|event| event.count > 0)
        .map(|event| event.event_id.to_string())
        .collect();
    let different: BTreeSet<_> = seen.iter().cloned().collect();
    let missing: Vec<_> = told.difference(&different).take(5).collect();
    let extra: Vec<_> = different.difference(told).take(5).collect();
    assert!(
        missing.is_empty() && extra.is_empty() && seen.len() == told.len(),
        "{} seen, {} due; missing {missing:?} …; not expected {extra:?} …",
        seen.len(),
        told.len()
    );
}

/// `pinrelay verify`, of the stopped queue or the running daemon, finds nothing.
fn verify(site: &Site, when: &str) {
    let out = (site.command(&["verify"]).output()).expect("verify runs");
    let said = String::from_utf8_lossy(&out.stdout);
    let complained = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{when}: {said}{complained}");
}

fn accepted(status: &Value) -> u64 {
    status["ledger"]["accepted"].as_u64().expect("a count")
}

/// A process that has ended and that nobody has waited for is no more than its name.
fn alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}/exe")).exists()
}

/// What a client said besides its account.
fn complaints(output: &str) -> String {
    let lines = output.lines();
    let lines = lines.filter(|line| !line.starts_with("delivered "));
    lines.collect::<Vec<_>>().join("\n")
}

/// A free port from below those that the kernel hands out: while the daemon is away, it could give
/// one of these to a client's own connection.
fn free_port() -> u16 {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).expect("below 10000");
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (first..32_768).find(free).expect("a free port")
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|n| n.parse().expect(name))
}

/// Says what is missing, or fails where nothing may be.
fn skipped(missing: &str) {
    let required = std::env::var_os("PINRELAY_HTTP_CLIENTS_REQUIRED");
    assert!(required.is_none_or(|word| word != "1"), "{missing}");
    println!("skipped: {missing}");
}
