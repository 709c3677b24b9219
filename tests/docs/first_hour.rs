//! docs/first-hour.md: its commands are run in a temporary folder, against the stand-in.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use super::blocks::{blocks, fits};
use super::read;
use super::support::{PINRELAY, Process, StandIn, bare, s, within};

const PAGE: &str = "docs/first-hour.md";
/// What a test cannot do to the machine it runs on. A block that begins so is left out, whole.
const LEFT_OUT: [&str; 5] = [
    "packaging/build-deb",
    "sudo apt ",
    "sudo systemctl ",
    "sudo usermod ",
    "docker ",
];
/// Where the page starts the daemon; the test does it by itself.
const ENABLE: &str = "sudo systemctl enable --now pinrelay.socket pinrelay.service\n";

/// A machine as the page has it, in a folder.
struct Machine {
    folder: tempfile::TempDir,
    env: BTreeMap<&'static str, String>,
}

impl Machine {
    fn new(stand_in: &StandIn) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let here = |name: &str| folder.path().join(name).display().to_string();
        let bin = Path::new(PINRELAY).parent().expect("a folder of binaries");
        let path = std::env::var("PATH").unwrap_or_default();
        let env = BTreeMap::from([
            ("PATH", format!("{}:{path}", bin.display())),
            ("PINRELAY_CONFIG", here("etc/pinrelay/pinrelay.toml")),
            ("PINRELAY_PINTEREST__BASE_URL", stand_in.url()),
            ("PINRELAY_QUEUE__PATH", here("queue")),
            ("PINRELAY_QUEUE__MIN_FREE", "1MiB".to_owned()),
            ("PINRELAY_INGEST__SOCKET", here("ingest.sock")),
            ("PINRELAY_INGEST__GROUP", String::new()),
            ("PINRELAY_ADMIN__SOCKET", here("admin.sock")),
        ]);
        fs::write(folder.path().join("token"), "pina_first_hour\n").expect("a token");
        Self { folder, env }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = bare(Path::new(program));
        command.envs(&self.env).current_dir(self.folder.path());
        command
    }

    fn start(&self) -> Process {
        let mut process = Process::start(self.command(PINRELAY).arg("run"));
        within(s(30), "an admin socket", || {
            assert!(process.running(), "it ended: {}", process.output());
            UnixStream::connect(self.folder.path().join("admin.sock")).ok()
        });
        process
    }

    /// Runs commands of the page; what they said, with the page's paths in it.
    fn shell(&self, script: &str) -> String {
        let here = self.folder.path().display().to_string();
        let script = script.replace("/etc/pinrelay", &format!("{here}/etc/pinrelay"));
        // Whoever runs this test is the user of all of it.
        let sudo = "sudo() { if [ \"$1\" = -u ]; then shift 2; fi; \"$@\"; }";
        let script = format!("{sudo}\nexec 2>&1\n{script}");
        let mut bash = self.command("bash");
        let out = bash.args(["-euo", "pipefail", "-c", &script]).output();
        let out = out.expect("bash runs");
        let said = String::from_utf8(out.stdout).expect("text");
        assert!(out.status.success(), "{script}\n{said}");
        // The package makes the group; the machine of a test may do without.
        let of_the_machine = |line: &str| line.starts_with("There is no group pinrelay yet");
        let lines = said.split_inclusive('\n');
        let said: String = lines.filter(|line| !of_the_machine(line)).collect();
        said.replace(&here, "")
    }
}

#[test]
fn its_commands_say_what_the_page_says() {
    let stand_in = StandIn::start();
    let machine = Machine::new(&stand_in);
    let mut daemon = None;
    let blocks = blocks(&read(PAGE));
    let (mut run, mut compared) = (0, 0);
    for (i, block) in blocks.iter().enumerate() {
        if block.kind != "sh" {
            continue;
        }
        let told = blocks.get(i + 1).filter(|next| next.kind == "text");
        let left_out = |line: &str| LEFT_OUT.iter().any(|start| line.starts_with(start));
        if left_out(&block.text) {
            assert!(told.is_none(), "{PAGE}:{}: not compared", block.line);
            if block.text == ENABLE {
                daemon = Some(machine.start());
            }
            continue;
        }
        assert!(!block.text.lines().any(left_out), "{PAGE}:{}", block.line);
        let said = machine.shell(&block.text);
        run += 1;
        if let Some(told) = told {
            assert!(
                fits(&told.text, &said),
                "{PAGE}:{}\ntold:\n{}\nsaid:\n{said}",
                told.line,
                told.text
            );
            compared += 1;
        }
    }
    assert!(daemon.is_some(), "the page never starts the daemon");
    let outputs = blocks.iter().filter(|block| block.kind == "text").count();
    assert_eq!(compared, outputs, "an output that belongs to no command");
    assert!(run >= 10, "{run} blocks");
    // And it is so at Pinterest.
    let mut seen: Vec<_> = (stand_in.events().into_iter())
        .map(|event| (event.event_id.to_string(), event.event_name.to_string()))
        .collect();
    seen.sort();
    let due = [("order-991", "checkout"), ("signup-17", "signup")];
    assert_eq!(seen, due.map(|(id, name)| (id.to_owned(), name.to_owned())));
}

#[test]
fn what_is_left_out_is_there_and_run_elsewhere() {
    let page = read(PAGE);
    let boot = read("packaging/test-boot");
    assert!(boot.contains("systemctl enable --now -q pinrelay.socket pinrelay.service"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let words = page.split_whitespace().map(|word| word.trim_matches('`'));
    for unit in words.filter(|word| {
        word.starts_with("pinrelay.") && (word.ends_with(".socket") || word.ends_with(".service"))
    }) {
        assert!(root.join("systemd").join(unit).is_file(), "{unit}");
    }
    assert!(root.join("packaging/build-deb").is_file());
}
