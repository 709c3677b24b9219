//! Events a second: accepted durably, and accepted and delivered at once, by the real binary
//! over its real socket, beside a floor measured in the same run: the same bytes appended to a
//! plain file with one fdatasync per group.
//!
//! `cargo bench --bench accept -- [--events N] [--connections N] [--group N]`

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[path = "../tests/daemon/support/events.rs"]
#[allow(dead_code, reason = "the tests read more of a sample than the bench")]
mod events;

struct Args {
    events: usize,
    connections: usize,
    group: usize,
}

fn args() -> Args {
    let given: Vec<String> = std::env::args().collect();
    let value = |name: &str, default: usize| {
        let at = given.iter().position(|arg| arg == name);
        at.and_then(|at| given.get(at + 1)?.parse().ok())
            .unwrap_or(default)
    };
    Args {
        events: value("--events", 400_000),
        connections: value("--connections", 8),
        group: value("--group", 1000),
    }
}

/// A child that ends with its handle.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Either may fail only because it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn pinrelay(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinrelay"));
    command.args(args).stderr(Stdio::null());
    command
}

/// The stand-in, counting only, and its address.
fn stand_in() -> (Process, String) {
    let mut command = pinrelay(&["mock-pinterest", "--count-only"]);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .expect("the stand-in starts");
    let mut line = String::new();
    let out = child.stdout.take().expect("its stdout");
    BufReader::new(out)
        .read_line(&mut line)
        .expect("its address");
    let address = line
        .trim()
        .trim_start_matches("listening on http://")
        .to_owned();
    (Process(child), address)
}

fn daemon(folder: &Path, pinterest: &str) -> Process {
    std::fs::write(folder.join("token"), "bench").expect("a token file");
    let config = format!(
        "[pinterest]\nad_account_id = \"1\"\napp_name = \"ss-bench\"\n\
         token_file = \"{0}/token\"\nbase_url = \"http://{pinterest}/v5\"\n\
         [ingest]\nsocket = \"{0}/ingest.sock\"\n[queue]\npath = \"{0}/queue\"\n\
         [delivery]\nmax_calls_per_minute = 0\n[admin]\nsocket = \"{0}/admin.sock\"\n\
         [log]\nlevel = \"error\"\n",
        folder.display()
    );
    let file = folder.join("pinrelay.toml");
    std::fs::write(&file, config).expect("a config file");
    let run = pinrelay(&["run", "--config", &file.display().to_string()]).spawn();
    let process = Process(run.expect("the daemon starts"));
    let deadline = Instant::now() + Duration::from_secs(20);
    while UnixStream::connect(folder.join("ingest.sock")).is_err() {
        assert!(Instant::now() < deadline, "the daemon does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    process
}

/// Sends each text over a connection of its own; returns when every line is answered.
fn send_all(socket: &Path, texts: &[String]) {
    std::thread::scope(|scope| {
        for text in texts {
            scope.spawn(move || {
                let stream = UnixStream::connect(socket).expect("a connection");
                let mut write = stream.try_clone().expect("its other half");
                scope.spawn(move || {
                    write.write_all(text.as_bytes()).expect("events are taken");
                    write.shutdown(Shutdown::Write).expect("a half-close");
                });
                let mut answers = Vec::new();
                (&stream).read_to_end(&mut answers).expect("answers");
                let queued = answers
                    .split(|b| *b == b'\n')
                    .filter(|a| a.starts_with(b"{\"status\":\"queued\""));
                assert_eq!(
                    queued.count(),
                    text.lines().count(),
                    "every event is queued"
                );
            });
        }
    });
}

fn processed(address: &str) -> u64 {
    let mut stream = TcpStream::connect(address).expect("the stand-in");
    let request = "GET /_control/account HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let rest = answer
        .split("\"events_processed\":")
        .nth(1)
        .expect("its count");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

/// Processor seconds, bytes written and peak memory of a process.
fn usage(process: &Process) -> (f64, u64, u64) {
    let proc = PathBuf::from(format!("/proc/{}", process.0.id()));
    let read = |name: &str| std::fs::read_to_string(proc.join(name)).unwrap_or_default();
    let stat = read("stat");
    let after = stat.rsplit(')').next().unwrap_or_default();
    // Fields 14 and 15 of proc(5)'s stat; `after` begins with field 3.
    let ticks = after.split_whitespace().skip(11).take(2);
    let cpu = ticks.map(|t| t.parse().unwrap_or(0.0)).sum::<f64>() / 100.0;
    let number = |text: &str, key: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with(key))
            .unwrap_or_default()
            .to_owned();
        line.split_whitespace()
            .nth(1)
            .and_then(|n| n.parse().ok())
            .unwrap_or(0)
    };
    (
        cpu,
        number(&read("io"), "write_bytes"),
        number(&read("status"), "VmHWM"),
    )
}

fn main() {
    // `cargo test --benches` calls it with --test, to see that it runs at all.
    let mut args = args();
    if std::env::args().any(|arg| arg == "--test") {
        args.events = 2_000;
    }
    let home = tempfile::tempdir().expect("a folder");
    let per = args.events / args.connections;
    let texts = |series: &str| -> Vec<String> {
        let lines = |c: usize| {
            let samples = events::samples(series, c * per..(c + 1) * per);
            samples
                .into_iter()
                .flat_map(|s| [s.line, "\n".into()])
                .collect()
        };
        (0..args.connections).map(lines).collect()
    };
    let total = (per * args.connections) as f64;

    let plain = texts("accept");
    let bytes: usize = plain.iter().map(String::len).sum();
    println!(
        "{total} events of {:.0} bytes, {} connections",
        bytes as f64 / total,
        args.connections
    );
    let mut file = File::create(home.path().join("raw")).expect("a file");
    let begun = Instant::now();
    for text in &plain {
        let mut rest = text.as_bytes();
        let step = args.group * bytes / total as usize;
        while !rest.is_empty() {
            let (group, tail) = rest.split_at(step.min(rest.len()));
            file.write_all(group).expect("an append");
            file.sync_data().expect("a sync");
            rest = tail;
        }
    }
    let floor = total / begun.elapsed().as_secs_f64();
    println!(
        "floor    {floor:>9.0}/s  append + fdatasync, groups of {}",
        args.group
    );

    // Nobody listens there: acceptance alone.
    let dead = TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a port");
    let folder = home.path().join("accept");
    std::fs::create_dir(&folder).expect("a folder");
    let process = daemon(&folder, &dead.to_string());
    let begun = Instant::now();
    send_all(&folder.join("ingest.sock"), &plain);
    let rate = total / begun.elapsed().as_secs_f64();
    let (cpu, written, peak) = usage(&process);
    println!(
        "accept   {rate:>9.0}/s  {:.2} of the floor; {:.1} cpu s per million, {:.2} bytes written \
         per byte, {} MiB peak",
        rate / floor,
        cpu * 1e6 / total,
        written as f64 / bytes as f64,
        peak >> 10
    );
    drop(process);
    drop(plain);

    let (_mock, address) = stand_in();
    let both = texts("both");
    let folder = home.path().join("both");
    std::fs::create_dir(&folder).expect("a folder");
    let process = daemon(&folder, &address);
    let begun = Instant::now();
    send_all(&folder.join("ingest.sock"), &both);
    let accepted = total / begun.elapsed().as_secs_f64();
    while processed(&address) < total as u64 {
        assert!(
            begun.elapsed() < Duration::from_secs(600),
            "deliveries do not end"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let delivered = total / begun.elapsed().as_secs_f64();
    let (cpu, written, peak) = usage(&process);
    println!(
        "both     {accepted:>9.0}/s accepted, {delivered:.0}/s delivered; {:.1} cpu s per million, \
         {:.2} bytes written per byte, {} MiB peak",
        cpu * 1e6 / total,
        written as f64 / bytes as f64,
        peak >> 10
    );
}
