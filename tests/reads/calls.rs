//! Which calls reach which file how often, read from a dry run.
//!
//! strace counts the calls for `when=N` by thread, and by the name of the call; with `-P` it
//! counts those alone that name the path or a descriptor of it. So the counts here are by path,
//! call and thread, and a trial's Nth call fails in every thread that comes to its Nth.

use std::collections::BTreeMap;
use std::path::Path;

use crate::prepare::{self, Left, refuses};
use crate::script;
use crate::support::{Process, Site, StandIn};
use crate::trial::{How, Place, traced};

/// Everything that tells of a file what it holds or that it is there. `close` of folders alone:
/// of a file that was only read it tells nothing.
pub const CALLS: [&str; 12] = [
    "pread64",
    "read",
    "readv",
    "preadv",
    "copy_file_range",
    "sendfile",
    "openat",
    "fstat",
    "newfstatat",
    "statx",
    "getdents64",
    "mmap",
];

/// Every single read that can fail, in the order of files.
pub fn places(left: Left, how: How) -> Vec<Place> {
    let stand_in = StandIn::start();
    stand_in.mode(refuses());
    let known = left.known();
    let site = prepare::site_with(&stand_in, &known.state);
    let calls = format!("trace=close,{}", CALLS.join(","));
    let out = site.path("trace");
    let args = ["-e", &calls];
    match how {
        How::Run => {
            let process = Process::start(&mut how.command(&site, &out, &args));
            let run = script::run(&site, known, process);
            assert_eq!(
                run.code,
                Some(0),
                "{:?} {:?}\n{}",
                run.fault,
                run.short,
                run.log
            );
        }
        How::Verify | How::Repair => {
            let ended = how.command(&site, &out, &args).output().expect("it runs");
            assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        }
    }
    let trace = traced(&out);
    counts(&trace, &site)
        .into_iter()
        .flat_map(|((path, call), most)| {
            (1..=most).map(move |number| Place {
                call: call.clone(),
                path: path.clone(),
                number,
            })
        })
        .collect()
}

/// The most calls that any thread made, by path below the folder of the queue, and call.
fn counts(trace: &str, site: &Site) -> BTreeMap<(String, String), usize> {
    let root = format!("{}/", site.path("state").display());
    let mut by_thread: BTreeMap<(String, String, &str), usize> = BTreeMap::new();
    let mut folders = std::collections::BTreeSet::new();
    for line in trace.lines() {
        let Some((thread, call, path)) = read(line, &root) else {
            continue;
        };
        if call == "getdents64" {
            folders.insert(path.clone());
        }
        *by_thread
            .entry((path, call.to_owned(), thread))
            .or_default() += 1;
    }
    let mut most = BTreeMap::new();
    for ((path, call, _), count) in by_thread {
        if call == "close" && !folders.contains(&path) {
            continue;
        }
        let known: &mut usize = most.entry((path, call)).or_default();
        *known = count.max(*known);
    }
    most
}

/// Thread, call and path below `root` of a line that begins a call there.
fn read<'a>(line: &'a str, root: &str) -> Option<(&'a str, &'a str, String)> {
    let (thread, rest) = line.split_once(' ')?;
    let (call, arguments) = rest.trim_start().split_once('(')?;
    if !call.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return None;
    }
    // Up to its result, which names a path as well.
    let arguments = arguments
        .rsplit_once(") = ")
        .map_or(arguments, |(before, _)| before);
    let at = arguments.find(root)? + root.len();
    let path: String = (arguments[at..].chars())
        .take_while(|c| !matches!(c, '"' | '>'))
        .collect();
    // A name that is relative to an open folder counts for that folder, as strace counts it.
    (!path.is_empty()).then_some((thread, call, path))
}

/// Numbers and positions replaced: which kind of file it is.
pub fn kind(path: &str) -> String {
    let mut kind = String::new();
    for part in Path::new(path).iter() {
        let part = part.to_string_lossy();
        if !kind.is_empty() {
            kind.push('/');
        }
        if part.starts_with("snap.") {
            kind.push_str("snap.<n>");
            continue;
        }
        let mut digits = false;
        for c in part.chars() {
            match c.is_ascii_digit() {
                true if digits => {}
                true => kind.push_str("<n>"),
                false => kind.push(c),
            }
            digits = c.is_ascii_digit();
        }
    }
    kind.strip_prefix("queue/")
        .map_or(kind.clone(), str::to_owned)
}

#[test]
fn a_trace_is_counted_by_path_call_and_thread() {
    let root = "/t/state/";
    let line = |line| read(line, root).map(|(t, c, p)| (t.to_owned(), c.to_owned(), p));
    let found = |t: &str, c: &str, p: &str| Some((t.into(), c.into(), p.into()));
    assert_eq!(
        line("8 pread64(12</t/state/queue/gen/1/db>, \"x\"..., 2, 0) = 2"),
        found("8", "pread64", "queue/gen/1/db")
    );
    assert_eq!(
        line("8 openat(AT_FDCWD</t>, \"/t/state/queue/high\", O_RDONLY) = 3</t/state/queue/high>"),
        found("8", "openat", "queue/high")
    );
    assert_eq!(
        line("8 openat(3</t/state/queue/gen>, \"1.deleting\", O_RDONLY <unfinished ...>"),
        found("8", "openat", "queue/gen")
    );
    assert_eq!(
        line("8 openat(AT_FDCWD</t>, \"/etc/x\", O_RDONLY) = 3</t/state/queue>"),
        None
    );
    assert_eq!(line("8 <... read resumed>\"/t/state/queue\", 8) = 8"), None);
    assert_eq!(
        kind("queue/gen/0000000012/snap.00000000000001FE"),
        "gen/<n>/snap.<n>"
    );
    assert_eq!(
        kind("queue/seen/0000000001-0000000008.ids"),
        "seen/<n>-<n>.ids"
    );
    assert_eq!(kind("queue"), "queue");
}
