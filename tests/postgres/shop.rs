//! What the tests of a daemon on real servers have in common: a shop's site whose queue is in a
//! database, two servers that take turns, and a client that resends.

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::server::Server;
use super::support::{Client, Daemon, Sample, Site, StandIn, s, within};

/// With a disk's syncs, which `replicated` demands.
pub const SYNCED: &[(&str, &str)] = &[("fsync", "on"), ("wal_keep_size", "64MB")];
/// Without: for what is not about a loss of power.
pub const FAST: &[(&str, &str)] = &[("fsync", "off")];

pub const PASSWORD: &str = "S3CRET-word";

/// A commit that waits for its standby, in `pg_stat_activity`.
pub const WAITS: &str = "wait_event = 'SyncRep' AND application_name = 'pinrelay accept'";

/// The shop's role and its database, which hears nothing of warnings unless it asks for them.
pub fn prepare(server: &Server) {
    server.sql(&format!(
        "CREATE ROLE shop LOGIN PASSWORD '{PASSWORD}'; CREATE DATABASE shop OWNER shop; \
         ALTER ROLE shop SET client_min_messages = error"
    ));
}

/// The URL of these servers, in their order.
pub fn url(servers: &[&Server]) -> String {
    let hosts: Vec<String> = servers.iter().map(|server| server.address()).collect();
    format!("postgres://shop:{PASSWORD}@{}/shop", hosts.join(","))
}

/// A site with its queue there. The lease is short, so that restarts are quick.
pub fn site(stand_in: &StandIn, url: &str, durability: &str) -> Site {
    let site = Site::new(stand_in);
    let file = site.path("url");
    fs::write(&file, format!("{url}\n")).expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
    let file = file.display().to_string();
    site.set("queue", "engine", "postgres")
        .set("postgres", "url_file", &file)
        .set("postgres", "durability", durability)
        .set("postgres", "lease", "2s")
}

/// Two servers: one takes writes, the other follows it and is waited for.
pub struct Pair {
    servers: [Server; 2],
    primary: usize,
}

const NAMES: [&str; 2] = ["one", "two"];

impl Pair {
    /// `None`: no PostgreSQL is installed.
    pub fn start() -> Option<Self> {
        let first = Server::start(SYNCED)?;
        prepare(&first);
        let second = first.standby(NAMES[1]);
        first.wait_for(NAMES[1]);
        Some(Self {
            servers: [first, second],
            primary: 0,
        })
    }

    pub fn primary(&self) -> &Server {
        &self.servers[self.primary]
    }

    pub fn standby(&self) -> &Server {
        &self.servers[1 - self.primary]
    }

    pub fn standbys_name(&self) -> &'static str {
        NAMES[1 - self.primary]
    }

    pub fn url(&self) -> String {
        url(&[&self.servers[0], &self.servers[1]])
    }

    /// The primary is lost, and its standby takes its place: without a standby of its own, which
    /// [`Self::mend`] makes of the old one.
    pub fn fail_over(&mut self) {
        self.primary().kill9();
        self.standby().promote();
        self.primary = 1 - self.primary;
    }

    /// Whoever is not the primary follows it from now on, and is waited for.
    pub fn mend(&self) {
        self.standby().follow(self.primary(), self.standbys_name());
        self.primary().wait_for(self.standbys_name());
    }

    /// The standby comes back as it was.
    pub fn standby_back(&self) {
        self.standby().restart();
        self.primary().followed_by(self.standbys_name());
    }

    /// Waits until so many commits of a daemon's writer wait for the standby.
    pub fn commits_wait(&self) {
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE {WAITS}");
        self.primary()
            .shows("a commit that waits", &sql, |count| count != "0");
    }

    /// Who it is that waits.
    pub fn waiting(&self) -> Vec<String> {
        let sql = format!("SELECT pid FROM pg_stat_activity WHERE {WAITS}");
        self.primary().sql(&sql)
    }

    /// Waits until another connection than these has a commit that waits.
    pub fn another_waits(&self, known: &[String]) {
        within(s(30), "a commit of another connection that waits", || {
            let waiting = self.waiting();
            let another = waiting.iter().any(|pid| !known.contains(pid));
            another.then_some(())
        });
    }
}

/// What a client that resends has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    pub queued: usize,
    /// Of an event that had been sent before.
    pub duplicate: usize,
    pub unavailable: usize,
}

/// Sends all of these, and again what was not answered or was answered `unavailable`, until each is
/// in. `answered` counts those.
pub fn resend(
    socket: &Path,
    samples: &[Sample],
    window: usize,
    answered: &AtomicUsize,
) -> Answered {
    let mut told = Answered::default();
    let mut waiting: VecDeque<&Sample> = samples.iter().collect();
    let mut tried: HashSet<&str> = HashSet::new();
    let mut heard = Instant::now();
    while !waiting.is_empty() {
        assert!(heard.elapsed() < s(90), "{told:?} of {}", samples.len());
        let Ok(mut client) = Client::try_connect(socket) else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        client.patience(s(60));
        while !waiting.is_empty() {
            let now: Vec<&Sample> = (waiting.iter().take(window)).copied().collect();
            let text: String = now
                .iter()
                .map(|sample| format!("{}\n", sample.line))
                .collect();
            let mut is_broken = client.write(text.as_bytes()).is_err();
            let mut refused = 0;
            for sample in now {
                // What was sent and is not answered may be in.
                let Ok(answer) = client.answer() else {
                    is_broken = true;
                    tried.extend(waiting.iter().take(window).map(|sample| sample.id.as_str()));
                    break;
                };
                // One that is refused unread has no id.
                assert!(
                    [sample.id.as_str(), ""].contains(&answer.message_id()),
                    "{answer:?}"
                );
                heard = Instant::now();
                waiting.retain(|other| other.id != sample.id);
                match answer.status() {
                    "queued" => told.queued += 1,
                    "duplicate" => {
                        assert!(tried.contains(sample.id.as_str()), "never sent: {answer:?}");
                        told.duplicate += 1;
                    }
                    "unavailable" => {
                        tried.insert(&sample.id);
                        told.unavailable += 1;
                        refused += 1;
                        waiting.push_back(sample);
                        continue;
                    }
                    _ => panic!("{answer:?}"),
                }
                answered.fetch_add(1, Ordering::Relaxed);
            }
            if is_broken {
                break;
            }
            if refused > 0 {
                // As a client that is told so does.
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
    told
}

/// Whether no answer comes within this.
pub fn is_silent(client: &mut Client, within: Duration) -> bool {
    client.patience(within);
    match client.answer() {
        Err(error) => {
            let kind = error.kind();
            let late = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
            assert!(late.contains(&kind), "{error}");
            client.patience(s(60));
            true
        }
        Ok(answer) => panic!("it was answered: {answer:?}"),
    }
}

/// Runs a command of the binary; exit code and all that it said.
pub fn said(site: &Site, args: &[&str]) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = site.command(args).output().expect("it runs");
    let text = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (status.code(), text.concat())
}

/// `pinrelay verify` finds nothing.
pub fn verify(site: &Site, when: &str) {
    let (code, text) = said(site, &["verify"]);
    assert_eq!(code, Some(0), "{when}: {text}");
}

/// All that was sent has been delivered, and the account holds; the status in the end.
pub fn all_delivered(daemon: &Daemon<'_>, stand_in: &StandIn, sent: &[Sample]) -> Value {
    let status = daemon.shows(s(60), "an empty queue", |status| {
        status["ledger"]["queued"] == 0 && status["ledger"]["sending"] == 0
    });
    let ledger = &status["ledger"];
    assert_eq!(ledger["ledger_imbalance"], 0, "{status:#}");
    assert_eq!(ledger["accepted"], sent.len(), "{status:#}");
    assert_eq!(ledger["delivered"], sent.len(), "{status:#}");
    stand_in.holds(sent);
    // What came twice was in doubt, by name, and the same.
    let totals = stand_in.totals();
    let resent = ledger["resent"].as_u64().expect("a count");
    assert!(totals.duplicates <= resent, "{totals:?} {status:#}");
    assert_eq!((totals.renamed, totals.changed), (0, 0), "{totals:?}");
    status
}
