//! Reads that fail for a while: a tracer attaches to the running daemon at a random moment, for
//! 10 to 100 ms every call that reads a file of the queue fails with EIO, and it lets go again;
//! then the next moment, until the run is over. Also while the daemon starts.
//!
//! It stands for a disk that does not answer for a moment: a path that fails over, a controller
//! that is reset. Here the window closes over the calls alone: what the kernel has in its cache
//! fails as well, which a real disk would still give.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::judge::judge;
use crate::prepare::{self, Left, refuses};
use crate::script;
use crate::support::{Process, StandIn, bare, ms, s};
use crate::trial::{End, ended};

/// The calls that fail.
const CALLS: &str = "pread64,read,readv,preadv,copy_file_range,sendfile,openat,fstat,newfstatat,statx,getdents64,mmap";

/// What was seen.
pub struct Sight {
    pub windows: usize,
    pub failed_reads: usize,
    pub ended: bool,
}

impl fmt::Display for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.ended { "exit 74" } else { "unharmed" };
        let Self {
            windows,
            failed_reads,
            ..
        } = self;
        write!(f, "{windows} windows, {failed_reads} failed reads, {end}")
    }
}

/// Whether a tracer may attach to a process that is not its child.
pub fn can_attach() -> bool {
    let mut process = Process::start(bare(Path::new("sleep")).arg("20"));
    let failed = attach(process.pid(), &[], ms(10));
    process.kill();
    if failed.is_none() {
        println!("skipped: strace may not attach to a running process here");
    }
    failed.is_some()
}

/// A window: how many calls failed in it; `None` if the tracer did not come to attach.
fn attach(pid: u32, paths: &[String], length: Duration) -> Option<usize> {
    let mut command = bare(Path::new("strace"));
    command.args(["-f", "-e", &format!("trace={CALLS}")]);
    command.args(["-e", &format!("inject={CALLS}:error=EIO")]);
    for path in paths {
        command.args(["-P", path]);
    }
    let mut tracer = Process::start(command.args(["-p", &pid.to_string()]));
    let begun = Instant::now();
    while !tracer.output().contains("attached") {
        if !tracer.running() || begun.elapsed() > s(10) {
            return None;
        }
        std::thread::sleep(ms(1));
    }
    std::thread::sleep(length);
    tracer.signal(Signal::SIGINT);
    // It lets go of every thread, or ends with the daemon. Where the daemon is just ending, strace
    // waits for its first thread before it has let go of the others, for ever: by then no call is
    // under way, and the kernel lets go for it.
    let begun = Instant::now();
    while tracer.running() && begun.elapsed() < s(2) {
        std::thread::sleep(ms(2));
    }
    tracer.kill();
    let said = tracer.ended(s(5)).output;
    Some(said.matches("(INJECTED)").count())
}

/// Everything that lies in the folder now, and the folder.
fn paths_in(folder: &Path, paths: &mut Vec<String>) {
    paths.push(folder.display().to_string());
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => paths_in(&entry.path(), paths),
            false => paths.push(entry.path().display().to_string()),
        }
    }
}

/// One start and run under such windows, and the start after it.
pub fn run(left: Left, seed: u64, number: u64) -> Result<Sight, String> {
    let mut dice = StdRng::seed_from_u64(seed.wrapping_add(number));
    let stand_in = StandIn::start();
    stand_in.mode(refuses());
    let known = left.known();
    let site = prepare::site_with(&stand_in, &known.state);
    let process = Process::start(&mut site.run());
    let (pid, over) = (process.pid(), AtomicBool::new(false));
    let state = site.path("state");
    let (run, windows, failed_reads) = std::thread::scope(|scope| {
        let weather = scope.spawn(|| {
            let (mut windows, mut failed) = (0, 0);
            // The first one at the start in half of the runs.
            let mut calm = ms(dice.random_range(0..if number % 4 < 2 { 60 } else { 900 }));
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(calm);
                let mut paths = Vec::new();
                paths_in(&state, &mut paths);
                let length = ms(dice.random_range(10..=100));
                let Some(count) = attach(pid, &paths, length) else {
                    break;
                };
                (windows, failed) = (windows + 1, failed + count);
                calm = ms(dice.random_range(20..400));
            }
            (windows, failed)
        });
        let run = script::run(&site, known, process);
        over.store(true, Ordering::Relaxed);
        let (windows, failed) = weather.join().expect("no panic");
        (run, windows, failed)
    });
    let end = ended(&run, failed_reads > 0);
    let judged = judge(&site, &stand_in, known, &run);
    let end = match (end, judged) {
        (Ok(end), Ok(())) => end,
        (Err(fault), Ok(())) | (Ok(_), Err(fault)) => return Err(fault),
        (Err(one), Err(two)) => return Err(format!("{one}; AND {two}")),
    };
    let ended = end == End::Ended;
    Ok(Sight {
        windows,
        failed_reads,
        ended,
    })
}
