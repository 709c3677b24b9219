//! docs/try.md and docs/quality.md: the commands of each are run in one shell, in a temporary folder.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::blocks::{Block, blocks, fits};
use super::read;
use super::support::{PINRELAY, bare};

/// Said before a block's own output.
const MARK: &str = "--- block ";

/// Runs a script, and ends whatever it leaves behind.
fn run(script: &str, folder: &Path) -> (bool, String) {
    let bin = Path::new(PINRELAY).parent().expect("a folder of binaries");
    let path = std::env::var("PATH").unwrap_or_default();
    // A step that waits for what does not come ends the test instead of holding it up.
    let mut bash: Command = bare(Path::new("timeout"));
    bash.args(["120", "bash", "-euo", "pipefail", "-c", script]);
    bash.env("PATH", format!("{}:{path}", bin.display()));
    bash.env("TZ", "UTC").current_dir(folder);
    let bash = bash.process_group(0).stdin(Stdio::null());
    let child = bash.stdout(Stdio::piped()).spawn().expect("bash runs");
    let group = Pid::from_raw(child.id() as i32);
    let out = child.wait_with_output().expect("its output");
    // Nobody is left where the page takes all away again.
    let _ = killpg(group, Signal::SIGKILL);
    let said = String::from_utf8(out.stdout).expect("text");
    (out.status.success(), said)
}

fn is_there(program: &str) -> bool {
    let asked = Command::new(program).arg("--version").output();
    asked.is_ok_and(|out| out.status.success())
}

#[test]
fn a_quarter_of_an_hour_without_a_token() {
    its_commands_say_what_the_page_says("docs/try.md", 10);
}

#[test]
fn from_a_low_score_to_a_high_one() {
    its_commands_say_what_the_page_says("docs/quality.md", 6);
}

/// At least so many outputs are compared.
fn its_commands_say_what_the_page_says(name: &str, least: usize) {
    let missing = ["bash", "curl", "jq", "timeout"]
        .into_iter()
        .find(|tool| !is_there(tool));
    if let Some(tool) = missing {
        assert!(
            std::env::var_os("PINRELAY_HTTP_CLIENTS_REQUIRED").is_none(),
            "no {tool} on this machine"
        );
        eprintln!("skipped: no {tool} on this machine");
        return;
    }
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("its address").to_string();
    drop(free);
    let page = read(name).replace("127.0.0.1:8080", &address);
    let blocks = blocks(&page);
    let is_run = |block: &&Block| block.kind == "sh" && !block.text.starts_with("cargo ");
    let mut script = "exec 2>&1\n".to_owned();
    for block in blocks.iter().filter(is_run) {
        script += &format!("echo '{MARK}{}'\n{}", block.line, block.text);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (is_well, said) = run(&script, folder.path());
    assert!(is_well, "{said}");
    let left = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 0, "the page takes all away again");
    let mut compared = 0;
    for (i, block) in blocks.iter().enumerate().filter(|(_, b)| is_run(b)) {
        let told = blocks.get(i + 1).filter(|next| next.kind == "text");
        let (_, own) = said
            .split_once(&format!("{MARK}{}\n", block.line))
            .expect("it ran");
        let own = own.split(MARK).next().expect("its output");
        let own = own.replace(&address, "127.0.0.1:8080");
        if let Some(told) = told {
            let text = told.text.replace(&address, "127.0.0.1:8080");
            // What ends without a line feed does so in the page with one.
            let fits = fits(&text, &own) || fits(text.trim_end(), &own);
            assert!(fits, "{name}:{}\ntold:\n{text}\nsaid:\n{own}", told.line);
            compared += 1;
        }
    }
    let outputs = blocks.iter().filter(|block| block.kind == "text").count();
    assert_eq!(compared, outputs, "an output that belongs to no command");
    assert!(compared >= least, "{compared}");
}
