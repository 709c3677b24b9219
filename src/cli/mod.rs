//! The command line: one file per command, and here what they share.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{self, Config, ConfigError, Instance};

mod adopt;
pub mod args;
mod check;
mod clock;
mod daemon;
mod dead;
mod demo;
pub mod exit;
mod init;
mod losses;
mod manual;
mod mock_pinterest;
mod notify;
mod owner;
mod pause;
mod reload;
mod resume;
mod run;
mod send;
mod status;
mod tail;
mod text;
mod top;
mod trace;
mod transform;
mod verify;

pub use exit::{Exit, Failure, OrExit, Outcome};

/// Durable delivery of Chord CDP events to Pinterest's Conversions API.
#[derive(Parser)]
#[command(name = "pinrelay", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write config and token, and try them on Pinterest.
    Init(init::Args),
    /// Run the daemon.
    Run(args::RunArgs),
    /// Send events to the daemon, one JSON object per line, and wait for every answer.
    Send(send::Args),
    /// Show what would be sent for each event, without sending or storing any.
    Transform(transform::Args),
    /// Show what the running daemon holds and does.
    Status(status::Args),
    /// Show events as they pass through the running daemon.
    Tail(tail::Args),
    /// The same as status, live, with curves.
    Top(top::Args),
    /// Show what happened to one event.
    Trace(trace::Args),
    /// Have the running daemon read its config and token again.
    Reload(reload::Args),
    /// Let nothing leave for Pinterest; events are still accepted.
    Pause(pause::Args),
    /// Go on delivering: end a pause, open a gate that is shut or parked.
    Resume(resume::Args),
    /// Show whether the machine's clock is believed, or vouch for it.
    Clock(clock::Args),
    /// The events that could not be delivered: see why, and send them again or give them up.
    Dead(dead::Args),
    /// Check everything stored against the ledger: stopped or running.
    Verify(verify::Args),
    /// What was lost to damage, until you acknowledge it.
    Losses(losses::Args),
    /// Take over a queue from another machine, or one restored from a copy.
    Adopt(adopt::Args),
    /// Say what is wrong with a configuration, and what to do about it.
    Check(check::Args),
    /// Try the webhook that is told when something changes for the worse.
    Notify(notify::Args),
    /// Print completions for a shell.
    Completions(manual::CompletionsArgs),
    /// Print the manual.
    Man(manual::ManArgs),
    /// Show the whole path on this machine, with a crash in the middle and an account at the end.
    Demo(args::DemoArgs),
    /// Serve a stand-in for Pinterest's API, with a switch for every fault.
    MockPinterest(Box<mock_pinterest::Args>),
}

/// Read where neither `--config` nor `$PINRELAY_CONFIG` names a file, if it is there.
const DEFAULT_CONFIG: &str = "/etc/pinrelay/pinrelay.toml";

/// Names the file where no flag does.
const CONFIG_VARIABLE: &str = "PINRELAY_CONFIG";

/// Which config file.
#[derive(clap::Args, Debug, Clone)]
pub struct ConfigArg {
    /// The configuration file [default: $PINRELAY_CONFIG, then /etc/pinrelay/pinrelay.toml if it
    /// is there].
    #[arg(long = "config", value_name = "FILE")]
    path: Option<PathBuf>,
    /// One daemon of several: reads /etc/pinrelay/NAME.toml, and the defaults of sockets, queue
    /// and token are the instance's own.
    #[arg(long, value_name = "NAME", value_parser = Instance::parse, conflicts_with = "path")]
    instance: Option<Instance>,
}

impl ConfigArg {
    /// This file.
    fn of(file: &Path) -> Self {
        Self {
            path: Some(file.to_owned()),
            instance: None,
        }
    }

    /// The file that is named, if one is.
    fn path(&self) -> Option<PathBuf> {
        let instance = self.instance.as_ref().map(Instance::file);
        instance.or_else(|| self.path.clone()).or_else(|| {
            // Not clap's `env`: that stands beside --instance as a flag would, and is refused.
            let variable = std::env::var_os(CONFIG_VARIABLE)?;
            (!variable.is_empty()).then(|| variable.into())
        })
    }

    /// Reads the file that is named, or the default one if there is one, under `env`.
    ///
    /// # Errors
    /// Those of [`config::load`]; a file that is named has to be there.
    pub fn load(&self, env: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
        if let Some(instance) = &self.instance {
            return config::load_instance(instance, env);
        }
        let default = Path::new(DEFAULT_CONFIG);
        let named = self.path();
        let path = match &named {
            Some(path) => Some(path.as_path()),
            // One that is there and hidden from us is an error later, not none.
            None => match default.try_exists() {
                Ok(false) => None,
                _ => Some(default),
            },
        };
        config::load(path, env)
    }
}

/// The two sockets of a daemon.
struct Sockets {
    /// Where it takes events.
    ingest: PathBuf,
    /// Where it is asked.
    admin: PathBuf,
}

impl ConfigArg {
    /// Where the sockets of this config's daemon are. A producer may not read the config that
    /// nobody named to it, and one that is being mended keeps nobody from sending: the sockets
    /// are then where they are by default.
    ///
    /// # Errors
    /// With exit 78 when a file that was named cannot be used.
    fn sockets(&self) -> Result<Sockets, Failure> {
        let of = |config: Config| Sockets {
            ingest: config.ingest.socket,
            admin: config.admin.socket,
        };
        match (self.load(config::process_env()), &self.instance) {
            (Ok(config), _) => Ok(of(config)),
            (Err(_), Some(instance)) => Ok(Sockets {
                ingest: instance.ingest_socket(),
                admin: instance.admin_socket(),
            }),
            (Err(_), None) if self.path().is_none() => {
                let defaults = config::load(None, config::process_env());
                defaults.or_exit(Exit::Config).map(of)
            }
            (Err(error), None) => Err(error).or_exit(Exit::Config),
        }
    }
}

/// Which daemon: where its admin socket is.
#[derive(clap::Args, Debug, Clone)]
pub struct AdminArg {
    /// Which config file; it says where the admin socket is.
    #[command(flatten)]
    pub config: ConfigArg,
    /// The daemon's admin socket, instead of the config's.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

impl AdminArg {
    /// The daemon.
    ///
    /// # Errors
    /// With exit 69 when it is not there.
    fn client(&self) -> Result<daemon::Client, Failure> {
        let socket = match &self.socket {
            Some(socket) => socket.clone(),
            None => {
                let config = self.config.load(config::process_env());
                config.or_exit(Exit::Config)?.admin.socket
            }
        };
        daemon::Client::connect(&socket)
    }
}

/// What opening a queue has to say goes to stderr: stdout is the command's own.
fn log_to_stderr() {
    // Fails only where a logger stands already.
    let _ = crate::lifecycle::init_log("warn", crate::lifecycle::Format::Human);
}

/// Runs the command line of this process and prints what went wrong, if anything did.
pub fn main() -> ExitCode {
    ExitCode::from(run(std::env::args_os()) as u8)
}

fn run(args: impl Iterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(said) => {
            // A closed stdout is no reason to end otherwise.
            let _ = said.print();
            return match said.use_stderr() {
                true => Exit::Usage,
                false => Exit::Ok,
            };
        }
    };
    let outcome = match cli.command {
        Command::Init(args) => init::run(args),
        Command::Run(args) => run::run(&args),
        Command::Send(args) => send::run(args),
        Command::Transform(args) => transform::run(args),
        Command::Status(args) => status::run(args),
        Command::Tail(args) => tail::run(args),
        Command::Top(args) => top::run(args),
        Command::Trace(args) => trace::run(args),
        Command::Reload(args) => reload::run(args),
        Command::Pause(args) => pause::run(args),
        Command::Resume(args) => resume::run(args),
        Command::Clock(args) => clock::run(args),
        Command::Dead(args) => dead::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Losses(args) => losses::run(args),
        Command::Adopt(args) => adopt::run(args),
        Command::Check(args) => check::run(args),
        Command::Notify(args) => notify::run(args),
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::man(&args),
        Command::Demo(args) => demo::run(args),
        Command::MockPinterest(args) => mock_pinterest::run(*args),
    };
    outcome.unwrap_or_else(|failure| {
        eprintln!("pinrelay: {failure}");
        failure.exit
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

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
        fn look(command: &clap::Command) {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name} says nothing");
            for flag in command.get_arguments() {
                assert!(
                    flag.get_help().is_some(),
                    "{name} {} says nothing",
                    flag.get_id()
                );
            }
            command.get_subcommands().for_each(look);
        }
        let mut command = Cli::command();
        command.build();
        look(&command);
    }

    /// The groups of commands point to their verbs.
    #[test]
    fn every_command_shows_an_example() {
        fn look(command: &clap::Command) {
            let name = command.get_name();
            if name == "help" {
                return;
            }
            if !command.has_subcommands() {
                let after = command.get_after_help().map(|help| help.to_string());
                let after = after.unwrap_or_default();
                assert!(after.contains("Example"), "{name} shows no example");
            }
            command.get_subcommands().for_each(look);
        }
        look(&Cli::command());
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
