//! `pinrelay forget`: all that is of one person is given up.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::anyhow;

use super::admin_arg::AdminArg;
use super::exit::{Exit, Failure, OrExit, Outcome};
use super::text::out;
use crate::admin::{Forget, Forgot};

/// How long the daemon may take to read a long backlog.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Flags of `pinrelay forget`.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 also when there are none · 64 not one name, or an empty one · \
69 no daemon is there, or it went away: ask again · 74 something cannot be read: ask again · \
78 the config is wrong

What is queued or dead is purged and never sent; no import brings it back while its messageId is \
remembered. What is being sent is purged after its answer, unless that says that it was delivered. \
Their bytes are off the disk within 24 hours, those of dead letters within about a minute. What the \
same person does later is new. It does not ask: --dry-run counts first. Exports and backups are yours to clean: see docs/privacy.md.

An address is looked for wherever the mapping reads one, whatever its case, and as its SHA-256. The \
log has who asked, and how many events it was, and not whom.

Examples:
  pinrelay forget --email - --dry-run < address.txt
  pinrelay forget --user-id 4711
  pinrelay forget --message-id 9f1c --json")]
pub struct Args {
    #[command(flatten)]
    admin: AdminArg,
    #[command(flatten)]
    whom: Whom,
    /// Count them, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// Whom it is about. `-`: the first line of standard input, which no other user sees and no history
/// keeps.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Whom {
    /// The email address, or its SHA-256; `-` reads it from standard input.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// The userId; `-` reads it from standard input.
    #[arg(long, value_name = "ID")]
    user_id: Option<String>,
    /// The messageId of one event; `-` reads it from standard input.
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
}

/// Prints how many they were.
pub fn run(args: Args) -> Outcome {
    let asked = Forget {
        email: given(args.whom.email)?,
        user_id: given(args.whom.user_id)?,
        message_id: given(args.whom.message_id)?,
        dry_run: args.dry_run,
    };
    let body = serde_json::to_string(&asked).or_exit(Exit::Io)?;
    let text = args.admin.client()?.post("/forget", body, PATIENCE)?;
    let mut out = out(args.json);
    if args.json {
        writeln!(out, "{text}").or_exit(Exit::Io)?;
        return Ok(Exit::Ok);
    }
    let forgot: Forgot = serde_json::from_str(&text).or_exit(Exit::Io)?;
    let verb = match forgot.dry_run {
        true => "would be forgotten",
        false => "forgotten",
    };
    writeln!(
        out,
        "{} queued and {} dead {verb}",
        forgot.queued, forgot.dead
    )
    .or_exit(Exit::Io)?;
    if forgot.in_flight > 0 {
        let told = "more are being sent: they go after the answer, unless they were delivered";
        writeln!(out, "{} {told}", forgot.in_flight).or_exit(Exit::Io)?;
    }
    Ok(Exit::Ok)
}

/// The name as it was given. No error repeats it.
fn given(name: Option<String>) -> Result<Option<String>, Failure> {
    let name = match name.as_deref() {
        Some("-") => {
            let mut line = String::new();
            io::stdin().read_line(&mut line).or_exit(Exit::Io)?;
            Some(line.trim_end_matches(['\n', '\r']).to_owned())
        }
        _ => name,
    };
    match name {
        Some(name) if name.trim().is_empty() => Err(Failure {
            exit: Exit::Usage,
            error: anyhow!("the name is empty: say whom to forget"),
        }),
        name => Ok(name),
    }
}
