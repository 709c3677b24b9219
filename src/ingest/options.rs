//! What the config says of ingest.

/// Settings of the ingest side.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Longer lines (their line end not counted) are rejected.
    pub max_event_bytes: usize,
    /// Connections served at once, at least one. Beyond them new ones wait in the socket's
    /// backlog until one leaves.
    pub max_connections: usize,
}
