//! The daemon and the stand-in as processes, and what the system says of them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A child that ends with its handle.
pub struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Either may fail only because it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The stand-in: it counts, and keeps nothing.
pub struct StandIn {
    pub address: String,
    _process: Process,
}

impl StandIn {
    pub fn start(latency_ms: u64) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinrelay"));
        command.args(["mock-pinterest", "--count-only", "--latency-ms"]);
        command.arg(latency_ms.to_string()).stderr(Stdio::null());
        let mut child = (command.stdout(Stdio::piped()).spawn()).expect("the stand-in starts");
        let out = child.stdout.take().expect("its stdout");
        let mut line = String::new();
        BufReader::new(out)
            .read_line(&mut line)
            .expect("its address");
        let address = line.trim().trim_start_matches("listening on http://");
        Self {
            address: address.to_owned(),
            _process: Process(child),
        }
    }

    /// Events it has taken.
    pub fn processed(&self) -> u64 {
        let mut stream = TcpStream::connect(&self.address).expect("the stand-in");
        let answer = get(&mut stream, "/_control/account");
        number_after(&answer, "\"events_processed\":") as u64
    }

    pub fn wait_for(&self, count: u64, limit: Duration) {
        let begun = Instant::now();
        while self.processed() < count {
            assert!(begun.elapsed() < limit, "deliveries do not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn get(stream: &mut (impl Read + Write), path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn number_after(text: &str, key: &str) -> f64 {
    let (_, rest) = text
        .split_once(key)
        .unwrap_or_else(|| panic!("no {key} in {text}"));
    let number = rest.trim_start();
    let end = number.find(|c: char| !"0123456789.e+-".contains(c));
    number[..end.unwrap_or(number.len())]
        .parse()
        .expect("a number")
}

/// A daemon in a folder of its own.
pub struct Daemon {
    process: Process,
    folder: PathBuf,
    binary: PathBuf,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu_seconds: f64,
    pub written_bytes: f64,
    pub resident_mib: f64,
    pub peak_mib: f64,
    /// Times that one of its threads was woken.
    pub wakeups: f64,
    /// Of these, threads of sled's pool, which look for work once a second each.
    pub sled_wakeups: f64,
}

impl Daemon {
    /// Starts it and waits until it takes events.
    pub fn start(binary: &Path, folder: &Path, pinterest: &str) -> Self {
        let queue = format!("path = \"{}/queue\"\n", folder.display());
        Self::start_on(binary, folder, pinterest, &queue)
    }

    /// The same on another queue: the first lines of `[queue]`, and what follows on it.
    pub fn start_on(binary: &Path, folder: &Path, pinterest: &str, queue: &str) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        std::fs::write(folder.join("token"), "a_token_for_benches").expect("a token file");
        let config = format!(
            "[pinterest]\nad_account_id = \"1\"\napp_name = \"ss-bench\"\n\
             token_file = \"{0}/token\"\nbase_url = \"http://{pinterest}/v5\"\n\
             [ingest]\nsocket = \"{0}/ingest.sock\"\ngroup = \"\"\n[queue]\n\
             max_bytes = \"64GiB\"\n{queue}[delivery]\nmax_calls_per_minute = 0\ndrain_deadline = \"0s\"\n\
             [admin]\nsocket = \"{0}/admin.sock\"\n[log]\nlevel = \"error\"\n",
            folder.display()
        );
        std::fs::write(folder.join("pinrelay.toml"), config).expect("a config file");
        Self {
            process: spawn(binary, folder),
            folder: folder.to_owned(),
            binary: binary.to_owned(),
        }
        .ready()
    }

    fn ready(self) -> Self {
        let deadline = Instant::now() + Duration::from_secs(60);
        while UnixStream::connect(self.socket()).is_err() {
            assert!(Instant::now() < deadline, "the daemon does not listen");
            std::thread::sleep(Duration::from_millis(1));
        }
        self
    }

    /// kill -9, and a new start; returns when it takes events.
    pub fn killed_and_started(mut self) -> Self {
        // Assigned in two steps: the old one has to be gone before the new one opens the queue.
        drop(std::mem::replace(&mut self.process, Process(idle())));
        let _ = std::fs::remove_file(self.socket());
        self.process = spawn(&self.binary, &self.folder);
        self.ready()
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("ingest.sock")
    }

    /// Where it takes events over HTTP.
    pub fn http(&self) -> PathBuf {
        self.folder.join("http.sock")
    }

    /// One of its commands.
    pub fn command(&self, args: &[&str]) {
        let mut command = Command::new(&self.binary);
        command
            .args(args)
            .arg("--config")
            .arg(self.folder.join("pinrelay.toml"));
        let out = command.output().expect("it runs");
        assert!(
            out.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
    }

    /// `/metrics`.
    pub fn metrics(&self) -> Metrics {
        let mut stream = UnixStream::connect(self.folder.join("admin.sock")).expect("admin.sock");
        Metrics(get(&mut stream, "/metrics"))
    }

    pub fn usage(&self) -> Usage {
        let proc = PathBuf::from(format!("/proc/{}", self.process.0.id()));
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        let stat = read(&proc.join("stat"));
        let after = stat.rsplit(')').next().unwrap_or_default();
        // Fields 14 and 15 of proc(5)'s stat; `after` begins with field 3.
        let ticks = after.split_whitespace().skip(11).take(2);
        let field = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key));
            let value = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
            value.unwrap_or(0.0)
        };
        let status = read(&proc.join("status"));
        let tasks = std::fs::read_dir(proc.join("task"))
            .into_iter()
            .flatten()
            .flatten();
        let (mut wakeups, mut sled_wakeups) = (0.0, 0.0);
        for task in tasks {
            let status = read(&task.path().join("status"));
            let woken = field(&status, "voluntary_ctxt_switches");
            wakeups += woken;
            if status.starts_with("Name:\tsled-io") {
                sled_wakeups += woken;
            }
        }
        Usage {
            cpu_seconds: ticks.filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / 100.0,
            written_bytes: field(&read(&proc.join("io")), "write_bytes"),
            resident_mib: field(&status, "VmRSS") / 1024.0,
            peak_mib: field(&status, "VmHWM") / 1024.0,
            wakeups,
            sled_wakeups,
        }
    }
}

fn spawn(binary: &Path, folder: &Path) -> Process {
    let mut command = Command::new(binary);
    command
        .arg("run")
        .arg("--config")
        .arg(folder.join("pinrelay.toml"));
    Process(
        command
            .stderr(Stdio::null())
            .spawn()
            .expect("the daemon starts"),
    )
}

fn idle() -> Child {
    Command::new("true").spawn().expect("true")
}

/// One scrape.
pub struct Metrics(String);

impl Metrics {
    pub fn value(&self, name: &str) -> f64 {
        number_after(&self.0, &format!("\n{name} "))
    }

    /// The upper bound of the bucket in which so many of a hundred lie, seconds.
    pub fn percentile(&self, histogram: &str, percent: f64) -> f64 {
        let total = self.value(&format!("{histogram}_count"));
        let buckets = self.0.lines().filter_map(|line| {
            let rest = line
                .strip_prefix(histogram)?
                .strip_prefix("_bucket{le=\"")?;
            let (bound, count) = rest.split_once("\"} ")?;
            Some((bound.parse::<f64>().ok()?, count.parse::<f64>().ok()?))
        });
        let reached = |(_, count): &(f64, f64)| *count >= total * percent / 100.0;
        buckets
            .into_iter()
            .find(reached)
            .map_or(f64::INFINITY, |(bound, _)| bound)
    }
}
