//! What became of the lines, for people and for programs.

use std::io::Write;
use std::sync::Arc;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::super::exit::{Exit, Failure, OrExit, Outcome};
use super::super::text::{out, say};
use super::follow::Account;
use super::input::{LineAt, ReadError};
use super::rejects::Rejects;
use super::tally::{Tally, Unanswered};

/// Gives the account.
#[derive(Clone)]
pub struct Teller {
    /// Of the sources, as people know them.
    pub names: Arc<[String]>,
    /// Where rejected lines went.
    pub rejects: Option<Arc<Rejects>>,
    /// As one JSON object on stdout.
    pub is_json: bool,
    /// Lines without a messageId were given one.
    pub assigns_ids: bool,
}

impl Teller {
    /// Of a text that has no name.
    pub fn of_text() -> Self {
        Self {
            names: Arc::new(["the text".to_owned()]),
            rejects: None,
            is_json: false,
            assigns_ids: false,
        }
    }

    /// Gives the account at the end, which was this; whether every line was taken.
    pub fn tell(
        &self,
        tally: &Tally,
        left: &Unanswered,
        followed: Option<&Account>,
        end: Result<(), Failure>,
    ) -> Outcome {
        if self.is_json {
            print(&self.json(tally, left, followed))?;
        }
        let kept = self.tell_lines(tally);
        end?;
        kept?;
        Ok(verdict(tally))
    }

    /// The first part of the account where the second is waited for; for programs both come as one.
    pub fn tell_lines(&self, tally: &Tally) -> Result<(), Failure> {
        if !self.is_json {
            say(&self.summary(tally));
        }
        self.kept()
    }

    /// The second part; whether every line was taken.
    pub fn tell_followed(&self, tally: &Tally, left: &Unanswered, followed: &Account) -> Outcome {
        match self.is_json {
            true => print(&self.json(tally, left, Some(followed)))?,
            false => say(&followed.summary()),
        }
        Ok(verdict(tally))
    }

    /// Says what was rejected and where it is now.
    fn kept(&self) -> Result<(), Failure> {
        if let Some(rejects) = &self.rejects {
            say(&rejects.finish()?);
        }
        Ok(())
    }

    /// Gives the account of what a signal interrupted.
    pub fn interrupted(&self, signal: &str, tally: &Tally, left: &Unanswered) {
        let told = self.tell(tally, left, None, Ok(()));
        let rest = match self.left(left) {
            Some(rest) => rest,
            None => "every line that was sent has its answer".to_owned(),
        };
        let unread = match left.is_all_read {
            true => "",
            false => "; the input was not read to its end",
        };
        say(&format!("pinrelay: {signal}: {rest}{unread}\n"));
        if let Err(failure) = told {
            say(&format!("pinrelay: {failure}\n"));
        }
    }

    /// The failure of a session, with what is left to do.
    pub fn unanswered(
        &self,
        left: &Unanswered,
        error: impl std::error::Error + Send + Sync + 'static,
    ) -> Failure {
        let error = anyhow::Error::new(error);
        Failure {
            exit: Exit::Unavailable,
            error: match self.left(left) {
                Some(rest) => error.context(rest),
                None => error,
            },
        }
    }

    /// What is left without an answer, if anything is, and what to do about it.
    fn left(&self, left: &Unanswered) -> Option<String> {
        let (count, first) = (left.lines, self.place(left.first?));
        let sent = match left.sent {
            0 => "none of them was sent".to_owned(),
            sent if sent == count => "all were sent, and may have been taken".to_owned(),
            sent => format!("{sent} were sent, and may have been taken"),
        };
        let next = match self.assigns_ids {
            _ if left.sent == 0 => "send again from there",
            false => "send again from there, what was taken is known by its messageId",
            true => {
                "send again from there; what was taken and had no messageId of its own would be \
                 taken twice, for --assign-message-ids gives another one each time"
            }
        };
        Some(format!(
            "{count} of the lines read have no answer, {first} first; {sent}: {next}"
        ))
    }

    /// The failure of an input that could be read so far only.
    pub fn unread(&self, error: ReadError) -> Failure {
        let name = &self.names[error.source];
        let behind = &self.names[error.source + 1..];
        let not_read = match behind {
            [] => String::new(),
            _ => format!("; nothing was read of {}", behind.join(", ")),
        };
        let lines = error.lines;
        Failure {
            exit: Exit::Io,
            error: anyhow!(
                "reading {name} failed after {lines} whole lines, which are accounted for: \
                 {}{not_read}",
                error.error
            ),
        }
    }

    /// `events.ndjson:7`.
    fn place(&self, at: LineAt) -> String {
        format!("{}:{}", self.names[at.source], at.number)
    }

    /// For programs; `rejects` holds the first ten.
    fn json(&self, tally: &Tally, left: &Unanswered, followed: Option<&Account>) -> Value {
        let rejects = tally.rejects.iter().map(
            |(at, error)| json!({"file": self.names[at.source], "line": at.number, "error": error}),
        );
        let mut account = json!({
            "queued": tally.queued,
            "duplicate": tally.duplicate,
            "ignored": tally.ignored,
            "rejected": tally.rejected,
            "unanswered": left.lines,
            "rejects": rejects.collect::<Vec<_>>(),
        });
        if let Some(rejects) = &self.rejects {
            let (path, lines) = rejects.held();
            account["rejects_file"] = json!({"path": path.display().to_string(), "lines": lines});
        }
        if let Some(of) = followed {
            account["followed"] = json!({
                "delivered": of.delivered,
                "dead": of.dead,
                "queued": of.queued,
            });
        }
        account
    }

    /// In words.
    pub(super) fn summary(&self, tally: &Tally) -> String {
        let Tally {
            queued,
            duplicate,
            ignored,
            rejected,
            rejects,
        } = tally;
        let mut text = format!(
            "{} answered: {queued} queued, {duplicate} duplicate, {ignored} ignored, \
             {rejected} rejected\n",
            tally.total()
        );
        for (at, why) in rejects {
            text.push_str(&format!("  {}: {why}\n", self.place(*at)));
        }
        let more = rejected - rejects.len() as u64;
        if more > 0 {
            text.push_str(&format!("  and {more} more\n"));
        }
        text
    }
}

fn print(answer: &Value) -> Result<(), Failure> {
    writeln!(out(true), "{answer}").or_exit(Exit::Io)
}

fn verdict(tally: &Tally) -> Exit {
    match tally.rejected {
        0 => Exit::Ok,
        _ => Exit::Data,
    }
}
