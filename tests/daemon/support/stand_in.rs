//! `pinrelay mock-pinterest` as a process of its own.

use std::time::Duration;

use pinrelay::mock_pinterest::{RequestLog, Seen, Totals};
use serde_json::Value;

use super::http::call;
use super::process::{Process, pinrelay};
use super::{s, within};

pub struct StandIn {
    process: Process,
    address: String,
    /// Where its journal is, if it has one.
    journal: Option<tempfile::TempDir>,
}

impl StandIn {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With these flags beside `--listen`.
    pub fn with(flags: &[&str]) -> Self {
        let journal = tempfile::tempdir().expect("a folder");
        let mut command = pinrelay();
        command.args(["mock-pinterest", "--listen", "127.0.0.1:0", "--journal"]);
        command.arg(journal.path().join("journal")).args(flags);
        let mut process = Process::start(&mut command);
        let address = process.says("listening on http://", s(20));
        Self {
            process,
            address,
            journal: Some(journal),
        }
    }

    /// It only counts: no journal, no schema.
    pub fn counting() -> Self {
        Self::counting_at("127.0.0.1:0")
    }

    fn counting_at(address: &str) -> Self {
        let mut command = pinrelay();
        command.args(["mock-pinterest", "--count-only", "--listen", address]);
        let mut process = Process::start(&mut command);
        let address = process.says("listening on http://", s(20));
        Self {
            process,
            address,
            journal: None,
        }
    }

    /// One that only counted starts again at the same address.
    pub fn restart_counting(&mut self) {
        self.kill();
        *self = Self::counting_at(&self.address);
    }

    /// Ends it and starts it again at the same address with the same journal.
    pub fn restart(&mut self) {
        self.kill();
        let journal = self.journal.as_ref().expect("kept").path().join("journal");
        let mut command = pinrelay();
        command.args(["mock-pinterest", "--listen", &self.address, "--journal"]);
        self.process = Process::start(command.arg(journal));
        self.process.says("listening on http://", s(20));
    }

    /// Nobody listens there any more.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// For `base_url`.
    pub fn url(&self) -> String {
        format!("http://{}/v5", self.address)
    }

    /// Sets all switches: those named, and the defaults of the others.
    pub fn mode(&self, switches: Value) {
        call(
            &self.address,
            "PUT",
            "/_control/mode",
            &switches.to_string(),
        );
    }

    /// No faults from now on.
    pub fn well(&self) {
        self.mode(serde_json::json!({}));
    }

    /// Sends a batch by hand, as the daemon would.
    pub fn post(&self, batch: &Value) {
        let path = "/v5/ad_accounts/549755885175/events";
        call(&self.address, "POST", path, &batch.to_string());
    }

    pub fn totals(&self) -> Totals {
        let body = call(&self.address, "GET", "/_control/account", "");
        serde_json::from_str(&body).expect("totals")
    }

    pub fn events(&self) -> Vec<Seen> {
        self.lines("/_control/events")
    }

    pub fn requests(&self) -> Vec<RequestLog> {
        self.lines("/_control/requests")
    }

    /// By event_name: how many of the events have what, by its path. Started `--count-fields`.
    pub fn fields(&self) -> Value {
        let body = call(&self.address, "GET", "/_control/fields", "");
        serde_json::from_str(&body).expect("fields")
    }

    fn lines<T: serde::de::DeserializeOwned>(&self, path: &str) -> Vec<T> {
        let body = call(&self.address, "GET", path, "");
        let lines = body.lines();
        lines.map(|l| serde_json::from_str(l).expect(l)).collect()
    }

    /// Waits until so many different events have been taken.
    pub fn takes(&self, distinct: u64, limit: Duration) -> Totals {
        let mut last = Totals::default();
        let what = format!("{distinct} events at the stand-in");
        let end = std::time::Instant::now() + limit;
        while std::time::Instant::now() < end {
            last = self.totals();
            if last.distinct_event_ids >= distinct {
                break;
            }
            std::thread::sleep(super::LOOK);
        }
        assert_eq!(last.distinct_event_ids, distinct, "{what}: {last:?}");
        last
    }

    /// Waits until any event has been taken.
    pub fn takes_some(&self, limit: Duration) {
        within(limit, "events at the stand-in", || {
            (self.totals().events_processed > 0).then_some(())
        });
    }

    /// Waits until so many requests have come.
    pub fn asked(&self, requests: u64, limit: Duration) {
        within(limit, "requests at the stand-in", || {
            (self.totals().requests >= requests).then_some(())
        });
    }

    /// Every event exactly as the samples say: each one there, once per name, none besides.
    pub fn holds(&self, samples: &[super::Sample]) {
        let mut seen: Vec<_> = (self.events().into_iter().filter(|e| e.count > 0))
            .map(|e| (e.event_id.to_string(), e.event_name.to_string()))
            .collect();
        seen.sort();
        let mut due: Vec<_> = (samples.iter())
            .map(|s| (s.id.clone(), s.event_name.to_owned()))
            .collect();
        due.sort();
        if seen != due {
            let missing: Vec<_> = due.iter().filter(|d| !seen.contains(d)).take(5).collect();
            let extra: Vec<_> = seen.iter().filter(|d| !due.contains(d)).take(5).collect();
            panic!(
                "{} seen, {} due; missing {missing:?} …; not expected {extra:?} …",
                seen.len(),
                due.len()
            );
        }
    }
}
