//! `pinrelay completions` and `pinrelay man`: what the command line says of itself, for shells
//! and for `man`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::config_arg::CONFIG_ID;
use super::exit::{Exit, OrExit, Outcome};
use super::help::Parts;
use super::stdout::Stdout;

/// What a command with a configuration reads and makes, by its default.
const FILES: &[(&str, &str)] = &[
    (
        "/etc/pinrelay/pinrelay.toml",
        "The configuration. Every key stands in docs/config.md.",
    ),
    ("/etc/pinrelay/NAME.toml", "That of the instance NAME."),
    (
        "/etc/pinrelay/token",
        "The access token; of an instance, NAME.token.",
    ),
    (
        "/run/pinrelay/ingest.sock",
        "Where events come in, a JSON object a line.",
    ),
    ("/run/pinrelay/http.sock", "Where they come in over HTTP."),
    ("/run/pinrelay/admin.sock", "Where commands ask the daemon."),
    (
        "/var/lib/pinrelay/queue",
        "The queue; beside it queue.anchor, which tells that it is the same.",
    ),
];

/// What it takes from its environment.
const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "PINRELAY_CONFIG",
        "The configuration file, where no flag names one.",
    ),
    (
        "PINRELAY_<SECTION>__<KEY>",
        "A key of the configuration, over what the file says, such as PINRELAY_QUEUE__PATH.",
    ),
    ("PINRELAY_TOKEN", "The access token, where no file has it."),
    (
        "CREDENTIALS_DIRECTORY",
        "systemd's credentials, of which pinterest-token is the access token.",
    ),
    ("RUST_LOG", "Filters of the log, instead of log.level."),
    (
        "SSL_CERT_FILE, SSL_CERT_DIR",
        "Certificate authorities, instead of the system's.",
    ),
    (
        "HTTPS_PROXY, NO_PROXY",
        "The proxy on the way to Pinterest, and what goes without one.",
    ),
];

/// Of every command.
const OF_THE_TERMINAL: &[(&str, &str)] = &[
    (
        "COLUMNS, LINES",
        "The size of the terminal, instead of what it says itself.",
    ),
    (
        "NO_COLOR, TERM",
        "No colours where NO_COLOR says anything, or TERM is dumb.",
    ),
];

/// Flags of `pinrelay completions`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Exit codes: 0 printed · 74 stdout cannot be written

Example:
  pinrelay completions bash | sudo tee /usr/share/bash-completion/completions/pinrelay")]
pub struct CompletionsArgs {
    /// For which shell.
    shell: clap_complete::Shell,
}

/// Flags of `pinrelay man`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Exit codes: 0 printed, or written · 74 it cannot be written

Examples:
  pinrelay man | man -l -
  pinrelay man --dir /usr/share/man/man1")]
pub struct ManArgs {
    /// Write a page for each command into this folder; without it the main page goes to stdout.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Writes the completions of `command` to stdout.
pub fn completions(mut command: Command, args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "pinrelay", &mut script);
    Stdout::of_an_answer()
        .write_all(&script)
        .or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}

/// Writes the manual of `command`.
pub fn man(command: Command, args: &ManArgs) -> Outcome {
    // clap's own command has no page, and pages name those that there are.
    let mut command = command.disable_help_subcommand(true);
    // Gives each command its full name, like `pinrelay dead list`.
    command.build();
    match &args.dir {
        None => {
            let page = page(&command, None).or_exit(Exit::Io)?;
            Stdout::of_an_answer().write_all(&page).or_exit(Exit::Io)?;
        }
        Some(dir) => pages(&command, None, dir).or_exit(Exit::Io)?,
    }
    Ok(Exit::Ok)
}

/// `above`: the page of the command that this one stands below.
fn page(command: &Command, above: Option<&str>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let man = Man::new(command.clone());
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    let parts = Parts::of(command);
    let mut more = Roff::new();
    for paragraph in &parts.prose {
        more.control("PP", []);
        verbatim(&mut more, paragraph);
    }
    more.to_writer(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    sections(command, above, &parts).to_writer(&mut text)?;
    man.render_version_section(&mut text)?;
    Ok(in_ascii(&String::from_utf8_lossy(&text)).into_bytes())
}

/// What groff reads under any locale.
fn in_ascii(text: &str) -> String {
    let shown = |c: char| match c.is_ascii() {
        true => c.to_string(),
        false => format!("\\[u{:04X}]", u32::from(c)),
    };
    text.chars().map(shown).collect()
}

/// What stands on every page.
fn sections(command: &Command, above: Option<&str>, parts: &Parts) -> Roff {
    let mut page = Roff::new();
    let codes = parts.codes();
    let codes: Vec<_> = codes
        .iter()
        .map(|(n, meaning)| (&n[..], &meaning[..]))
        .collect();
    let usual = [
        ("0", "It did what it was asked."),
        ("64", "The command line is wrong."),
    ];
    terms(
        &mut page,
        "EXIT STATUS",
        if codes.is_empty() { &usual } else { &codes },
    );
    let mut flags = command.get_arguments();
    let reads = flags.any(|a| a.get_id() == CONFIG_ID && !a.is_hide_set());
    let environment = match reads {
        true => [ENVIRONMENT, OF_THE_TERMINAL].concat(),
        false => OF_THE_TERMINAL.to_vec(),
    };
    terms(&mut page, "ENVIRONMENT", &environment);
    match reads {
        true => terms(&mut page, "FILES", FILES),
        false => {
            page.control("SH", ["FILES"]);
            page.text([roman(
                "It reads no configuration, and no file that is not named.",
            )]);
        }
    }
    if let Some(examples) = &parts.examples {
        let (_, lines) = examples.split_once('\n').unwrap_or(("", examples));
        page.control("SH", ["EXAMPLES"]);
        verbatim(&mut page, lines);
    }
    if let Some(above) = above {
        page.control("SH", ["SEE ALSO"]);
        page.text([bold(above), roman("(1)")]);
    }
    page
}

fn terms(page: &mut Roff, title: &str, terms: &[(&str, &str)]) {
    page.control("SH", [title]);
    for (term, meaning) in terms {
        page.control("TP", []);
        page.text([bold(*term)]);
        page.text([roman(*meaning)]);
    }
}

/// Lines that are indented stay lines of their own.
fn verbatim(page: &mut Roff, text: &str) {
    for line in text.lines() {
        match line.strip_prefix("  ") {
            Some(line) => {
                page.control("RS", ["4"]);
                page.control("nf", []);
                page.text([roman(line)]);
                page.control("fi", []);
                page.control("RE", []);
            }
            None => {
                page.text([roman(line)]);
            }
        }
    }
}

/// One page for this command, and one for each below it.
fn pages(command: &Command, above: Option<&str>, dir: &Path) -> anyhow::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let file = dir.join(format!("{name}.1"));
    fs::write(&file, page(command, above)?)
        .with_context(|| format!("writing {}", file.display()))?;
    let mut below = command.get_subcommands();
    below.try_for_each(|command| pages(command, Some(name), dir))
}
