//! `pinrelay init`: from nothing to a config that Pinterest takes events under.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::termios::{LocalFlags, tcgetattr};
use serde_json::json;

use crate::support::{PINRELAY, StandIn, bare, s, within};

const TOKEN: &str = "pina_of_init";
const FLAGS: [&str; 6] = [
    "--non-interactive",
    "--ad-account-id=549755885175",
    "--app-name=ss-\"my\" shop",
    "--token-file",
    "-",
    "--config",
];

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// Below a folder that `init` has to make.
    fn config(&self) -> PathBuf {
        self.0.path().join("etc/pinrelay.toml")
    }

    fn under(&self, stand_in: &StandIn, mut command: Command) -> Command {
        let here = |name: &str| self.0.path().join(name);
        command.env("PINRELAY_PINTEREST__BASE_URL", stand_in.url());
        command.env("PINRELAY_QUEUE__PATH", here("queue"));
        command.env("PINRELAY_INGEST__SOCKET", here("ingest.sock"));
        command.env("PINRELAY_INGEST__GROUP", "");
        command.env("PINRELAY_ADMIN__SOCKET", here("admin.sock"));
        command
    }

    fn init(&self, stand_in: &StandIn, more: &[&str]) -> Output {
        let mut command = self.under(stand_in, bare(Path::new(PINRELAY)));
        command
            .arg("init")
            .args(FLAGS)
            .arg(self.config())
            .args(more);
        let mut child = (command.stdin(Stdio::piped()).stdout(Stdio::piped()))
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut stdin = child.stdin.take().expect("a pipe");
        // It may end before it reads, where a file is in its way.
        let _ = stdin.write_all(format!("{TOKEN}\n").as_bytes());
        drop(stdin);
        let out = child.wait_with_output().expect("it ends");
        let said = [&out.stdout[..], &out.stderr[..]].concat();
        assert!(
            !String::from_utf8_lossy(&said).contains(TOKEN),
            "the token is told"
        );
        out
    }
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file)
        .expect("it is there")
        .permissions()
        .mode()
        & 0o777
}

#[test]
fn two_files_and_a_test_event_from_flags_alone() {
    let stand_in = StandIn::start();
    let folder = Folder::new();
    let out = folder.init(&stand_in, &[]);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(
        out.status.code(),
        Some(0),
        "{said}{}",
        String::from_utf8_lossy(&out.stderr)
    );
    for words in [
        "Pinterest took a test event",
        "counts each sale twice",
        "systemctl enable --now",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let token = folder.config().with_file_name("token");
    assert_eq!(
        fs::read_to_string(&token).expect("a token"),
        format!("{TOKEN}\n")
    );
    assert_eq!(mode(&token) & 0o007, 0);
    assert_eq!(mode(&folder.config()) & 0o007, 0);
    assert_eq!(mode(token.parent().expect("a folder")), 0o750);

    // What is there stays, unless it is to be replaced.
    let before = fs::read_to_string(folder.config()).expect("a config");
    assert!(before.contains(r#"app_name = 'ss-"my" shop'"#), "{before}");
    let out = folder.init(&stand_in, &[]);
    assert_eq!(out.status.code(), Some(73));
    assert!(String::from_utf8_lossy(&out.stderr).contains("--force"));
    let out = folder.init(&stand_in, &["--force"]);
    assert_eq!(
        out.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let kept = folder.config().with_file_name("pinrelay.toml.bak");
    assert_eq!(fs::read_to_string(kept).expect("kept"), before);
}

#[test]
fn a_wrong_token_is_told_and_the_files_are_there_to_be_mended() {
    let stand_in = StandIn::start();
    stand_in.mode(json!({"fault": "401"}));
    let folder = Folder::new();
    let out = folder.init(&stand_in, &[]);
    assert_eq!(out.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&out.stdout).contains("does not know this token"));
    assert!(folder.config().exists());
}

#[test]
fn what_is_missing_is_named_and_nothing_is_written() {
    let stand_in = StandIn::start();
    let folder = Folder::new();
    for (flags, named) in [
        (
            &["--app-name=direct", "--token-file=-"][..],
            "--ad-account-id",
        ),
        (&["--ad-account-id=1", "--token-file=-"], "--app-name"),
        (&["--ad-account-id=1", "--app-name=direct"], "--token-file"),
        (
            &["--ad-account-id=x1", "--app-name=direct", "--token-file=-"],
            "1 to 18 digits",
        ),
    ] {
        let mut command = folder.under(&stand_in, bare(Path::new(PINRELAY)));
        command
            .args(["init", "--non-interactive", "--config"])
            .arg(folder.config());
        let out = command
            .args(flags)
            .stdin(Stdio::null())
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(64), "{said}");
        assert!(said.contains(named), "{said}");
        assert!(!folder.config().exists());
    }
}

#[test]
fn what_has_a_default_can_be_given_by_flags() {
    let stand_in = StandIn::start();
    let folder = Folder::new();
    for (flag, why) in [
        ("--tag=chrod", "has to be one of"),
        ("--content-id=a.b", "content_id"),
        ("--content-id=none", "a name is needed"),
        ("--consent=none,marketing", "a name is needed"),
    ] {
        let out = folder.init(&stand_in, &[flag]);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(64), "{said}");
        assert!(
            said.contains(flag.split('=').next().unwrap()) && said.contains(why),
            "{said}"
        );
        assert!(!folder.config().exists());
    }
    let flags = [
        "--tag=none",
        "--consent=Marketing,sale_of_data",
        "--content-id=sku",
    ];
    let out = folder.init(&stand_in, &flags);
    assert_eq!(
        out.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let config = fs::read_to_string(folder.config()).expect("a config");
    for line in [
        "#tag = \"none\"",
        "require = [\"Marketing\", \"sale_of_data\"]",
        "content_id = [\"sku\"]",
    ] {
        assert!(config.lines().any(|l| l == line), "{line}: {config}");
    }
}

/// `setsid` (util-linux) makes the terminal its own.
#[test]
fn on_a_terminal_it_asks_and_does_not_show_the_token() {
    let stand_in = StandIn::start();
    let folder = Folder::new();
    let terminal = nix::pty::openpty(None, None).expect("a terminal");
    let slave = || terminal.slave.try_clone().expect("one more handle");
    let mut command = folder.under(&stand_in, bare(Path::new("setsid")));
    command.args(["--ctty", "--wait", PINRELAY, "init", "--config"]);
    command
        .arg(folder.config())
        .stdin(slave())
        .stdout(slave())
        .stderr(slave());
    let Ok(mut child) = command.spawn() else {
        eprintln!("skipped: no `setsid` (util-linux) on this machine");
        return;
    };
    let mut hand = fs::File::from(terminal.master.try_clone().expect("one more handle"));
    let mut screen = hand.try_clone().expect("one more handle");
    let mut said = String::new();
    let mut hear = |words: &str| {
        let mut buffer = [0; 4096];
        while !said.contains(words) {
            let n = screen.read(&mut buffer).expect("a read");
            assert!(n > 0, "it ended before {words:?}: {said}");
            said.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
        said.clone()
    };
    for (question, answer) in [
        ("Ad account ID", "not digits"),
        ("This has to be", "549755885175"),
        ("App name", "direct"),
        ("Conversion access token", TOKEN),
        ("Does the Tag run", "yes"),
        ("has to be one of", "chord"),
        ("Which are needed", ""),
        ("Which key", "variant_id, product_id"),
    ] {
        hear(question);
        if answer == TOKEN {
            within(s(10), "a terminal that does not echo", || {
                let modes = tcgetattr(&terminal.master).expect("its modes");
                (!modes.local_flags.contains(LocalFlags::ECHO)).then_some(())
            });
        }
        hand.write_all(format!("{answer}\n").as_bytes())
            .expect("written");
    }
    let said = hear("Next:");
    assert!(!said.contains(TOKEN), "the token is shown: {said}");
    // What is chosen counts at once: the names are compared.
    assert!(
        said.contains("\"Product Viewed\" = \"Product Viewed\""),
        "{said}"
    );
    assert!(child.wait().expect("it ends").success());
    let config = fs::read_to_string(folder.config()).expect("a config");
    for line in [
        "tag = \"chord\"",
        "#require = []",
        "content_id = [\"variant_id\", \"product_id\"]",
    ] {
        assert!(config.lines().any(|l| l == line), "{line}: {config}");
    }
    let token = folder.config().with_file_name("token");
    assert_eq!(
        fs::read_to_string(token).expect("a token"),
        format!("{TOKEN}\n")
    );
}
