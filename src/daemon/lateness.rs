//! A warning before waiting events become late, and a note when they no longer are about to.

use std::time::Duration;

use crate::deliver::GateState;

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    /// The oldest waiting event is close to being late.
    Close,
    /// It is well within time again.
    Well,
}

/// Told at the edges only: at three quarters of the time that makes an event late, and again
/// below half of it, so that a backlog that hovers does not fill the log.
#[derive(Debug, Default)]
pub(super) struct Watch {
    close: bool,
}

impl Watch {
    /// Takes how long the oldest event has been waiting (`None`: none is) and how long makes
    /// one late.
    pub fn observe(&mut self, oldest: Option<Duration>, late_after: Duration) -> Option<Edge> {
        let oldest = oldest.unwrap_or_default();
        if !self.close && oldest >= late_after * 3 / 4 {
            self.close = true;
            Some(Edge::Close)
        } else if self.close && oldest < late_after / 2 {
            self.close = false;
            Some(Edge::Well)
        } else {
            None
        }
    }
}

/// Says it in the log.
pub(super) fn tell(edge: Edge, oldest: Option<Duration>, gate: GateState) {
    let minutes = oldest.unwrap_or_default().as_secs() / 60;
    match edge {
        Edge::Close => {
            let next = match gate {
                GateState::Paused => "end the pause: `pinrelay resume`",
                GateState::Shut | GateState::Parked => {
                    "`pinrelay status` says why Pinterest cannot be delivered to"
                }
                GateState::Open => {
                    "delivery does not keep up: see delivery.max_calls_per_minute and \
                     delivery.max_in_flight"
                }
            };
            tracing::warn!(
                waiting_minutes = minutes,
                "the oldest waiting event is soon late (delivery.late_after): Pinterest takes \
                 late events as offline ones and does not deduplicate them against the Tag; \
                 {next}"
            );
        }
        Edge::Well => tracing::info!("waiting events are in time again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_edge_is_told_once() {
        let mut watch = Watch::default();
        let hour = Duration::from_secs(3600);
        let minutes = [0, 44, 45, 50, 90, 40, 46, 30, 29, 44, 45];
        let told: Vec<_> = (minutes.iter())
            .map(|m| watch.observe(Some(Duration::from_secs(m * 60)), hour))
            .collect();
        let mut due = [None; 11];
        due[2] = Some(Edge::Close);
        due[8] = Some(Edge::Well);
        due[10] = Some(Edge::Close);
        assert_eq!(told, due);
        assert_eq!(watch.observe(None, hour), Some(Edge::Well));
    }
}
