//! Durations and sizes since the start of the process, and deaths by reason.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts};

/// What became of a request: the label of `pinrelay_request_duration_seconds`.
pub const CLASSES: [&str; 7] = [
    "judged",
    "refused",
    "auth",
    "limited",
    "unexpected",
    "unknown",
    "not_sent",
];

/// From a tenth of a millisecond, for what the machine does itself.
const LOCAL: &[f64] = &[
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0,
];
/// For what crosses the network.
const REMOTE: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0,
];
/// From what passes through at once to what waited for a week.
const AGES: &[f64] = &[
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0, 604_800.0,
];
const SIZES: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];

/// The histograms, and deaths by reason.
pub struct Meters {
    acknowledgement: Histogram,
    sync: Histogram,
    request: HistogramVec,
    age: Histogram,
    batch: Histogram,
    deaths: IntCounterVec,
    by_key: IntCounterVec,
    made_ids: IntCounter,
    went_back: IntCounter,
}

impl Default for Meters {
    fn default() -> Self {
        let request = HistogramOpts::new(
            "pinrelay_request_duration_seconds",
            "From sending a request to its answer, by what became of it.",
        );
        let request = HistogramVec::new(request.buckets(REMOTE.to_vec()), &["class"]);
        let deaths = Opts::new(
            "pinrelay_events_dead_total",
            "Events that became dead letters, by reason, since the start of the process.",
        );
        let by_key = Opts::new(
            "pinrelay_events_by_write_key_total",
            "Events taken and known ones, by the name of the write key they came with, since the \
             start of the process.",
        );
        let made_ids = Opts::new(
            "pinrelay_message_ids_made_total",
            "Events that came without a messageId and were given one, since the start of the \
             process: a client that repeats such a request sends its events twice.",
        );
        let went_back = Opts::new(
            "pinrelay_database_went_back_total",
            "Times that the queue's database was found put back to an earlier state, since the start \
             of the process: nothing is accepted or delivered until it is adopted.",
        );
        // Unwrap safety: names, labels and buckets are the constants above.
        Self {
            acknowledgement: histogram(
                "pinrelay_acknowledgement_duration_seconds",
                "From reading lines to the durable receipts of their events.",
                LOCAL,
            ),
            sync: histogram(
                "pinrelay_sync_duration_seconds",
                "Writing a group of events and syncing it to disk.",
                LOCAL,
            ),
            request: request.expect("a fixed histogram"),
            age: histogram(
                "pinrelay_delivery_age_seconds",
                "From acceptance to delivery, per delivered event.",
                AGES,
            ),
            batch: histogram("pinrelay_batch_events", "Events in a request.", SIZES),
            deaths: IntCounterVec::new(deaths, &["reason"]).expect("a fixed counter"),
            by_key: IntCounterVec::new(by_key, &["key"]).expect("a fixed counter"),
            made_ids: IntCounter::with_opts(made_ids).expect("a fixed counter"),
            went_back: IntCounter::with_opts(went_back).expect("a fixed counter"),
        }
    }
}

fn histogram(name: &str, help: &str, buckets: &[f64]) -> Histogram {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    // Unwrap safety: every caller passes constants.
    Histogram::with_opts(options).expect("a fixed histogram")
}

impl Meters {
    /// A block has its receipts, so long after its lines were read.
    pub fn acknowledged(&self, took: Duration) {
        self.acknowledgement.observe(took.as_secs_f64());
    }

    /// The queue's database does not know what it acknowledged.
    pub fn database_went_back(&self) {
        self.went_back.inc();
    }

    /// A group is on disk, after so long.
    pub fn synced(&self, took: Duration) {
        self.sync.observe(took.as_secs_f64());
    }

    /// A request of so many events is over. `class` is one of [`CLASSES`].
    pub fn requested(&self, class: &'static str, took: Duration, events: usize) {
        let request = self.request.with_label_values(&[class]);
        request.observe(took.as_secs_f64());
        self.batch.observe(events as f64);
    }

    /// Requests that ended since the start: how many, and their seconds together.
    pub fn requests(&self) -> (u64, f64) {
        let classes = CLASSES
            .iter()
            .map(|class| self.request.with_label_values(&[*class]));
        classes.fold((0, 0.0), |(count, seconds), class| {
            (
                count + class.get_sample_count(),
                seconds + class.get_sample_sum(),
            )
        })
    }

    /// Events were delivered, so many seconds after each was accepted. One call per request.
    pub fn delivered(&self, ages: impl Iterator<Item = f64>) {
        // Counted aside, then added at once: an event costs no atomic operation.
        let local = self.age.local();
        ages.for_each(|age| local.observe(age.max(0.0)));
        local.flush();
    }

    /// An event died of this. A fixed list: it is a label.
    pub fn died(&self, reason: &'static str) {
        self.deaths.with_label_values(&[reason]).inc();
    }

    /// So many events were acknowledged to whoever has the write key of this name: one of the
    /// config's, so the label has few values.
    pub fn came_with(&self, key: &str, events: usize) {
        self.by_key.with_label_values(&[key]).inc_by(events as u64);
    }

    /// So many events that were acknowledged had no messageId of their own.
    pub fn made_ids(&self, events: usize) {
        self.made_ids.inc_by(events as u64);
    }

    /// How many they are since the start.
    pub fn ids_made(&self) -> u64 {
        self.made_ids.get()
    }

    /// All of them, with a series for each of these reasons and of [`CLASSES`] from the first
    /// moment on, so that a rise from nothing is seen.
    pub fn collectors(
        &self,
        reasons: impl Iterator<Item = &'static str>,
    ) -> Vec<Box<dyn Collector>> {
        reasons.for_each(|reason| drop(self.deaths.with_label_values(&[reason])));
        CLASSES
            .iter()
            .for_each(|class| drop(self.request.with_label_values(&[class])));
        vec![
            Box::new(self.acknowledgement.clone()),
            Box::new(self.sync.clone()),
            Box::new(self.request.clone()),
            Box::new(self.age.clone()),
            Box::new(self.batch.clone()),
            Box::new(self.deaths.clone()),
            Box::new(self.by_key.clone()),
            Box::new(self.made_ids.clone()),
            Box::new(self.went_back.clone()),
        ]
    }
}
