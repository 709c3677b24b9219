//! The scripted run: the real binary under strace, through every kind of write it knows.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{Client, Daemon, Process, Sample, Site, StandIn, s, samples, within};

/// Calls that can change a file, move a descriptor, or speak on a socket. The reader of the
/// trace refuses what it does not know of these below the queue's folder.
const CALLS: &str = "trace=open,openat,openat2,creat,close,dup,dup2,dup3,fcntl,lseek,\
    read,readv,preadv,write,pwrite64,writev,pwritev,pwritev2,truncate,ftruncate,fallocate,\
    rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,mkdir,mkdirat,\
    mknod,mknodat,fsync,fdatasync,sync,syncfs,sync_file_range,msync,copy_file_range,sendfile,\
    splice,tee,vmsplice,mmap,ioctl,io_uring_setup,io_submit,sendto,sendmsg,sendmmsg,recvfrom,\
    recvmsg,recvmmsg,setxattr,fsetxattr,removexattr";

/// A folder as it is: relative path → content, or `None` for a folder.
pub type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// One life of the daemon.
pub struct Life {
    /// strace's words.
    pub trace: String,
    /// The queue's folder after its end, if it was looked at.
    pub left: Option<Tree>,
}

/// All lives, in order.
pub struct Recording {
    /// The queue's folder, as the trace names it.
    pub root: PathBuf,
    pub lives: Vec<Life>,
}

/// Events of these numbers in one generation, the least the config allows.
pub const GENERATION: u64 = 100;

/// Whether strace is here and may trace.
pub fn can_trace() -> bool {
    let traced = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .output();
    traced.is_ok_and(|out| out.status.success())
}

/// Where lives follow one another.
pub struct Stage<'a> {
    site: &'a Site,
    lives: Vec<Life>,
}

impl<'a> Stage<'a> {
    pub fn new(site: &'a Site) -> Self {
        let lives = Vec::new();
        Self { site, lives }
    }

    /// All that was seen.
    pub fn recording(self) -> Recording {
        Recording {
            root: self.site.path("queue"),
            lives: self.lives,
        }
    }

    fn trace(&self) -> PathBuf {
        self.site.path(&format!("trace-{}", self.lives.len()))
    }

    pub fn start(&self) -> Daemon<'a> {
        self.site.ready(self.process())
    }

    fn process(&self) -> Process {
        let out = self.trace().display().to_string();
        // -D: the daemon is the child, so that it ends with the test.
        let args = [
            "-D",
            "-f",
            "-y",
            "-xx",
            "-s",
            "100000000",
            "-o",
            &out,
            "-e",
            CALLS,
        ];
        Process::start(&mut self.site.run_under("strace", &args))
    }

    /// Keeps what strace and the folder say after the daemon's end.
    pub fn ended(&mut self) {
        let path = self.trace();
        let trace = within(s(30), "the end of the trace", || {
            let text = fs::read_to_string(&path).ok()?;
            let last = text.lines().last()?;
            (text.ends_with('\n') && last.contains("+++ ")).then_some(text)
        });
        let left = Some(tree(&self.site.path("queue")));
        self.lives.push(Life { trace, left });
    }
}

/// Reads a folder.
pub fn tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut open = vec![PathBuf::new()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(root.join(&at)).expect("a folder") {
            let entry = entry.expect("an entry");
            let path = at.join(entry.file_name());
            if entry.file_type().expect("a type").is_dir() {
                tree.insert(path.clone(), None);
                open.push(path);
            } else {
                let content = fs::read(entry.path()).expect("a file");
                tree.insert(path, Some(content));
            }
        }
    }
    tree
}

/// Waits until so many are delivered and so many are dead.
pub fn settled(daemon: &Daemon<'_>, delivered: u64, dead: u64) {
    daemon.shows(s(60), "all settled", |status| {
        status["delivered"] == delivered && status["dead_total"] == dead
    });
}

/// Events that Pinterest refuses, of this turn.
pub fn poison(n: std::ops::Range<usize>, turn: &str) -> Vec<Sample> {
    let line = |n: usize| {
        format!(
            r#"{{"messageId":"poison-{n}","type":"track","event":"Product Viewed","properties":{{"turn":"{turn}"}},"context":{{"traits":{{"email":"poison{n}@mail.example"}}}}}}"#
        )
    };
    n.map(|n| Sample {
        id: format!("poison-{n}"),
        event_name: "view_content",
        line: line(n),
    })
    .collect()
}

fn without_match_key(n: usize) -> Sample {
    let id = format!("keyless-{n}");
    let line = format!(r#"{{"messageId":"{id}","type":"track","event":"Product Viewed"}}"#);
    Sample {
        id,
        event_name: "view_content",
        line,
    }
}

fn signed_up(n: std::ops::Range<usize>) -> Vec<Sample> {
    let line = |n: usize| {
        format!(
            r#"{{"messageId":"signed-{n}","type":"track","event":"Signed Up","context":{{"traits":{{"email":"s{n}@mail.example"}}}}}}"#
        )
    };
    n.map(|n| Sample {
        id: format!("signed-{n}"),
        event_name: "Signed Up",
        line: line(n),
    })
    .collect()
}

/// Sends these one by one and stops in order; they may be known already.
pub fn record_short(site: &Site, samples: &[Sample]) -> Recording {
    let mut stage = Stage::new(site);
    let daemon = stage.start();
    let mut client = Client::connect(&daemon.socket());
    for sample in samples {
        let answer = client.ask(&sample.line);
        assert!(
            ["queued", "duplicate"].contains(&answer.status()),
            "{answer:?}"
        );
    }
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    stage.ended();
    stage.recording()
}

/// Runs the script. Every phase ends with something seen, so that it is in the trace.
pub fn record(site: &Site, stand_in: &StandIn) -> Recording {
    let mut stage = Stage::new(site);

    // First creation, then groups of one and of many.
    let daemon = stage.start();
    let first = samples("first", 0..70);
    let mut client = Client::connect(&daemon.socket());
    for sample in &first[..10] {
        assert_eq!(client.ask(&sample.line).status(), "queued");
    }
    Client::queue(&daemon.socket(), &first[10..]);
    settled(&daemon, 70, 0);

    // Dead letters: refused by Pinterest, and impossible to send.
    stand_in.mode(json!({"refuse_containing": "poison", "refuse_message": "no"}));
    // Pinterest sees hashes only, so the message ids give them away.
    Client::queue(&daemon.socket(), &poison(0..6, "one"));
    Client::queue(
        &daemon.socket(),
        &[without_match_key(0), without_match_key(1)],
    );
    settled(&daemon, 70, 8);

    // The same again is a duplicate; other bytes under a dead event's id revive it.
    stand_in.well();
    let again = Client::send(&daemon.socket(), &poison(0..2, "one"));
    assert!(again.iter().all(|answer| answer.status() == "duplicate"));
    let revived = Client::send(&daemon.socket(), &poison(0..2, "two"));
    assert!(revived.iter().all(|answer| answer.0["revived"] == true));
    settled(&daemon, 72, 6);

    // Generations fill, are sealed and deleted.
    for round in 0..10 {
        let from = round * 25;
        Client::queue(&daemon.socket(), &samples("roll", from..from + 25));
    }
    settled(&daemon, 322, 6);

    // Requests that fail with an unknown outcome and with a known one.
    stand_in.mode(json!({"fault": "503", "fault_first": 3}));
    Client::queue(&daemon.socket(), &samples("unavailable", 0..40));
    settled(&daemon, 362, 6);
    stand_in.mode(json!({"fault": "429", "fault_first": 2, "retry_after": 0}));
    Client::queue(&daemon.socket(), &samples("limited", 0..20));
    settled(&daemon, 382, 6);

    // A time-out, then another name for what is in doubt.
    let asked = stand_in.totals().requests;
    stand_in.mode(json!({"fault": "silent", "fault_processed": true}));
    Client::queue(&daemon.socket(), &signed_up(0..5));
    stand_in.asked(asked + 1, s(10));
    site.config("[event_names]\n\"Signed Up\" = \"signup\"\n");
    daemon.signal(Signal::SIGHUP);
    within(s(5), "the word of the reload", || {
        daemon.log().contains("were read again").then_some(())
    });
    stand_in.asked(asked + 2, s(20));
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    stage.ended();

    // A restart into the same silence; a backlog that spans generations; a kill.
    let asked = stand_in.totals().requests;
    let daemon = stage.start();
    stand_in.asked(asked + 1, s(20));
    for round in 0..6 {
        let from = round * 30;
        Client::queue(&daemon.socket(), &samples("backlog", from..from + 30));
    }
    daemon.kill();
    stage.ended();

    // Recovery from it, with copies; then everything goes out, and more dead letters beside.
    stand_in.mode(json!({"refuse_containing": "poison", "refuse_message": "no"}));
    let daemon = stage.start();
    settled(&daemon, 567, 6);
    Client::queue(&daemon.socket(), &poison(6..12, "one"));
    settled(&daemon, 567, 12);
    stand_in.well();
    // As many generations as make a merge of remembered ids.
    for round in 0..16 {
        let from = round * 30;
        Client::queue(&daemon.socket(), &samples("merge", from..from + 30));
    }
    settled(&daemon, 1047, 12);
    let asked = stand_in.totals().requests;
    stand_in.mode(json!({"fault": "silent"}));
    Client::queue(&daemon.socket(), &samples("late", 0..30));
    stand_in.asked(asked + 1, s(20));
    daemon.kill();
    stage.ended();

    // Killed again in the middle of its recovery, as soon as the account was opened: that writes
    // a snapshot of it.
    let account = || {
        let files = fs::read_dir(site.path("queue/meta")).expect("a folder");
        let names = files.flatten().map(|entry| entry.file_name());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let before = account();
    let process = stage.process();
    within(s(20), "an open account", || {
        (account() != before).then_some(())
    });
    drop(process);
    stage.ended();

    stand_in.well();
    let daemon = stage.start();
    settled(&daemon, 1077, 12);
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    stage.ended();

    stage.recording()
}
