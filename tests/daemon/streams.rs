//! Stdout and stderr that nobody reads, or that cannot be written, of every command.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use serde_json::json;

use crate::support::{Client, PINRELAY, Process, Site, StandIn, bare, s, samples, within};

/// Those that write an answer and end. `@name` is a file of the site's folder.
const ANSWERS: &[&str] = &[
    "send --json @events",
    "transform @events",
    "transform --explain @events",
    "status",
    "status --json",
    "status --check",
    "trace streams-000000",
    "trace nobody-knows",
    "quality",
    "quality --json --window start",
    "reload",
    "pause --for 1ms",
    "resume",
    "clock show",
    "clock trust",
    "queue list",
    "queue retry --all",
    "queue drop --yes streams-000001",
    "dead list",
    "dead list --each",
    "dead show 1",
    "dead export",
    "dead export --id 1",
    "dead import @letters",
    "dead retry --reason late",
    "dead purge --yes --reason late",
    "forget --email nobody@mail.example --dry-run",
    "verify",
    "verify --where",
    "losses",
    "adopt --queue @other-queue",
    "check",
    "check --json",
    "config show",
    "config show --effective --json",
    "notify --test",
    "completions bash",
    "man",
    "init --non-interactive --offline --force --ad-account-id 1 --app-name ss-a --token-file @token",
];

/// Those that write until they are told to end, and those that write no answer.
const OTHERS: &[&str] = &["tail", "demo", "mock-pinterest", "run", "top"];

/// A site with a daemon, a dead letter, a hook that takes everything, and a queue that is closed.
struct Stage {
    site: Site,
    _stand_in: StandIn,
}

impl Stage {
    fn set() -> Self {
        let stand_in = StandIn::start();
        let site = Site::new(&stand_in);
        let hook = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/hook", hook.local_addr().expect("its address"));
        thread::spawn(move || {
            for client in hook.incoming() {
                let mut client = client.expect("a client");
                let _ = client.read(&mut [0; 4096]);
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = client.write_all(answer.as_bytes());
            }
        });
        fs::write(site.path("url"), url).expect("a file");
        let hook_file = site.path("url").display().to_string();
        let site = (site.set("notify", "webhook_url_file", &hook_file)).set(
            "user_data",
            "default_user_agent",
            "",
        );
        let lines = samples("streams", 0..2).into_iter().map(|s| s.line + "\n");
        fs::write(site.path("events"), lines.collect::<String>()).expect("a file");
        fs::write(site.path("letters"), "no letter\n").expect("a file");
        let other = Site::new(&stand_in);
        assert_eq!(other.start().stop(s(10)).code, Some(0));
        fs::rename(other.path("queue"), site.path("other-queue")).expect("moved");
        Self {
            site,
            _stand_in: stand_in,
        }
    }

    fn command(&self, line: &str) -> Command {
        let args: Vec<String> = (line.split(' '))
            .map(|arg| match arg.strip_prefix('@') {
                Some(name) => self.site.path(name).display().to_string(),
                None => arg.to_owned(),
            })
            .collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut command = match args[0] {
            "completions" | "man" => bare(Path::new(PINRELAY)),
            "init" => {
                let mut command = bare(Path::new(PINRELAY));
                command.env("PINRELAY_CONFIG", self.site.path("new/pinrelay.toml"));
                command
            }
            _ => return self.site.command(&args),
        };
        command.args(args);
        command
    }

    fn run(&self, line: &str, out: Stdio, err: Stdio) -> Output {
        let mut command = self.command(line);
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        child.expect("it runs").wait_with_output().expect("it ends")
    }

    /// With this redirection of a shell's.
    fn shell(&self, line: &str, redirection: &str) -> Output {
        let inner = self.command(line);
        let mut command = bare(Path::new("sh"));
        command.args(["-c", &format!("exec \"$@\" {redirection}"), "sh"]);
        command.arg(inner.get_program()).args(inner.get_args());
        let given = inner.get_envs().filter_map(|(k, v)| Some((k, v?)));
        command.envs(given);
        command.stdin(Stdio::null()).output().expect("it runs")
    }
}

/// A pipe whose reader has gone.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    let file = File::options().write(true).open("/dev/full");
    file.expect("/dev/full").into()
}

fn said(out: &Output) -> String {
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    for word in ["panicked", "a bug", "roken pipe"] {
        assert!(!text.contains(word), "{text}");
    }
    text
}

fn ended(child: Child) -> Output {
    child.wait_with_output().expect("it ends")
}

/// Each of them ends as it would have, so that its verdict is still told.
#[test]
fn answers_end_as_they_would_whoever_reads_them() {
    let stage = Stage::set();
    let daemon = stage.site.start();
    // Nobody can be told whom it is of.
    let faceless = json!({
        "messageId": "faceless", "type": "page", "timestamp": jiff::Timestamp::now().to_string(),
    });
    Client::connect(&daemon.socket()).ask(&faceless.to_string());
    daemon.shows(s(20), "a dead letter", |status| status["dead_total"] == 1);
    for line in ANSWERS {
        let plain = stage.run(line, Stdio::piped(), Stdio::piped());
        let code = plain.status.code();
        assert!(!plain.stdout.is_empty(), "{line}: {}", said(&plain));
        let unread = stage.run(line, closed(), Stdio::piped());
        assert_eq!(unread.status.code(), code, "{line}: {}", said(&unread));
        let shut = stage.shell(line, ">&-");
        assert_eq!(shut.status.code(), code, "{line}: {}", said(&shut));
        for unwritable in ["2>&-", "2>/dev/full"] {
            let out = stage.shell(line, unwritable);
            assert_eq!(out.status.code(), code, "{line} {unwritable}");
        }
        let out = stage.run(line, full(), Stdio::piped());
        let text = said(&out);
        assert_eq!(out.status.code(), Some(74), "{line}: {text}");
        assert!(text.contains("stdout cannot be written"), "{line}: {text}");
    }
}

#[test]
fn streams_end_when_nobody_reads_them() {
    let stage = Stage::set();
    let daemon = stage.site.start();
    for (out, code) in [(closed as fn() -> Stdio, 0), (full, 74)] {
        let start = |line: &str| {
            let mut command = stage.command(line);
            let child = command
                .stdin(Stdio::null())
                .stdout(out())
                .stderr(Stdio::piped());
            child.spawn().expect("it runs")
        };
        let mut tail = start("tail --status queued,duplicate");
        // It listens from some moment on.
        within(s(20), "the end of a tail", || {
            Client::send_any(&daemon.socket(), &samples(&format!("tail-{code}"), 0..1));
            tail.try_wait().expect("our own child")
        });
        let tail = ended(tail);
        assert_eq!(tail.status.code(), Some(code), "{}", said(&tail));
        let mut demo = bare(Path::new(PINRELAY));
        demo.arg("demo").stdout(out()).stderr(Stdio::piped());
        let mut stand_in = bare(Path::new(PINRELAY));
        stand_in.args(["mock-pinterest", "--listen", "127.0.0.1:0"]);
        stand_in.stdout(out()).stderr(Stdio::piped());
        for mut command in [demo, stand_in] {
            let out = ended(command.spawn().expect("it runs"));
            assert_eq!(out.status.code(), Some(code), "{command:?}: {}", said(&out));
        }
    }
}

#[test]
fn a_reader_that_has_seen_enough_of_much_ends_it() {
    let site = Site::at("http://127.0.0.1:1");
    let lines = samples("much", 0..2000).into_iter().map(|s| s.line + "\n");
    fs::write(site.path("events"), lines.collect::<String>()).expect("a file");
    let mut shell = bare(Path::new("sh"));
    let script = "{ \"$0\" transform \"$1\"; echo \"code $?\" >&2; } | head -n 1";
    shell
        .args(["-c", script, PINRELAY])
        .arg(site.path("events"));
    let out = shell.output().expect("it runs");
    assert_eq!(String::from_utf8_lossy(&out.stderr), "code 0\n");
    assert_eq!(out.stdout.iter().filter(|b| **b == b'\n').count(), 1);
}

/// A daemon needs nobody who reads what it says.
#[test]
fn a_daemon_runs_without_a_stderr() {
    let stand_in = StandIn::start();
    for redirection in ["2>/dev/full", ">&- 2>&-"] {
        let site = Site::new(&stand_in);
        let script = format!("exec \"$@\" {redirection}");
        let mut run = site.run_under("sh", &["-c", &script, "sh"]);
        let daemon = site.ready(Process::start(&mut run));
        assert_eq!(daemon.stop(s(10)).code, Some(0), "{redirection}");
    }
}

#[test]
fn help_is_an_answer_as_well_and_an_error_goes_to_stderr() {
    for command in leaves() {
        let run = |out: Stdio| {
            let mut help = bare(Path::new(PINRELAY));
            help.args(command.split(' ')).arg("--help");
            ended(
                help.stdout(out)
                    .stderr(Stdio::piped())
                    .spawn()
                    .expect("it runs"),
            )
        };
        let unread = run(closed());
        assert_eq!(
            unread.status.code(),
            Some(0),
            "{command}: {}",
            said(&unread)
        );
        let out = run(full());
        assert_eq!(out.status.code(), Some(74), "{command}");
        assert!(said(&out).contains("stdout cannot be written"), "{command}");
    }
    let mut wrong = bare(Path::new(PINRELAY));
    let wrong = wrong.arg("sned").stdout(Stdio::piped()).stderr(full());
    assert_eq!(wrong.status().expect("it runs").code(), Some(64));
}

/// Every command that there is.
fn leaves() -> BTreeSet<String> {
    fn below(command: &clap::Command, path: &str, found: &mut BTreeSet<String>) {
        for command in command.get_subcommands() {
            let path = format!("{path} {}", command.get_name());
            match command.has_subcommands() {
                true => below(command, &path, found),
                false => {
                    found.insert(path.trim().to_owned());
                }
            }
        }
    }
    let mut found = BTreeSet::new();
    below(&pinrelay::cli::command_line(), "", &mut found);
    found
}

#[test]
fn no_command_is_left_out_here() {
    let tried = |leaf: &String| {
        let mut lines = ANSWERS.iter().chain(OTHERS);
        lines.any(|line| line == leaf || line.starts_with(&format!("{leaf} ")))
    };
    let left_out: Vec<_> = leaves().into_iter().filter(|leaf| !tried(leaf)).collect();
    assert!(left_out.is_empty(), "{left_out:?}");
}
