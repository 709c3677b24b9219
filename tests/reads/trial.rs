//! One read that fails, in a run of its own over a queue of its own, and the start after it.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;

use crate::calls::kind;
use crate::judge::{judge, log_is_well};
use crate::prepare::{self, Known, Left, refuses};
use crate::script::{self, Run};
use crate::support::{PINRELAY, Process, Site, StandIn, bare, s, within};

/// What runs while the read fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// The daemon: its start, the script and its stop.
    Run,
    /// `pinrelay verify` with the daemon stopped.
    Verify,
    /// `pinrelay verify --repair`.
    Repair,
}

impl How {
    pub const ALL: [Self; 3] = [Self::Run, Self::Verify, Self::Repair];

    fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Verify => "verify",
            Self::Repair => "verify --repair",
        }
    }

    /// The command under strace, which writes to `out`, not started.
    pub fn command(self, site: &Site, out: &Path, args: &[&str]) -> Command {
        // -D: the command is the child, so that its end and its code are seen. The filter in
        // the kernel leaves every other call at its speed.
        let mut all = vec!["-D", "-f", "--seccomp-bpf", "-y", "-s", "0", "-o"];
        let out = out.display().to_string();
        all.push(&out);
        all.extend(args);
        let mut command = bare(Path::new("strace"));
        // The same that the site would run.
        let plain = site.command(match self {
            Self::Run => &["run"],
            Self::Verify => &["verify", "--json"],
            Self::Repair => &["verify", "--repair", "--json"],
        });
        command.args(all).arg(PINRELAY).args(plain.get_args());
        command.envs(plain.get_envs().filter_map(|(k, v)| Some((k, v?))));
        command
    }
}

/// The call that fails.
#[derive(Clone, Debug)]
pub struct Place {
    pub call: String,
    /// Below the folder in which the queue is.
    pub path: String,
    /// Which of the calls on it, from 1.
    pub number: usize,
}

#[derive(Clone, Debug)]
pub struct Trial {
    pub left: Left,
    pub how: How,
    pub place: Place,
}

/// How a trial went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With exit code 74.
    Ended,
    /// It went on to its end.
    Unharmed,
    /// This time there was no such call.
    NotMet,
}

impl Trial {
    /// Its line in the table.
    pub fn line(&self) -> String {
        let Place { call, path, .. } = &self.place;
        format!("{call} {}, {}", kind(path), self.how.name())
    }

    pub fn name(&self) -> String {
        let Place { call, path, number } = &self.place;
        let (how, left) = (self.how.name(), self.left.name());
        format!("{call} {path} #{number}, {how} after {left}")
    }

    /// The fault, if there is one.
    pub fn run(&self) -> Result<End, String> {
        let tried = catch_unwind(AssertUnwindSafe(|| self.tried()));
        tried.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            Err(text.unwrap_or_default())
        })
    }

    fn tried(&self) -> Result<End, String> {
        let stand_in = StandIn::start();
        stand_in.mode(refuses());
        let known = self.left.known();
        let site = prepare::site_with(&stand_in, &known.state);
        let Place { call, path, number } = &self.place;
        let path = site.path("state").join(path).display().to_string();
        let fault = format!("inject={call}:error=EIO:when={number}");
        let calls = format!("trace={call}");
        let args = ["-P", &path, "-e", &calls, "-e", &fault];
        let out = site.path("trace");
        match self.how {
            How::Run => {
                let process = Process::start(&mut self.how.command(&site, &out, &args));
                let run = script::run(&site, known, process);
                let met = traced(&out).contains("(INJECTED)");
                let end = ended(&run, met);
                let judged = judge(&site, &stand_in, known, &run);
                match (end, judged) {
                    (Ok(end), Ok(())) => Ok(end),
                    (Err(fault), Ok(())) | (Ok(_), Err(fault)) => Err(fault),
                    (Err(one), Err(two)) => Err(format!("{one}; AND {two}")),
                }
            }
            How::Verify | How::Repair => self.offline(&site, &stand_in, known, &out, &args),
        }
    }

    fn offline(
        &self,
        site: &Site,
        stand_in: &StandIn,
        known: &Known,
        out: &Path,
        args: &[&str],
    ) -> Result<End, String> {
        let process = Process::start(&mut self.how.command(site, out, args));
        let ended = process.ended(s(60));
        let met = traced(out).contains("(INJECTED)");
        let end = match ended.code {
            Some(74) if met => Ok(End::Ended),
            Some(0) if met => Ok(End::Unharmed),
            Some(0) => Ok(End::NotMet),
            code => Err(format!("it ends with {code:?}: {}", ended.output)),
        };
        let end = end.and_then(|end| log_is_well(&ended.output).map(|()| end));
        let run = Run::default();
        let judged = judge(site, stand_in, known, &run);
        match (end, judged) {
            (Ok(end), Ok(())) => Ok(end),
            (Err(fault), Ok(())) | (Ok(_), Err(fault)) => Err(fault),
            (Err(one), Err(two)) => Err(format!("{one}; AND {two}")),
        }
    }
}

/// Whether a run ended as it may; `met`: a read failed in it.
pub fn ended(run: &Run, met: bool) -> Result<End, String> {
    let said = || -> String {
        let words = ["ERROR", "pinrelay:", "panicked"];
        let lines = run
            .log
            .lines()
            .filter(|l| words.iter().any(|w| l.contains(w)));
        lines.take(4).collect::<Vec<_>>().join(" | ")
    };
    if let Some(fault) = &run.fault {
        return Err(format!("{fault} ({})", said()));
    }
    log_is_well(&run.log)?;
    match (run.code, &run.short) {
        (Some(74), _) if met => Ok(End::Ended),
        (Some(0), None) if met => Ok(End::Unharmed),
        (Some(0), None) => Ok(End::NotMet),
        (code, short) => Err(format!("it ends with {code:?}, {short:?} ({})", said())),
    }
}

/// What strace wrote, once it is whole.
pub fn traced(out: &Path) -> String {
    within(s(30), "the end of the trace", || {
        let text = fs::read_to_string(out).ok()?;
        let last = text.lines().last()?;
        (text.ends_with('\n') && last.contains("+++ ")).then_some(text)
    })
}
