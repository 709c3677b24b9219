//! `pinrelay mock-pinterest`: the stand-in as a process of its own.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use tokio::net::TcpListener;

use super::exit::{Exit, OrExit, Outcome};
use super::text::streamed;
use crate::clock::Clock;
use crate::mock_pinterest::{Mock, Options, Switches, serve};

/// Flags of `pinrelay mock-pinterest`.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 stdout is read by nobody · 64 a switch is wrong · 74 it cannot listen there, or \
    the journal cannot be written\n\nExample:\n  pinrelay mock-pinterest --listen 127.0.0.1:8080 --refuse-names signup"
)]
pub struct Args {
    /// Address to listen on; port 0 takes a free one. The line `listening on http://…` on
    /// stdout says which, and that it is ready.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Append every processed event to this file, and read it again at the start.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// For benches: count the events of a body and take them all, without a look at the schema.
    #[arg(long)]
    count_only: bool,
    #[command(flatten)]
    switches: Switches,
}

/// Serves until it is killed.
pub fn run(args: Args) -> Outcome {
    // One thread: it leaves the other cores to what is tested against it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_exit(Exit::Io)?;
    runtime.block_on(listen(args)).or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}

async fn listen(args: Args) -> anyhow::Result<()> {
    let journal = args.journal.clone();
    let mock = Mock::new(Options {
        switches: args.switches,
        journal: args.journal,
        count_only: args.count_only,
        clock: Clock::system(),
    })
    .with_context(|| {
        format!(
            "cannot open the journal {}",
            journal.unwrap_or_default().display()
        )
    })?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}: choose another --listen", args.listen))?;
    writeln!(
        streamed(false),
        "listening on http://{}",
        listener.local_addr()?
    )?;
    serve(listener, mock).await?;
    Ok(())
}
