//! What is known of one scalar key: a row of the table in `keys`, and what `raw` reads by.

use super::values::Kind;

/// One row of the table.
#[derive(Debug)]
pub struct Key {
    /// `[section]`.
    pub section: &'static str,
    /// `name = …` in it.
    pub name: &'static str,
    /// How the file writes it.
    pub kind: Kind,
    /// As text; empty where nothing is set.
    pub default: &'static str,
    /// Whether SIGHUP changes it in a running daemon; otherwise it takes a restart.
    pub reloadable: bool,
    /// What it does.
    pub doc: &'static str,
}

impl Key {
    /// `PINRELAY_<SECTION>__<NAME>`.
    pub fn variable(&self) -> String {
        let (section, name) = (self.section, self.name);
        format!(
            "PINRELAY_{}__{}",
            section.to_ascii_uppercase(),
            name.to_ascii_uppercase()
        )
    }
}
