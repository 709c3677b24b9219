//! The question before something that cannot be undone.

use std::io::{self, IsTerminal};

use anyhow::anyhow;

use super::exit::{Exit, Failure, OrExit};
use super::text::say;

/// Asks on the terminal; anything but a yes is a no. `would_be`: what happens then, such as
/// "3 dead letters would be purged".
///
/// # Errors
/// With exit 64 where there is no terminal.
pub(super) fn is_confirmed(question: &str, would_be: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure {
            exit: Exit::Usage,
            error: anyhow!("{would_be}: say --yes, for there is no terminal to ask"),
        });
    }
    say(&format!("{question} [y/N] "));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).or_exit(Exit::Io)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
