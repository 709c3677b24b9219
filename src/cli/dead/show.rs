//! `pinrelay dead show`: one letter, and what would be sent for it now.

use std::io::Write;

use anyhow::{Context, anyhow};
use jiff::tz::TimeZone;
use serde_json::value::RawValue;

use super::super::admin_arg::AdminArg;
use super::super::exit::{Exit, Failure, OrExit, Outcome};
use super::super::letter_filter::FilterArgs;
use super::super::text::{json as json_text, out, printable};
use super::pages::get;
use crate::admin::{Letters, Shown};
use crate::config::process_env;
use crate::moment::dated;
use crate::transform::{Fixed, Transform};

/// Flags of `pinrelay dead show`.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 shown · 65 no such dead letter · 69 no daemon is there · 78 the config is wrong

Shows personal data: the event as it is stored, and what Pinterest would be sent for it now. That is
by the config on disk; the daemon goes by it after `pinrelay reload`.

Examples:
  pinrelay dead show order-1234
  pinrelay dead show 17 --json | jq .event")]
pub(super) struct Args {
    /// Its messageId or, if no dead letter has that, its number; `dead list` names one of each
    /// group.
    #[arg(value_name = "MESSAGE_ID or NUMBER")]
    id: String,
    #[command(flatten)]
    admin: AdminArg,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// What would become of it.
enum Now {
    Sent(Box<RawValue>),
    Dead(String),
}

pub(super) fn run(args: &Args) -> Outcome {
    let config = args
        .admin
        .config
        .load(process_env())
        .or_exit(Exit::Config)?;
    let transform = config.transform().or_exit(Exit::Config)?;
    let client = args.admin.client()?;
    let query = FilterArgs::of(&args.id).query(None, None);
    let found: Letters = get(&client, &format!("/dead?{query}"))?;
    let Some(letter) = found.letters.first() else {
        return Err(Failure {
            exit: Exit::Data,
            error: anyhow!(
                "{}: no dead letter now; it may be queued again, delivered, purged, or never have \
                 been one",
                args.id
            ),
        });
    };
    let now = now(&transform, letter)?;
    let text = match args.json {
        true => json(letter, &now).or_exit(Exit::Io)?,
        false => text(letter, &now, &TimeZone::system()),
    };
    out(args.json)
        .write_all(text.as_bytes())
        .or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}

fn now(transform: &Transform, letter: &Shown) -> Result<Now, Failure> {
    let line = letter.event.get().as_bytes();
    let fixed = Fixed {
        accepted_at: letter.accepted_at.div_euclid(1000),
        event_time: letter.event_time,
    };
    Ok(match transform.payload(line, fixed, None, &|_| false) {
        Ok(payload) => {
            let json = serde_json::from_slice(&payload.json);
            Now::Sent(json.context("the payload").or_exit(Exit::Io)?)
        }
        Err(dead) => Now::Dead(dead.why.to_string()),
    })
}

fn text(letter: &Shown, now: &Now, zone: &TimeZone) -> String {
    let (title, now) = match now {
        Now::Sent(payload) => ("would be sent now", payload.get()),
        Now::Dead(why) => ("would not be sent now", why.as_str()),
    };
    let (message, event, now) = (
        printable(&letter.message),
        json_text(letter.event.get()),
        json_text(now),
    );
    format!(
        "number       {}\nreason       {}\nmessage      {message}\naccepted at  {}\n\
         died at      {}\n\nevent, as it is stored:\n{event}\n\n{title}:\n{now}\n",
        letter.number,
        letter.reason,
        dated(letter.accepted_at, zone),
        dated(letter.died_at, zone),
    )
}

/// The letter as exported, and `payload`, or `would_die` with why there is none.
fn json(letter: &Shown, now: &Now) -> serde_json::Result<String> {
    #[derive(serde::Serialize)]
    struct WithPayload<'a> {
        #[serde(flatten)]
        letter: &'a Shown,
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        would_die: Option<&'a str>,
    }
    let (payload, would_die) = match now {
        Now::Sent(payload) => (Some(&**payload), None),
        Now::Dead(why) => (None, Some(why.as_str())),
    };
    let shown = WithPayload {
        letter,
        payload,
        would_die,
    };
    Ok(serde_json::to_string(&shown)? + "\n")
}
