//! How help looks: commands by task, and each command's page in one order.
//!
//! Invariant: whatever order a command's text was written in, what is good to know stands before
//! its exit codes and its examples come last; and a command that reads no configuration neither
//! shows `--config` nor takes it without a word.

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::builder::Styles;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, Error};

use super::config_arg::{CONFIG_ID, INSTANCE_ID};

/// The commands by what they are for.
pub const GROUPS: &[(&str, &[&str])] = &[
    ("Set up", &["init", "check", "config", "run"]),
    ("Feed", &["send"]),
    (
        "Watch",
        &["status", "top", "tail", "trace", "quality", "notify"],
    ),
    (
        "Mend",
        &[
            "reload", "pause", "resume", "clock", "queue", "dead", "losses", "verify", "adopt",
        ],
    ),
    ("Data and privacy", &["transform", "forget"]),
    ("Try out", &["demo", "mock-pinterest"]),
    ("Shell", &["completions", "man", "help"]),
];

/// What stands behind a command's options, in its parts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// What is good to know, in paragraphs.
    pub prose: Vec<String>,
    /// `Exit codes: …`.
    pub exit_codes: Option<String>,
    /// `Example: …` or `Examples: …`, with its lines.
    pub examples: Option<String>,
}

const EXIT_CODES: &str = "Exit codes: ";

impl Parts {
    /// Of the text of a command.
    pub fn of(command: &Command) -> Self {
        let text = command.get_after_help().map(ToString::to_string);
        let mut parts = Self::default();
        for paragraph in text.unwrap_or_default().split("\n\n") {
            let paragraph = paragraph.trim_end();
            match paragraph {
                "" => {}
                _ if paragraph.starts_with(EXIT_CODES) => {
                    parts.exit_codes = Some(paragraph.to_owned());
                }
                _ if paragraph.starts_with("Example") => {
                    parts.examples = Some(paragraph.to_owned())
                }
                _ => parts.prose.push(paragraph.to_owned()),
            }
        }
        parts
    }

    /// Each exit code with what it means.
    pub fn codes(&self) -> Vec<(String, String)> {
        let text = self.exit_codes.as_deref().unwrap_or_default();
        let text = text.trim_start_matches(EXIT_CODES).replace('\n', " ");
        let codes = text.split(" · ").filter_map(|code| {
            let (number, meaning) = code.trim().split_once(' ')?;
            Some((number.to_owned(), meaning.to_owned()))
        });
        codes.collect()
    }

    fn in_order(self) -> String {
        let behind = self.exit_codes.into_iter().chain(self.examples);
        let all: Vec<String> = self.prose.into_iter().chain(behind).collect();
        all.join("\n\n")
    }
}

/// The commands as they are shown and parsed.
pub fn laid_out(command: Command) -> Command {
    let help = Arg::new("help")
        .short('h')
        .long("help")
        .help("Print help")
        .action(ArgAction::HelpShort)
        .global(true);
    let template = template(&command);
    arranged(command)
        .disable_help_flag(true)
        .arg(help)
        .help_template(template)
}

fn arranged(command: Command) -> Command {
    let text = Parts::of(&command).in_order();
    let command = match text.is_empty() {
        true => command,
        false => command.after_help(text),
    };
    let reads =
        command.has_subcommands() || command.get_arguments().any(|a| a.get_id() == CONFIG_ID);
    let command = match reads {
        true => command,
        false => command.args([
            idle(CONFIG_ID, "config").short('c'),
            idle(INSTANCE_ID, "instance"),
        ]),
    };
    command.mut_subcommands(arranged)
}

/// A flag that a command would have from above, and has no use for.
fn idle(id: &'static str, name: &'static str) -> Arg {
    Arg::new(id)
        .long(name)
        .hide(true)
        .help("Of no use here")
        .value_parser(clap::value_parser!(OsString))
}

/// Refuses `--config` and `--instance` where they mean nothing, or not one thing.
///
/// # Errors
/// As of a command line that is wrong.
pub fn check_config(command: &mut Command, matches: &ArgMatches) -> Result<(), Error> {
    let mut leaf = matches;
    let mut names = vec![command.get_name().to_owned()];
    while let Some((name, below)) = leaf.subcommand() {
        names.push(name.to_owned());
        leaf = below;
    }
    let of_leaf = names[1..]
        .iter()
        .try_fold(&*command, |at, name| at.find_subcommand(name));
    let is_given = |id: &str| {
        leaf.try_contains_id(id).is_ok_and(|is| is)
            && leaf.value_source(id) == Some(ValueSource::CommandLine)
    };
    let (config, instance) = (is_given(CONFIG_ID), is_given(INSTANCE_ID));
    let is_idle = |command: &Command| {
        let mut args = command.get_arguments();
        args.any(|arg| arg.get_id() == CONFIG_ID && arg.is_hide_set())
    };
    let wrong = match of_leaf {
        Some(of_leaf) if (config || instance) && is_idle(of_leaf) => (
            ErrorKind::UnknownArgument,
            format!(
                "`{}` reads no configuration: leave --config and --instance out",
                names.join(" ")
            ),
        ),
        _ if config && instance => (
            ErrorKind::ArgumentConflict,
            "--config and --instance each name a configuration: give one of them".to_owned(),
        ),
        _ => return Ok(()),
    };
    Err(command.error(wrong.0, wrong.1))
}

/// The front page: commands by task.
fn template(command: &Command) -> String {
    let header = *Styles::styled().get_header();
    let mut text = String::from("{about-with-newline}\n{usage-heading} {usage}\n\n");
    for (title, names) in GROUPS {
        let _ = writeln!(text, "{header}{title}:{header:#}");
        for name in *names {
            let about = command.find_subcommand(name).and_then(Command::get_about);
            // One without is clap's own.
            let own = || "Print the help of a command".to_owned();
            let about = about.map_or_else(own, ToString::to_string);
            let _ = writeln!(text, "  {name:<14}  {about}");
        }
        text.push('\n');
    }
    let _ = write!(
        text,
        "{header}Options:{header:#}\n{{options}}\n\n\
         `pinrelay COMMAND --help` says more, with examples and exit codes.\n"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_brought_in_order() {
        let text = "Example:\n  pinrelay x\n\nExit codes: 0 done · 69 no daemon\nis there\n\nGood to know.";
        let parts = Parts::of(&Command::new("x").after_help(text));
        let codes = [("0", "done"), ("69", "no daemon is there")];
        let codes = codes.map(|(number, meaning)| (number.to_owned(), meaning.to_owned()));
        assert_eq!(parts.codes(), codes);
        let in_order = "Good to know.\n\nExit codes: 0 done · 69 no daemon\nis there\n\nExample:\n  pinrelay x";
        assert_eq!(parts.in_order(), in_order);
        assert_eq!(Parts::of(&Command::new("x")), Parts::default());
    }
}
