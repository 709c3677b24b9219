//! What the notifications are made of: facts of this moment, out of the report.

use std::sync::Arc;

use crate::admin::{Report, Source};
use crate::clock::WallTrust;
use crate::deliver::Reason;
use crate::notify::{self, Facts};

/// Seconds after which a clock that is not believed is told of.
const CLOCK_DOUBT: i64 = 600;

/// A source of facts. While something speaks against the wall clock no age is told.
pub(super) fn facts(report: Source, trust: WallTrust, unclean_start: bool) -> notify::Source {
    Arc::new(move || {
        let (report, trust) = (report.clone(), trust.clone());
        Box::pin(async move {
            let report = report().await;
            let oldest = report.oldest_accepted_at.filter(|_| trust.tells_ages());
            facts_of(&report, oldest, unclean_start)
        })
    })
}

fn facts_of(report: &Report, oldest_accepted_at: Option<i64>, unclean_start: bool) -> Facts {
    let gate = &report.delivery.gate;
    let message = || {
        let detail = gate.detail.as_deref().unwrap_or("see `pinrelay status`");
        let reason = gate.reason.map_or("", |reason| reason.name());
        format!("{reason} ({detail})")
    };
    let parked = gate.reason.filter(|reason| reason.parks());
    Facts {
        parked: parked
            .filter(|r| *r != Reason::RefusedAll)
            .map(|_| message()),
        refused_all: parked
            .filter(|r| *r == Reason::RefusedAll)
            .map(|_| message()),
        paused_since: gate
            .since
            .filter(|_| gate.state == crate::deliver::GateState::Paused),
        oldest_accepted_at,
        queued: report.queued + report.sending,
        died: report.since_start.dead,
        not_accepting: report.not_accepting.first().cloned(),
        lost: (!report.losses.is_empty()).then(|| {
            let lost = crate::admin::lost(&report.losses);
            let lost = lost.map(|(number, what)| format!("{number} {what}"));
            lost.collect::<Vec<_>>().join(", ")
        }),
        ledger_imbalance: report.ledger.ledger_imbalance,
        clock_doubted: clock_doubted(report),
        delivered_lately: (
            report.notes.delivered_lately,
            report.notes.delivered_lately_noted,
        ),
        notes: report.notes_lately(),
        unclean_start,
    }
}

/// Why the wall clock is not believed, once that has lasted: after a long stop the first answer
/// of Pinterest's mostly ends it, and is nobody's news.
fn clock_doubted(report: &Report) -> Option<String> {
    let lasts = report.clock.for_seconds.is_some_and(|s| s >= CLOCK_DOUBT);
    let doubt = (report.clock.doubt).filter(|_| report.clock_is_suspect() && lasts)?;
    Some(doubt.message().to_owned())
}
