//! A report and the meters in Prometheus' text format.

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{Error, Gauge, GaugeVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder};

use super::warnings::by_kind;
use crate::admin::report::Report;
use crate::coverage::FIELDS;
use crate::deliver::GateState;
use crate::note::KINDS;
use crate::observe::{Observer, Window};
use crate::queue::{DeadReason, Disk, LossKind};

/// Everything, as text.
///
/// # Errors
/// Only for a bug: a name or a label twice.
pub(super) fn text(report: &Report, observer: &Observer, day: &Window) -> Result<String, Error> {
    let page = Page(Registry::new());
    let reasons = DeadReason::ALL.iter().map(|reason| reason.name());
    for collector in observer.meters().collectors(reasons) {
        page.0.register(collector)?;
    }
    page.0.register(Box::new(OwnProcess::new()))?;
    events(&page, report)?;
    queue(&page, report)?;
    delivery(&page, report)?;
    process(&page, report)?;
    quality(&page, day)?;
    let listeners = observer.passing().listeners() as f64;
    let help = "Clients of /tail: while there are none, nothing is built for them.";
    page.gauge("pinrelay_tail_listeners", help, listeners)?;
    TextEncoder::new().encode_to_string(&page.0.gather())
}

/// Which parts delivered events had.
fn quality(page: &Page, day: &Window) -> Result<(), Error> {
    let help = "The share of the events of the last 24 hours, by their name at Pinterest, that were \
                delivered with a field; of client_user_agent only the event's own counts.";
    let names = day.names.iter().filter(|(_, tally)| tally.events > 0);
    let shares = names.flat_map(|(name, tally)| {
        let fields = FIELDS.iter().zip(tally.fields);
        fields.map(|((field, _), with)| ([&**name, *field], with as f64 / tally.events as f64))
    });
    page.gauge_pairs(
        "pinrelay_field_coverage_ratio",
        help,
        ["event_name", "field"],
        shares,
    )
}

/// Counts of events.
fn events(page: &Page, report: &Report) -> Result<(), Error> {
    let ledger = &report.ledger;
    let counters = [
        ("accepted", ledger.accepted, "Events accepted, ever."),
        (
            "delivered",
            report.delivered,
            "Events that Pinterest processed, ever; none in test mode.",
        ),
        (
            "delivered_test",
            report.delivered_test,
            "Events that Pinterest checked in test mode and recorded nowhere.",
        ),
        (
            "late",
            report.late,
            "Events delivered later than delivery.late_after, since the start.",
        ),
        (
            "duplicate",
            ledger.duplicate,
            "Answers `duplicate`: the messageId was accepted before.",
        ),
        (
            "ignored",
            ledger.ignored,
            "Answers `ignored`: calls of a kind that is not forwarded, and what consent or a filter kept back.",
        ),
        (
            "rejected",
            ledger.rejected,
            "Answers `rejected`: lines that are no events.",
        ),
        (
            "revived",
            ledger.retried,
            "Dead letters that went back to the queue.",
        ),
        (
            "resent",
            ledger.resent,
            "Times that an event in doubt was sent again.",
        ),
        (
            "resent_late",
            ledger.resent_late,
            "Times that an event in doubt was sent again later than the 48 hours for which Pinterest remembers an event_id.",
        ),
        (
            "purged",
            ledger.purged,
            "Events given up: dead letters by retention or the operator, and what was forgotten.",
        ),
        (
            "set_aside",
            ledger.set_aside,
            "Events lost to damage, their number known.",
        ),
        (
            "set_apart",
            report.delivery.deferred,
            "Events that kept failing alone and wait aside, since the start.",
        ),
    ];
    for (name, value, help) in counters {
        page.counter(&format!("pinrelay_events_{name}_total"), help, value)?;
    }
    Ok(())
}

/// What is on disk, and the account.
fn queue(page: &Page, report: &Report) -> Result<(), Error> {
    room(page, &report.disk)?;
    let oldest = report.oldest_accepted_at.unwrap_or(report.now);
    let gauges = [
        (
            "pinrelay_queue_events",
            report.queued as f64,
            "Events on disk that wait to be sent.",
        ),
        (
            "pinrelay_queue_oldest_event_timestamp_seconds",
            oldest as f64 / 1000.0,
            "When the oldest event that is not settled was accepted; the moment of the scrape \
             if there is none.",
        ),
        (
            "pinrelay_sending_events",
            report.sending as f64,
            "Events whose request is under way.",
        ),
        (
            "pinrelay_in_doubt_events",
            report.in_doubt as f64,
            "Events queued or sending that Pinterest may have seen.",
        ),
        (
            "pinrelay_ledger_imbalance",
            report.ledger.ledger_imbalance as f64,
            "Events accepted less events accounted for; anything but 0 is a bug or damage.",
        ),
        (
            "pinrelay_accepting",
            f64::from(u8::from(report.not_accepting.is_empty())),
            "1 while events come in, 0 while not.",
        ),
    ];
    for (name, value, help) in gauges {
        page.gauge(name, help, value)?;
    }
    let kinds = LossKind::ALL.map(|kind| {
        let of_kind = report.losses.iter().filter(|loss| loss.kind == kind);
        (kind.name(), of_kind.map(|loss| loss.count as f64).sum())
    });
    let help = "What was lost to damage and is not acknowledged, by kind.";
    page.gauges("pinrelay_lost", help, "kind", kinds.into_iter())?;
    let dead = report.dead.iter();
    let dead = dead.map(|(reason, count)| (reason.as_str(), *count as f64));
    let help = "Dead letters now, by reason.";
    page.gauges("pinrelay_dead_letters", help, "reason", dead)
}

/// How much room there is, where that is known.
fn room(page: &Page, disk: &Disk) -> Result<(), Error> {
    if disk.unknown {
        return Ok(());
    }
    let gauges = [
        (
            "pinrelay_disk_used_bytes",
            disk.used as f64,
            "What the queued events take on disk.",
        ),
        (
            "pinrelay_disk_quota_bytes",
            disk.quota as f64,
            "queue.max_bytes: at it, no events come in.",
        ),
        (
            "pinrelay_disk_free_bytes",
            disk.free as f64,
            "Free on the file system of the queue.",
        ),
        (
            "pinrelay_disk_reserve_bytes",
            disk.reserve as f64,
            "Kept free: below it events are answered unavailable.",
        ),
        (
            "pinrelay_dead_letters_used_bytes",
            disk.dead_used as f64,
            "What the dead letters take on disk.",
        ),
        (
            "pinrelay_dead_letters_quota_bytes",
            disk.dead_quota as f64,
            "dead_letters.max_bytes: at it, the oldest are purged.",
        ),
    ];
    for (name, value, help) in gauges {
        page.gauge(name, help, value)?;
    }
    Ok(())
}

/// The way to Pinterest.
fn delivery(page: &Page, report: &Report) -> Result<(), Error> {
    let delivery = &report.delivery;
    let now = delivery.gate.state;
    let states = GateState::ALL.iter();
    let states = states.map(|state| (state.name(), f64::from(u8::from(*state == now))));
    let help = "1 for the state of the gate before Pinterest, 0 for the others.";
    page.gauges("pinrelay_gate_state", help, "state", states)?;
    let gauges = [
        (
            "pinrelay_requests_in_flight",
            delivery.in_flight,
            "Requests whose answer is awaited.",
        ),
        (
            "pinrelay_ready_events",
            delivery.ready,
            "Events that gather for a request.",
        ),
        (
            "pinrelay_waiting_events",
            delivery.waiting,
            "Events in requests that wait for another attempt.",
        ),
        (
            "pinrelay_isolating_events",
            delivery.isolating,
            "Events in refused requests that are being split.",
        ),
    ];
    for (name, value, help) in gauges {
        page.gauge(name, help, value as f64)?;
    }
    let requests = delivery.requests.by_class();
    let help = "Requests by what became of them, since the start.";
    page.counters("pinrelay_requests_total", help, "class", requests)?;
    let help = "Pinterest's warnings on processed events, by the field they name, since the start.";
    let kinds = by_kind(&delivery.warnings);
    page.counters("pinrelay_warnings_total", help, "kind", kinds)?;
    let help = "Notes of what could not be read as it stands, of events that were delivered or died \
                and of lines that were repaired, by field and word, since the start.";
    let counted = |field: &str, word: &str| {
        let mut counts = report.notes.since_start.iter();
        counts
            .find(|note| note.field == field && note.word == word)
            .map_or(0, |note| note.count)
    };
    let kinds = KINDS
        .iter()
        .flat_map(|(field, words)| words.iter().map(|w| (*field, w.name())));
    let notes = kinds.map(|(field, word)| ([field, word], counted(field, word)));
    page.pairs("pinrelay_notes_total", help, ["field", "word"], notes)?;
    let help = "Events that consent or a filter kept back, by the rule. Since the start.";
    let kept = report.rules.iter().filter_map(|rule| {
        let reason = rule.reason.as_deref()?;
        Some(([reason, rule.rule.as_str()], rule.kept_back))
    });
    page.pairs("pinrelay_kept_back_total", help, ["reason", "rule"], kept)?;
    page.counter(
        "pinrelay_custom_properties_stripped_total",
        "Custom properties left out because Pinterest refuses them, since the start.",
        delivery.stripped.values().sum(),
    )
}

fn process(page: &Page, report: &Report) -> Result<(), Error> {
    let help = "Start time of the process since unix epoch in seconds.";
    page.gauge(START_TIME, help, report.started_at as f64 / 1000.0)?;
    let help = "1 while Pinterest only validates (pinterest.test), 0 else.";
    let test = f64::from(u8::from(report.test_mode));
    page.gauge("pinrelay_test_mode", help, test)?;
    let help = "1 while the wall clock is believed, 0 while nothing expires or is deleted by it.";
    let believed = f64::from(u8::from(report.clock.believed));
    page.gauge("pinrelay_clock_believed", help, believed)?;
    page.counter(
        "pinrelay_log_lines_dropped_total",
        "Lines of the log that its reader did not take, since the start.",
        report.log_lines_dropped,
    )?;
    let help = "1; the label says which release runs.";
    let version = [(report.version.as_str(), 1.0)];
    page.gauges("pinrelay_build_info", help, "version", version.into_iter())
}

/// What the system says of this process, but for when it began: the collector takes that from the
/// boot's time in /proc/stat, which the sandbox of the units hides, and says 0 then.
struct OwnProcess(ProcessCollector);

const START_TIME: &str = "process_start_time_seconds";

impl OwnProcess {
    fn new() -> Self {
        Self(ProcessCollector::for_self())
    }
}

impl Collector for OwnProcess {
    fn desc(&self) -> Vec<&Desc> {
        let mut descs = self.0.desc();
        descs.retain(|desc| desc.fq_name != START_TIME);
        descs
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.0.collect();
        families.retain(|family| family.name() != START_TIME);
        families
    }
}

/// What is being written.
struct Page(Registry);

impl Page {
    fn add(&self, collector: impl Collector + 'static) -> Result<(), Error> {
        self.0.register(Box::new(collector))
    }

    fn counter(&self, name: &str, help: &str, value: u64) -> Result<(), Error> {
        let counter = IntCounter::new(name, help)?;
        counter.inc_by(value);
        self.add(counter)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> Result<(), Error> {
        let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
        for (value, count) in values {
            counters.with_label_values(&[value]).inc_by(count);
        }
        self.add(counters)
    }

    fn pairs<'a>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; 2],
        values: impl Iterator<Item = ([&'a str; 2], u64)>,
    ) -> Result<(), Error> {
        let counters = IntCounterVec::new(Opts::new(name, help), &labels)?;
        for (value, count) in values {
            counters.with_label_values(&value).inc_by(count);
        }
        self.add(counters)
    }

    fn gauge_pairs<'a>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; 2],
        values: impl Iterator<Item = ([&'a str; 2], f64)>,
    ) -> Result<(), Error> {
        let gauges = GaugeVec::new(Opts::new(name, help), &labels)?;
        for (value, now) in values {
            gauges.with_label_values(&value).set(now);
        }
        self.add(gauges)
    }

    fn gauge(&self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        let gauge = Gauge::new(name, help)?;
        gauge.set(value);
        self.add(gauge)
    }

    fn gauges<'a>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: impl Iterator<Item = (&'a str, f64)>,
    ) -> Result<(), Error> {
        let gauges = GaugeVec::new(Opts::new(name, help), &[label])?;
        for (value, now) in values {
            gauges.with_label_values(&[value]).set(now);
        }
        self.add(gauges)
    }
}
