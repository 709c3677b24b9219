//! What a queue answers when it cannot.

/// Why the queue refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    /// Not acknowledged now: the disk reserve is reached, or storage does not answer. It may have
    /// been stored all the same, so the next try may find a duplicate; the client sends it again
    /// later.
    #[error("{0}")]
    Unavailable(String),
    /// The right to deliver has ended or was lost: under it nothing is claimed, marked or settled
    /// any more. Whoever asks for it again may go on with what is queued then.
    #[error("the turn is over: the right to deliver from this queue was given back or lost")]
    TurnOver,
    /// Storage failed, or the queue is closing: no further acknowledgement will be given.
    #[error("the queue has stopped: {0}")]
    Stopped(String),
}

/// Why a queue could not be opened; each names its object and the next step.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// Whoever asked for it has given it up meanwhile. Nothing was changed.
    #[error("{0}")]
    GivenUp(String),
    /// Another process has it (exit code 69).
    #[error("{0}")]
    InUse(String),
    /// It was written by a newer release, and is untouched (exit code 78).
    #[error("{0}")]
    Newer(String),
    /// It was made on another machine, or is older than what was here last, and is untouched
    /// (exit code 78).
    #[error("{0}")]
    Foreign(String),
    /// What is there cannot be used without a repair, and is untouched (exit code 74).
    #[error("{0}")]
    Damaged(String),
    /// Storage refused or failed (exit code 74).
    #[error("{0}")]
    Io(String),
}
