//! The command line: one file per command; here they are named and started.
//!
//! What commands share: `config_arg` and `admin_arg` say which daemon is meant, `daemon` speaks
//! with it, `denied` says who may, `offline` stands in for it where a command opens the queue itself;
//! `letter_filter` says which dead letters are meant; `source` reads a named file or stdin, and
//! `new_file` makes one; `confirm` asks before something is given up; `screen` is what the terminal
//! is like, `since` reads a moment; `exit` ends a command, `text` shows what others wrote,
//! `help` says how all of it is described.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

mod admin_arg;
mod adopt;
pub mod args;
mod check;
mod clock;
pub mod config_arg;
mod config_show;
mod confirm;
mod daemon;
mod dead;
mod demo;
mod denied;
pub mod exit;
mod forget;
pub mod help;
mod init;
mod letter_filter;
mod losses;
mod manual;
mod mock_pinterest;
mod new_file;
mod notify;
mod offline;
mod pause;
mod quality;
mod queue;
mod reload;
mod resume;
mod run;
mod screen;
mod send;
mod since;
mod source;
mod status;
mod stdout;
mod tail;
mod text;
mod top;
mod trace;
mod transform;
mod verify;

pub use exit::{Exit, Failure, OrExit, Outcome};

use crate::lifecycle;

/// How long the last lines of the log may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Durable delivery of Chord CDP events to Pinterest's Conversions API.
#[derive(Parser)]
#[command(name = "pinrelay", version, propagate_version = true)]
struct Cli {
    /// Before the command it counts as behind it.
    #[command(flatten)]
    _config: config_arg::ConfigArg,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write config and token, and try them on Pinterest.
    Init(init::Args),
    /// Run the daemon.
    Run(args::RunArgs),
    /// Send events, one JSON object a line, and await every answer.
    Send(send::Args),
    /// Show what would be sent for each event, and send nothing.
    Transform(transform::Args),
    /// Show what the running daemon holds and does.
    Status(status::Args),
    /// Show events as they pass through the running daemon.
    Tail(tail::Args),
    /// The same as status, live, with curves.
    Top(top::Args),
    /// Show what happened to one event.
    Trace(trace::Args),
    /// Show what Pinterest can match, and what would mend the rest.
    Quality(quality::Args),
    /// Have the running daemon read its config and token again.
    Reload(reload::Args),
    /// Let nothing leave for Pinterest; events are still accepted.
    Pause(pause::Args),
    /// Deliver again: end a pause, open a gate that is not open.
    Resume(resume::Args),
    /// Show whether the machine's clock is believed, or vouch for it.
    Clock(clock::Args),
    /// What waits: see for what, try it at once, give it up.
    Queue(queue::Args),
    /// What could not be delivered: see why, send again, give up.
    Dead(dead::Args),
    /// Give up all that is queued or dead of one person.
    Forget(forget::Args),
    /// Check all that is stored against the ledger.
    Verify(verify::Args),
    /// What was lost to damage, until you acknowledge it.
    Losses(losses::Args),
    /// Take over a queue from another machine or from a copy.
    Adopt(adopt::Args),
    /// Say what is wrong with a configuration, and what to do.
    Check(check::Args),
    /// Show what the configuration comes to, and from where.
    Config(config_show::Args),
    /// Try the webhook that is told of trouble.
    Notify(notify::Args),
    /// Print completions for a shell.
    Completions(manual::CompletionsArgs),
    /// Print the manual.
    Man(manual::ManArgs),
    /// Show the whole path on this machine, a crash in its middle.
    Demo(args::DemoArgs),
    /// Serve a stand-in for Pinterest's API, with every fault.
    MockPinterest(Box<mock_pinterest::Args>),
}

/// All commands and their flags, for whoever describes them.
pub fn command_line() -> clap::Command {
    help::laid_out(Cli::command())
}

/// Runs the command line of this process and prints what went wrong, if anything did.
pub fn main() -> ExitCode {
    let exit = run(std::env::args_os());
    lifecycle::flush_log(LAST_WORDS);
    ExitCode::from(exit as u8)
}

fn run(args: impl Iterator<Item = OsString>) -> Exit {
    let cli = match parsed(args) {
        Ok(cli) => cli,
        Err(said) if said.use_stderr() => {
            // A stderr that cannot be written is no reason to end otherwise.
            let _ = said.print();
            return Exit::Usage;
        }
        Err(help) => {
            return ended(
                stdout::printed(help.print())
                    .map(|()| Exit::Ok)
                    .or_exit(Exit::Io),
            );
        }
    };
    // A daemon outlives the window that it was started in.
    if !matches!(cli.command, Command::Run(_)) {
        lifecycle::end_with_the_terminal();
    }
    let outcome = match cli.command {
        Command::Init(args) => init::run(args),
        Command::Run(args) => run::run(&args),
        Command::Send(args) => send::run(args),
        Command::Transform(args) => transform::run(args),
        Command::Status(args) => status::run(args),
        Command::Tail(args) => tail::run(args),
        Command::Top(args) => top::run(args),
        Command::Trace(args) => trace::run(args),
        Command::Quality(args) => quality::run(&args),
        Command::Reload(args) => reload::run(args),
        Command::Pause(args) => pause::run(args),
        Command::Resume(args) => resume::run(args),
        Command::Clock(args) => clock::run(args),
        Command::Queue(args) => queue::run(args),
        Command::Dead(args) => dead::run(args),
        Command::Forget(args) => forget::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Losses(args) => losses::run(args),
        Command::Adopt(args) => adopt::run(args),
        Command::Check(args) => check::run(args),
        Command::Config(args) => config_show::run(args),
        Command::Notify(args) => notify::run(args),
        Command::Completions(args) => manual::completions(command_line(), &args),
        Command::Man(args) => manual::man(command_line(), &args),
        Command::Demo(args) => demo::run(args),
        Command::MockPinterest(args) => mock_pinterest::run(*args),
    };
    ended(outcome)
}

fn parsed(args: impl Iterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut command = command_line();
    let matches = command.try_get_matches_from_mut(args)?;
    help::check_config(&mut command, &matches)?;
    Cli::from_arg_matches(&matches).map_err(|wrong| wrong.format(&mut command))
}

/// The exit code of a command. What it wrote has to have got out, as far as somebody reads it.
fn ended(outcome: Outcome) -> Exit {
    let outcome = outcome.and_then(|exit| stdout::finish().or_exit(Exit::Io).map(|()| exit));
    outcome.unwrap_or_else(|failure| {
        if stdout::ends_quietly(&failure.error) {
            return Exit::Ok;
        }
        text::say(&format!("pinrelay: {failure}\n"));
        failure.exit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit_of(args: &[&str]) -> Exit {
        run(std::iter::once("pinrelay")
            .chain(args.iter().copied())
            .map(OsString::from))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Everything that is documented is documented for people who have not read the code.
    #[test]
    fn every_command_and_flag_says_what_it_does() {
        fn check_all(command: &clap::Command) {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name} says nothing");
            for flag in command.get_arguments() {
                assert!(
                    flag.get_help().is_some(),
                    "{name} {} says nothing",
                    flag.get_id()
                );
            }
            command.get_subcommands().for_each(check_all);
        }
        let mut command = Cli::command();
        command.build();
        check_all(&command);
    }

    /// The groups of commands point to their verbs.
    #[test]
    fn every_command_shows_an_example() {
        fn check_all(command: &clap::Command) {
            let name = command.get_name();
            if name == "help" {
                return;
            }
            if !command.has_subcommands() {
                let after = command.get_after_help().map(|help| help.to_string());
                let after = after.unwrap_or_default();
                assert!(after.contains("Example"), "{name} shows no example");
            }
            command.get_subcommands().for_each(check_all);
        }
        check_all(&Cli::command());
    }

    #[test]
    fn exit_codes() {
        assert_eq!(exit_of(&[]), Exit::Usage);
        assert_eq!(exit_of(&["sned"]), Exit::Usage);
        assert_eq!(exit_of(&["send", "--timeout", "soon"]), Exit::Usage);
        assert_eq!(exit_of(&["--version"]), Exit::Ok);
        assert_eq!(exit_of(&["send", "--help"]), Exit::Ok);
        assert_eq!(exit_of(&["send", "/nowhere/events"]), Exit::Io);
        assert_eq!(
            exit_of(&["check", "--config", "/nowhere/pinrelay.toml"]),
            Exit::Config
        );
        let instance = |name| exit_of(&["status", "--instance", name]);
        assert_eq!(instance("surely-no-instance"), Exit::Config);
        assert_eq!(instance("../pinrelay"), Exit::Usage);
        let missing = ["transform", "--config", "/nowhere/pinrelay.toml"];
        assert_eq!(exit_of(&missing), Exit::Config);
        assert_eq!(exit_of(&["transform", "/nowhere/events"]), Exit::Io);
        // It would limit nothing.
        let limited = ["transform", "--limit", "3", "/nowhere/events"];
        assert_eq!(exit_of(&limited), Exit::Usage);
        let taken = ["mock-pinterest", "--listen", "192.0.2.1:1"];
        assert_eq!(exit_of(&taken), Exit::Io);
    }
}
