//! `pinrelay queue`: the events that wait. One file per verb; `names` has the words that they share.

use clap::Subcommand;

use super::exit::Outcome;

mod drop;
mod list;
mod names;
mod retry;

/// Flags of `pinrelay queue`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Which events wait, for what, and how often they were tried. Shows no personal data.
    List(list::Args),
    /// Try what backs off at once.
    Retry(retry::Args),
    /// Give one event up.
    Drop(drop::Args),
}

/// Runs one of the verbs.
pub fn run(args: Args) -> Outcome {
    match args.verb {
        Verb::List(args) => list::run(&args),
        Verb::Retry(args) => retry::run(&args),
        Verb::Drop(args) => drop::run(&args),
    }
}
