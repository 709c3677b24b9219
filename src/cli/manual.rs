//! `pinrelay completions` and `pinrelay man`: what the command line says of itself, for shells
//! and for `man`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Command;

use super::exit::{Exit, OrExit, Outcome};
use super::stdout::Stdout;

/// Flags of `pinrelay completions`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  pinrelay completions bash | sudo tee /usr/share/bash-completion/completions/pinrelay")]
pub struct CompletionsArgs {
    /// For which shell.
    shell: clap_complete::Shell,
}

/// Flags of `pinrelay man`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
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
pub fn man(mut command: Command, args: &ManArgs) -> Outcome {
    // Gives each command its full name, like `pinrelay dead list`.
    command.build();
    match &args.dir {
        None => {
            let page = page(&command).or_exit(Exit::Io)?;
            Stdout::of_an_answer().write_all(&page).or_exit(Exit::Io)?;
        }
        Some(dir) => pages(&command, dir).or_exit(Exit::Io)?,
    }
    Ok(Exit::Ok)
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut text)?;
    Ok(text)
}

/// One page for this command, and one for each below it.
fn pages(command: &Command, dir: &Path) -> anyhow::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let file = dir.join(format!("{name}.1"));
    fs::write(&file, page(command)?).with_context(|| format!("writing {}", file.display()))?;
    let mut below = command.get_subcommands().filter(|c| c.get_name() != "help");
    below.try_for_each(|command| pages(command, dir))
}
