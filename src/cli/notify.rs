//! `pinrelay notify --test`: whether the webhook of the config is reached.

use std::io::Write;

use anyhow::anyhow;

use super::config_arg::ConfigArg;
use super::exit::{Exit, Failure, OrExit, Outcome};
use super::text::out;
use crate::config::process_env;
use crate::notify::{Webhook, WebhookError};

/// Flags of `pinrelay notify`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Exit codes: 0 the webhook took it · 64 without --test · 69 it was not reached, or refused · \
78 there is no webhook, or its file is wrong

Example:
  sudo -u pinrelay pinrelay notify --test")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Send one message that says that it is a test.
    #[arg(long, required = true)]
    test: bool,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// Sends it, from here: no daemon is needed.
pub fn run(args: Args) -> Outcome {
    debug_assert!(args.test, "clap requires it");
    let config = args.config.load(process_env()).or_exit(Exit::Config)?;
    let Some(file) = &config.notify.webhook_url_file else {
        return Err(Failure {
            exit: Exit::Config,
            error: anyhow!("[notify] webhook_url_file is not set: nobody is told of anything"),
        });
    };
    let name = config.notify_options().name;
    let message = serde_json::json!({
        "text": format!("pinrelay {name}: a test. Whoever reads this will be told of trouble."),
        "kind": "test",
        "name": name,
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_exit(Exit::Io)?;
    let webhook = Webhook::new(file).map_err(failure)?;
    runtime.block_on(webhook.tell(&message)).map_err(failure)?;
    let mut out = out(args.json);
    match args.json {
        true => writeln!(out, "{{\"sent\":true}}"),
        false => writeln!(out, "the webhook took the test message"),
    }
    .or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}

fn failure(error: WebhookError) -> Failure {
    let exit = match error {
        WebhookError::Unreadable { .. } | WebhookError::NoUrl(_) | WebhookError::Gone => {
            Exit::Config
        }
        WebhookError::Client(_) | WebhookError::Silent => Exit::Io,
        WebhookError::Refused(_) | WebhookError::NotReached(_) => Exit::Unavailable,
    };
    Failure {
        exit,
        error: anyhow!(error),
    }
}
