//! What goes back for one request.

use serde_json::json;

use super::sockets::Fate;

/// What goes back.
#[derive(Default)]
pub(super) struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub fate: Fate,
    /// Never answered; the connection stays open.
    pub silent: bool,
    /// For the request log.
    pub events: usize,
    pub processed: usize,
    pub failed: usize,
}

impl Answer {
    pub fn error(status: u16, code: i64, message: &str) -> Self {
        Self {
            status,
            body: json!({"code": code, "message": message})
                .to_string()
                .into_bytes(),
            ..Self::default()
        }
    }

    /// As the account calls it.
    pub fn label(&self) -> String {
        match self.fate {
            Fate::Reset => "reset".into(),
            Fate::Closed => "close".into(),
            _ if self.silent => "silent".into(),
            _ => self.status.to_string(),
        }
    }
}
