//! What can go wrong between us and the database, by what is to be done about it.

use tokio_postgres::error::SqlState;

/// See the file's page. The texts show no URL and no value: what an error of the server's says in
/// its detail stays out.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Trouble {
    /// The connection broke, or may be used no more. Behind a COMMIT: whether it was committed is
    /// not known.
    #[error("{0}")]
    Broken(String),
    /// A deadlock, or the like: try once more.
    #[error("the database asks for another try")]
    Again,
    /// The list of tables is another than the one that we know.
    #[error("the list of tables has changed")]
    Stale,
    /// What was to be inserted under a number of its own is there already.
    #[error("{0}")]
    Clash(String),
    /// The database says no, and nothing was committed.
    #[error("{0}")]
    Refused(String),
    /// The right to deliver is another's.
    #[error("the turn is over")]
    TurnOver,
    /// The database does not know what it acknowledged.
    #[error("{0}")]
    WentBack(String),
}

impl Trouble {
    /// Whether the server says no for what is written in the config or granted there, which waiting
    /// does not change: SQLSTATE class 42, and a schema that is none.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Refused(text) => text.contains(" (42") || text.contains(" (3F"),
            _ => false,
        }
    }
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(told) = error.as_db_error() else {
            return Self::Broken(error.to_string());
        };
        let code = told.code();
        if *code == SqlState::T_R_DEADLOCK_DETECTED || *code == SqlState::T_R_SERIALIZATION_FAILURE
        {
            return Self::Again;
        }
        let text = format!("{} ({})", told.message(), code.code());
        if *code == SqlState::UNIQUE_VIOLATION {
            return Self::Clash(text);
        }
        // Class 57 ends connections, 08 is of connections; FATAL ends one in any class.
        match code.code().starts_with("57") || code.code().starts_with("08") || error.is_closed() {
            true => Self::Broken(text),
            false => Self::Refused(text),
        }
    }
}
