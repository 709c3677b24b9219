//! The terminal that a command was started on, and its end.
//!
//! Invariant: no command outlives its terminal. A window that is closed sends SIGHUP to those whose
//! terminal it was, and to nobody else; and to a program that reads keys an end of input looks like
//! a key that is always there. So the terminal itself is watched.

use std::io::{IsTerminal, stderr, stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What a shell says of a program that ended by SIGHUP.
const HUNG_UP: i32 = 129;

/// From here on the process ends, with 129, when a terminal that it reads or writes is gone.
pub fn end_with_the_terminal() {
    let (input, output, errors) = (stdin(), stdout(), stderr());
    let streams = [
        (input.is_terminal(), input.as_fd()),
        (output.is_terminal(), output.as_fd()),
        (errors.is_terminal(), errors.as_fd()),
    ];
    let terminals = streams.into_iter().filter(|(is_terminal, _)| *is_terminal);
    let terminals = terminals.filter_map(|(_, fd)| fd.try_clone_to_owned().ok());
    let terminals: Vec<_> = terminals.collect();
    if terminals.is_empty() {
        return;
    }
    // Without the thread the command ends at its next read or write, as any does.
    let thread = std::thread::Builder::new().name("terminal".into());
    let _ = thread.spawn(move || {
        wait_for_the_end(&terminals);
        std::process::exit(HUNG_UP);
    });
}

fn wait_for_the_end(terminals: &[OwnedFd]) {
    loop {
        // Nothing is asked for: what is told then is a hang-up or an error.
        let mut fds: Vec<_> = (terminals.iter())
            .map(|fd| PollFd::new(fd.as_fd(), PollFlags::empty()))
            .collect();
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) | Ok(0) => {}
            Ok(_) => return,
            // What cannot be watched is not taken for gone.
            Err(_) => loop {
                std::thread::park();
            },
        }
    }
}
