//! One life of a server's processes, from a start to an end of whichever kind.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::programs::Programs;

/// Starts the server and keeps it until the process of the tests lets go of its stdin, in order or
/// by its own death. The server's processes are each in a session of their own, so they are found
/// by their parent; one that it begins meanwhile sees that it is gone. Unless the folder is to be
/// kept, that goes too. The system sends a hangup where a parent dies and a child stands still.
const KEEPER: &str = r#"
folder=$1 log=$2
shift 2
"$@" 3>&1 >>"$log" 2>&1 </dev/null &
server=$!
trap '' HUP
echo $server
exec >&-
read -r word
all=$server
for stat in /proc/[0-9]*/stat; do
  read -r pid name state parent rest <"$stat" && [ "$parent" = $server ] && all="$all $pid"
done 2>/dev/null
kill -KILL $all 2>/dev/null
wait $server
[ "$word" = keep ] || rm -rf "$folder"
"#;

pub struct Life {
    keeper: Child,
    stdin: ChildStdin,
    /// Held open by each of the server's processes, and written by none: it ends with the last.
    end: ChildStdout,
    pid: i32,
}

impl Life {
    pub fn begin(programs: &Programs, folder: &Path, data: &Path) -> Self {
        let mut keeper = programs.by_owner(Path::new("/bin/sh"));
        keeper.args(["-c", KEEPER, "sh"]);
        keeper.arg(folder).arg(folder.join("log"));
        keeper.arg(programs.path("postgres")).arg("-D").arg(data);
        let settings = folder.join("settings");
        keeper.args(["-c", &format!("config_file={}", settings.display())]);
        // What ends the tests from a terminal must not end the keeper.
        keeper.process_group(0);
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped());
        keeper.stderr(Stdio::null());
        let mut keeper = keeper.spawn().expect("a shell");
        let stdin = keeper.stdin.take().expect("piped");
        let mut end = keeper.stdout.take().expect("piped");
        let mut line = String::new();
        let read = BufReader::with_capacity(16, &mut end).read_line(&mut line);
        read.expect("the keeper speaks");
        let pid = line.trim().parse().expect("a process id");
        Self {
            keeper,
            stdin,
            end,
            pid,
        }
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether the server says so in the file of its process id.
    pub fn takes_connections(&self, data: &Path) -> bool {
        let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let is_own = lines.first() == Some(&self.pid.to_string().as_str());
        is_own && lines.get(7) == Some(&"ready")
    }

    /// Whether all its processes are gone, now or in so long.
    pub fn has_ended(&self, within: Duration) -> bool {
        let begun = Instant::now();
        loop {
            let left = within.saturating_sub(begun.elapsed()).as_millis();
            let mut end = [PollFd::new(self.end.as_fd(), PollFlags::POLLIN)];
            let left = PollTimeout::from(u16::try_from(left).unwrap_or(u16::MAX));
            match poll(&mut end, left) {
                Ok(found) => return found > 0,
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => panic!("poll: {error}"),
            }
        }
    }

    /// Its connections are ended, and what it has is on disk.
    pub fn stop(self, patience: Duration) {
        resume(self.pid);
        signal(self.pid, Signal::SIGINT);
        // A standby that stands still would be waited for.
        if !self.has_ended(patience / 4) {
            signal(self.pid, Signal::SIGQUIT);
        }
        assert!(self.has_ended(patience), "it does not end");
        self.rest();
    }

    /// All of it at one instant.
    pub fn kill(self) {
        pause(self.pid);
        let mut all = children(self.pid);
        all.push(self.pid);
        all.into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
        assert!(self.has_ended(Duration::from_secs(60)), "it does not end");
        self.rest();
    }

    /// The keeper ends. The server's id has been nobody else's until here.
    fn rest(mut self) {
        // It may have been killed by somebody else.
        let _ = self.stdin.write_all(b"keep\n");
        drop(self.stdin);
        let _ = self.keeper.wait();
    }
}

/// Sends a signal to a process of ours; one that is gone needs none.
pub fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// The server and all its processes stand still when this returns. It first, so that it begins no
/// other.
pub fn pause(server: i32) {
    stand_still(server);
    children(server).into_iter().for_each(stand_still);
}

/// They go on.
pub fn resume(server: i32) {
    let mut all = children(server);
    all.push(server);
    all.into_iter().for_each(|pid| signal(pid, Signal::SIGCONT));
}

fn stand_still(pid: i32) {
    signal(pid, Signal::SIGSTOP);
    // The signal is taken when the process next comes out of the kernel, which is soon.
    while stat(pid).is_some_and(|(state, _)| !matches!(state, 'T' | 'Z' | 'X')) {
        std::thread::yield_now();
    }
}

fn children(of: i32) -> Vec<i32> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|(_, parent)| parent == of))
        .collect()
}

/// State and parent of a process.
fn stat(pid: i32) -> Option<(char, i32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    let mut words = rest.split_whitespace();
    Some((words.next()?.chars().next()?, words.next()?.parse().ok()?))
}
