//! Realistic events in any number, and clients that send them. An event of the same series and
//! number is the same in every run, but for the time that it says.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[path = "../../tests/daemon/support/events.rs"]
#[allow(dead_code, reason = "the tests read more of a sample than the bench")]
mod events;

/// Different events; what is beyond differs by its messageId alone.
const KINDS: usize = 1000;
/// What a client writes at once.
pub const CHUNK: usize = 256 << 10;

/// Makes events.
pub struct Load {
    /// Each line with its line feed, and where the digits of its messageId begin.
    templates: Vec<(Vec<u8>, usize)>,
    /// Bytes of an event, on average.
    pub mean: usize,
}

const DIGITS: usize = 12;

impl Load {
    pub fn new() -> Self {
        let template = |n: usize| {
            let sample = events::sample("x", n);
            let id = format!("\"{}\"", sample.id);
            let (before, after) = sample.line.split_once(&id).expect("its messageId");
            let place = before.len() + 2;
            let line = format!("{before}\"s{:0DIGITS$}\"{after}\n", 0);
            (line.into_bytes(), place)
        };
        let templates: Vec<_> = (0..KINDS).map(template).collect();
        let bytes: usize = templates.iter().map(|(line, _)| line.len()).sum();
        Self {
            mean: bytes / KINDS,
            templates,
        }
    }

    /// Adds event `n` of the series `s`, a letter.
    pub fn push(&self, s: u8, n: u64, out: &mut Vec<u8>) {
        let (line, place) = &self.templates[n as usize % KINDS];
        let start = out.len();
        out.extend_from_slice(line);
        let id = &mut out[start + place - 1..][..DIGITS + 1];
        id[0] = s;
        let mut rest = n;
        for digit in id[1..].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }

    /// These events, as bytes.
    pub fn bytes(&self, s: u8, numbers: Range<u64>) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.mean * (numbers.end - numbers.start) as usize);
        numbers.for_each(|n| self.push(s, n, &mut out));
        out
    }
}

/// Sends these events over so many connections, pipelined, and returns when all are answered.
/// `may` says up to which number (of all connections together) may be sent yet.
pub fn pipelined(
    socket: &Path,
    load: &Load,
    s: u8,
    numbers: Range<u64>,
    connections: u64,
    may: &(dyn Fn(u64) -> bool + Sync),
) -> Duration {
    let begun = Instant::now();
    let per = (numbers.end - numbers.start) / connections;
    let sent = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for c in 0..connections {
            let from = numbers.start + c * per;
            let sent = &sent;
            scope.spawn(move || {
                let stream = UnixStream::connect(socket).expect("a connection");
                let write = stream.try_clone().expect("its other half");
                scope.spawn(move || {
                    let mut out = Vec::with_capacity(CHUNK + 4096);
                    for n in from..from + per {
                        load.push(s, n, &mut out);
                        if out.len() >= CHUNK || n + 1 == from + per {
                            let count = (out.len() / load.mean) as u64;
                            while !may(sent.load(Ordering::Relaxed)) {
                                std::thread::sleep(Duration::from_millis(1));
                            }
                            sent.fetch_add(count, Ordering::Relaxed);
                            (&write).write_all(&out).expect("events are taken");
                            out.clear();
                        }
                    }
                    write.shutdown(Shutdown::Write).expect("a half-close");
                });
                assert_eq!(queued(stream), per, "every event is queued");
            });
        }
    });
    begun.elapsed()
}

/// Sends without a limit.
pub fn flood(socket: &Path, load: &Load, s: u8, numbers: Range<u64>, connections: u64) -> Duration {
    pipelined(socket, load, s, numbers, connections, &|_| true)
}

/// Sends without a limit, whatever the answers are.
#[cfg(feature = "postgres")]
pub fn answered(
    socket: &Path,
    load: &Load,
    s: u8,
    numbers: Range<u64>,
    connections: u64,
) -> Duration {
    let begun = Instant::now();
    let per = (numbers.end - numbers.start) / connections;
    std::thread::scope(|scope| {
        for c in 0..connections {
            let from = numbers.start + c * per;
            scope.spawn(move || {
                let mut stream = UnixStream::connect(socket).expect("a connection");
                let write = stream.try_clone().expect("its other half");
                scope.spawn(move || {
                    for first in (from..from + per).step_by(256) {
                        let out = load.bytes(s, first..(first + 256).min(from + per));
                        (&write).write_all(&out).expect("events are taken");
                    }
                    write.shutdown(Shutdown::Write).expect("a half-close");
                });
                let mut answers = Vec::new();
                stream.read_to_end(&mut answers).expect("answers");
                let lines = memchr::memchr_iter(b'\n', &answers).count();
                assert_eq!(lines as u64, per, "every event is answered");
            });
        }
    });
    begun.elapsed()
}

/// How many answers say `queued`, up to the end of the stream.
pub fn queued(mut stream: UnixStream) -> u64 {
    let finder = memchr::memmem::Finder::new(b"{\"status\":\"queued\"");
    let mut buffer = vec![0; CHUNK];
    let (mut kept, mut count) = (0, 0);
    loop {
        let n = stream.read(&mut buffer[kept..]).expect("answers");
        if n == 0 {
            return count;
        }
        let have = kept + n;
        // What follows the last line feed is kept for the next look.
        let whole = memchr::memrchr(b'\n', &buffer[..have]).map_or(0, |at| at + 1);
        count += finder.find_iter(&buffer[..whole]).count() as u64;
        buffer.copy_within(whole..have, 0);
        kept = have - whole;
    }
}

/// Each connection sends an event and waits for its answer before the next; the times of all.
pub fn one_by_one(
    socket: &Path,
    load: &Load,
    s: u8,
    numbers: Range<u64>,
    connections: u64,
) -> Vec<Duration> {
    let each = (numbers.end - numbers.start) / connections;
    let times = |c: u64| {
        let from = numbers.start + c * each;
        let mut stream = UnixStream::connect(socket).expect("a connection");
        let mut answer = [0; 512];
        let mut line = Vec::new();
        let ask = |n| {
            line.clear();
            load.push(s, n, &mut line);
            let begun = Instant::now();
            stream.write_all(&line).expect("an event is taken");
            let n = stream.read(&mut answer).expect("an answer");
            assert!(answer[..n].starts_with(b"{\"status\":\"queued\""));
            begun.elapsed()
        };
        (from..from + each).map(ask).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..connections)
            .map(|c| scope.spawn(move || times(c)))
            .collect();
        let times = clients
            .into_iter()
            .flat_map(|c| c.join().expect("a client"));
        times.collect()
    })
}

/// The value below which so many of a hundred lie.
pub fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}
