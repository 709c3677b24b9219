//! A terminal that a command writes to.

use std::fs::File;
use std::io::Read;
use std::process::Command;

use nix::pty::{Winsize, openpty};

/// What a terminal of this size is given by a command; `None` on a machine without `setsid`
/// (util-linux), which makes the terminal its own.
pub fn seen(
    command: &Command,
    (columns, rows): (u16, u16),
    env: &[(&str, &str)],
) -> Option<String> {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let terminal = openpty(Some(&size), None).expect("a terminal");
    let mut own = Command::new("setsid");
    own.args(["--ctty", "--wait"]).arg(command.get_program());
    own.args(command.get_args());
    own.env_clear();
    let values = command.get_envs();
    own.envs(values.filter_map(|(name, value)| Some((name, value?))));
    own.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    own.env("TERM", "xterm-256color").envs(env.iter().copied());
    let slave = || terminal.slave.try_clone().expect("one more handle");
    own.stdin(slave()).stdout(slave()).stderr(slave());
    let Ok(mut child) = own.spawn() else {
        eprintln!("skipped: no `setsid` (util-linux) on this machine");
        return None;
    };
    drop(own);
    drop(terminal.slave);
    let (mut screen, mut text) = (File::from(terminal.master), Vec::new());
    let mut buffer = [0; 4096];
    // It ends with an error when nobody has it open any more.
    while let Ok(n @ 1..) = screen.read(&mut buffer) {
        text.extend_from_slice(&buffer[..n]);
    }
    child.wait().expect("it ends");
    Some(String::from_utf8(text).expect("text").replace('\r', ""))
}
