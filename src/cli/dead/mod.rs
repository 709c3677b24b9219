//! `pinrelay dead`: the events that could not be delivered. One file per verb.
//!
//! What the verbs share: `pages` asks the daemon for letters in bounded pieces, `human` writes
//! counts and knows the screen. Which letters are meant says `letter_filter`, which `transform` shares.

use clap::Subcommand;

use super::exit::Outcome;

mod each;
mod export;
mod human;
mod import;
mod list;
mod pages;
mod purge;
mod retry;
mod show;

/// Flags of `pinrelay dead`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// How many there are for each reason and message, or each of them. Shows no personal data.
    List(list::Args),
    /// One of them: its bytes, why it is dead, and what would be sent now. Shows personal data.
    Show(show::Args),
    /// Put them back into the queue, as they are.
    Retry(retry::Args),
    /// Write them out, one JSON object per line. Writes personal data.
    Export(export::Args),
    /// Take an export back, edited or not.
    Import(import::Args),
    /// Give them up.
    Purge(purge::Args),
}

/// Runs one of the verbs.
pub fn run(args: Args) -> Outcome {
    match args.verb {
        Verb::List(args) => list::run(&args),
        Verb::Show(args) => show::run(&args),
        Verb::Retry(args) => retry::run(&args),
        Verb::Export(args) => export::run(&args),
        Verb::Import(args) => import::run(&args),
        Verb::Purge(args) => purge::run(&args),
    }
}
