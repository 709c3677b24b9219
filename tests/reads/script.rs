//! Everything that reads a queue, asked of a daemon that may end at any moment: what it told is
//! noted down, what it did not tell is no fault.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::prepare::Known;
use crate::support::{Client, Process, Sample, Site, s, samples};

/// Sent while it runs; they begin a generation.
const NEW: usize = 110;
/// Lines under way at once.
const WINDOW: usize = 10;

/// How a run went.
#[derive(Default)]
pub struct Run {
    /// New events that were acknowledged.
    pub acked: Vec<Sample>,
    /// The end of the pause was asked for.
    pub resumed: bool,
    /// Its end, where it ended.
    pub code: Option<i32>,
    pub log: String,
    /// Where the script stopped short of its end, and why.
    pub short: Option<String>,
    /// What must not be, whatever call fails.
    pub fault: Option<String>,
}

/// An answer of the admin socket, or that there is none.
pub fn ask(admin: &Path, method: &str, path: &str, body: &str) -> Result<(u16, String), String> {
    let failed = |e: std::io::Error| format!("{method} {path}: {e}");
    let mut stream = UnixStream::connect(admin).map_err(failed)?;
    stream.set_read_timeout(Some(s(60))).map_err(failed)?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: pinrelay\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    let whole = answer.split_once("\r\n\r\n");
    let (head, body) = whole.ok_or_else(|| format!("{method} {path}: no answer"))?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| format!("{method} {path}: {head}"))?;
    Ok((status, body.to_owned()))
}

/// The same as JSON of a request that went well.
pub fn get(admin: &Path, method: &str, path: &str, body: &str) -> Result<Value, String> {
    let (status, text) = ask(admin, method, path, body)?;
    match status {
        200 => serde_json::from_str(&text).map_err(|e| format!("{method} {path}: {e}: {text}")),
        _ => Err(format!("{method} {path}: {status} {text}")),
    }
}

/// An operator's question. Where the answer is that the disk could not be read, nothing was taken
/// for absent and nothing is harmed, if the same question is answered once it can be.
fn look(admin: &Path, path: &str) -> Result<Value, Stop> {
    let begun = Instant::now();
    loop {
        match get(admin, "GET", path, "") {
            Err(why) if why.contains("Input/output error") && begun.elapsed() < s(3) => {
                std::thread::sleep(crate::support::ms(20));
            }
            Err(why) => return Err(Stop::Short(why)),
            // What `verify` says where it cannot read.
            Ok(said) if says_unread(&said["findings"]) && begun.elapsed() < s(3) => {
                std::thread::sleep(crate::support::ms(20));
            }
            Ok(said) => return Ok(said),
        }
    }
}

/// That the walk could not read. It need not be in the words of EIO: where a stat fails, sled
/// takes the folder for missing, cannot make it, and is told that it exists.
fn says_unread(findings: &Value) -> bool {
    let all = findings.as_array().map_or(&[][..], Vec::as_slice);
    let is_of_disk = |finding: &Value| {
        finding["next"] == "see to the disk, then ask again"
            || finding.to_string().contains("Input/output error")
    };
    !all.is_empty() && all.iter().all(is_of_disk)
}

/// What a step comes to: `Short` may be, if the process then ends.
enum Stop {
    Short(String),
    Fault(String),
}

impl From<String> for Stop {
    fn from(why: String) -> Self {
        Self::Short(why)
    }
}

/// Every dead letter by its messageId, as `ask` gives page after page.
pub fn letters<E>(ask: impl Fn(&str) -> Result<Value, E>) -> Result<Vec<String>, E> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let path = after.map_or("/dead".into(), |n: u64| format!("/dead?after={n}"));
        let page = ask(&path)?;
        let letters = page["letters"].as_array().into_iter().flatten();
        let named = letters.filter_map(|letter| letter["event"]["messageId"].as_str());
        ids.extend(named.map(str::to_owned));
        after = page["next"].as_u64();
        if after.is_none() {
            return Ok(ids);
        }
    }
}

/// Runs the script on a process that was just started.
pub fn run(site: &Site, known: &Known, mut process: Process) -> Run {
    let mut run = Run::default();
    match steps(site, known, &mut process, &mut run) {
        Ok(()) => process.signal(Signal::SIGTERM),
        Err(Stop::Short(why)) => run.short = Some(why),
        Err(Stop::Fault(why)) => run.fault = Some(why),
    }
    // What was met ends it within moments; a stop takes longer.
    let begun = Instant::now();
    let patience = if run.fault.is_some() { s(2) } else { s(30) };
    while process.running() && begun.elapsed() < patience {
        std::thread::sleep(crate::support::ms(5));
    }
    if process.running() {
        let why = run.short.as_deref().unwrap_or("it was told to stop");
        let fault = format!("{why}; it does not end");
        run.fault.get_or_insert(fault);
        process.kill();
        run.log = process.output();
    } else {
        let ended = process.ended(s(5));
        (run.code, run.log) = (ended.code, ended.output);
    }
    run
}

fn steps(site: &Site, known: &Known, process: &mut Process, run: &mut Run) -> Result<(), Stop> {
    let admin = site.admin();
    let begun = Instant::now();
    // It may end before it takes anything.
    while Client::try_connect(&site.socket()).is_err() || UnixStream::connect(&admin).is_err() {
        if !process.running() {
            return Err(Stop::Short("it ended at its start".into()));
        }
        if begun.elapsed() > s(60) {
            return Err(Stop::Fault("it neither starts nor ends".into()));
        }
        std::thread::sleep(crate::support::ms(5));
    }
    let short = |e: std::io::Error| Stop::Short(format!("the ingest socket: {e}"));
    let mut client = Client::try_connect(&site.socket()).map_err(short)?;

    // What is known is known.
    let old = [
        &known.delivered[1],
        &known.delivered[900],
        &known.waiting[7],
    ];
    for sample in old.into_iter().chain([&known.dead[2], &known.purged[0]]) {
        let line = format!("{}\n", sample.line);
        client.write(line.as_bytes()).map_err(short)?;
        is(&client.answer().map_err(short)?, &sample.id, "duplicate")?;
    }
    for samples in samples("new", 0..NEW).chunks(WINDOW) {
        let text: String = samples.iter().map(|s| format!("{}\n", s.line)).collect();
        client.write(text.as_bytes()).map_err(short)?;
        for sample in samples {
            is(&client.answer().map_err(short)?, &sample.id, "queued")?;
            run.acked.push(sample.clone());
        }
    }

    let is_so = |path: &str, said: &Value, due: &str| match said.as_str() == Some(due) {
        true => Ok(()),
        false => Err(Stop::Fault(format!("{path}: {said}, and it is {due}"))),
    };
    let of = [
        (&known.waiting[5], "queued"),
        (&known.delivered[5], "settled"),
        (&known.delivered[950], "settled"),
        (&known.dead[3], "dead"),
        (&known.purged[1], "purged"),
    ];
    for (sample, state) in of {
        let path = format!("/trace?id={}", sample.id);
        let said = look(&admin, &path)?;
        is_so(&path, &said["stored"]["state"], state)?;
    }
    look(&admin, "/dead/groups")?;
    let dead = known.dead.len() - known.again.len();
    let found = letters(|path| look(&admin, path))?.len();
    if found != dead {
        return Err(Stop::Fault(format!(
            "{found} dead letters are shown, {dead} there are"
        )));
    }
    let moved = get(&admin, "POST", "/dead/retry?id=poison-3", "")?;
    if moved["count"] != 1 {
        return Err(Stop::Fault(format!("a retry of one letter: {moved}")));
    }
    let line = look(&admin, "/queue?limit=1000")?;
    let waits = line["events"].as_array().map_or(0, Vec::len);
    let due = known.waiting.len() + NEW;
    if waits < due {
        return Err(Stop::Fault(format!(
            "{waits} events are shown to wait, {due} do"
        )));
    }
    let verdict = look(&admin, "/verify")?;
    if verdict["findings"].as_array().is_none_or(|f| !f.is_empty()) {
        return Err(Stop::Fault(format!(
            "verify found: {}",
            verdict["findings"]
        )));
    }

    // All of it leaves; generations are sealed and deleted, ids written and merged.
    run.resumed = true;
    get(&admin, "POST", "/resume", "")?;
    let begun = Instant::now();
    loop {
        let status = get(&admin, "GET", "/status", "")?;
        let ledger = &status["ledger"];
        if ledger["queued"] == 0 && ledger["sending"] == 0 {
            return Ok(());
        }
        if begun.elapsed() > s(60) {
            return Err(Stop::Fault(format!("the queue does not empty: {ledger}")));
        }
        std::thread::sleep(crate::support::ms(5));
    }
}

fn is(answer: &crate::support::Answer, id: &str, due: &str) -> Result<(), Stop> {
    let status = answer.status();
    match status {
        // Nothing was acknowledged, and it names no event.
        "unavailable" => Err(Stop::Short(format!("{answer:?}"))),
        _ if answer.message_id() != id => Err(Stop::Fault(format!("asked for {id}: {answer:?}"))),
        _ if status == due => Ok(()),
        _ => Err(Stop::Fault(format!("{answer:?}, due is {due}"))),
    }
}
