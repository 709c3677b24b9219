//! How far claims may run ahead.

/// Claiming stops so many events beyond the oldest unsettled one, so that the set of settled
/// numbers above it stays small. Numbers may have gaps: it is events that count.
pub const CLAIM_WINDOW_EVENTS: u64 = 65_536;
/// Claiming stops while claims hold this many bytes of bodies.
pub const CLAIM_WINDOW_BYTES: usize = 64 << 20;

/// Of a claim of `max_events`, how many may come from the dead letters that are queued again:
/// neither the line nor they starve.
pub const fn deferred_share(max_events: usize) -> usize {
    max_events.div_ceil(4)
}
