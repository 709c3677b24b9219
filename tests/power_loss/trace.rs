//! strace's words as steps: what was written where, what was synced, what went over sockets.
//!
//! A call that the model does not know and that touches the queue's folder is a panic: a write
//! path must not be missed in silence.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::step::{Act, Step};
use crate::words::{Descriptor, arguments, descriptor, gap, quoted, vectors};

/// Reads the trace of one life; moments begin at `from`. Steps come in the order of their ends.
///
/// # Errors
/// The kill cut a call short of which it is not known whether it took effect: a matter of chance,
/// so that another recording will do.
pub fn read(text: &str, root: &Path, from: usize) -> Result<Vec<Step>, CutShort> {
    let mut reader = Reader {
        root: root.to_str().expect("a path in UTF-8"),
        places: HashMap::new(),
        steps: Vec::new(),
        cut_short: None,
    };
    // By thread: the call that is under way.
    let mut begun: HashMap<&str, (usize, &str)> = HashMap::new();
    let mut moment = from;
    for line in text.lines() {
        moment += 1;
        let (thread, rest) = line.split_once(' ').expect(line);
        let rest = rest.trim_start();
        if rest.starts_with("+++ ") || rest.starts_with("--- ") {
            continue;
        }
        if let Some(head) = rest.strip_suffix("<unfinished ...>") {
            let head = head.trim_end();
            if let Some(resumed) = head.strip_prefix("<... ") {
                // It ended with the process: `<... x resumed> <unfinished ...>) = ?`.
                reader.cut_short = Some(CutShort(resumed.into()));
                continue;
            }
            begun.insert(thread, (moment, head));
            continue;
        }
        let (begin, call) = match rest.strip_prefix("<... ") {
            Some(tail) => {
                let (begin, head) = begun.remove(thread).expect("a call that was begun");
                let (_, tail) = tail.split_once(" resumed>").expect(line);
                let tail = tail.trim_start().trim_start_matches("<unfinished ...>");
                (begin, format!("{head}{}{tail}", gap(head, tail)))
            }
            None => (moment, rest.to_owned()),
        };
        reader.call(&call, begin, moment);
    }
    for (begin, head) in begun.into_values() {
        reader.call(&format!("{head}) = ?"), begin, moment);
    }
    reader.steps.push(Step {
        begin: moment + 1,
        end: moment + 1,
        act: Act::End,
    });
    reader.cut_short.map_or(Ok(reader.steps), Err)
}

/// A call that may have taken effect or not.
#[derive(Debug)]
pub struct CutShort(pub String);

struct Reader<'a> {
    root: &'a str,
    /// Offset of each descriptor of a file below the root.
    places: HashMap<i64, u64>,
    steps: Vec<Step>,
    cut_short: Option<CutShort>,
}

impl Reader<'_> {
    fn below(&self, path: &str) -> Option<PathBuf> {
        let rest = path.strip_prefix(self.root)?;
        assert!(
            !rest.ends_with(" (deleted)"),
            "used after its deletion: {path}"
        );
        match rest.strip_prefix('/') {
            Some(rest) => Some(rest.into()),
            None => rest.is_empty().then(PathBuf::new),
        }
    }

    fn step(&mut self, begin: usize, end: usize, act: Act) {
        self.steps.push(Step { begin, end, act });
    }

    fn call(&mut self, call: &str, begin: usize, end: usize) {
        let (name, rest) = call.split_once('(').expect(call);
        let (args, result) = rest.rsplit_once(" = ").unwrap_or((rest, "?"));
        let args = args.trim_end().trim_end_matches(')').trim_end();
        let args = arguments(args);
        let unknown = result.starts_with('?');
        let result: i64 = (result.split([' ', '<']).next())
            .and_then(|r| r.strip_prefix("0x").is_none().then(|| r.parse().ok())?)
            .unwrap_or(0);
        if result < 0 {
            return;
        }
        let socket = descriptor(args[0]).filter(|d| d.path.starts_with("socket:"));
        if let Some(Descriptor { path: socket, .. }) = socket {
            return self.socket(name, socket, &args, result, (begin, end));
        }
        let touched = (args.iter())
            .filter_map(|arg| {
                let path = match arg.strip_prefix('"') {
                    Some(text) if name.contains("write") => {
                        let _ = text;
                        return None;
                    }
                    Some(_) if name.contains("read") => return None,
                    Some(_) => String::from_utf8(quoted(arg)).ok()?,
                    None => descriptor(arg)?.path,
                };
                self.below(&path)
            })
            .collect::<Vec<_>>();
        let Some(path) = touched.first().cloned() else {
            return;
        };
        if unknown {
            let harmless = ["read", "pread64", "fsync", "fdatasync", "close", "lseek"];
            if !harmless.contains(&name) {
                self.cut_short = Some(CutShort(format!("{call:.200}")));
            }
            return;
        }
        self.file(name, path, touched, &args, result, (begin, end), call);
    }

    fn socket(
        &mut self,
        name: &str,
        socket: String,
        args: &[&str],
        result: i64,
        (begin, end): (usize, usize),
    ) {
        let whole = match name {
            "write" | "sendto" | "read" | "recvfrom" if args.len() > 1 => quoted(args[1]),
            "writev" | "readv" => vectors(args[1]),
            "sendmsg" | "recvmsg" | "sendmmsg" | "recvmmsg" | "sendfile" | "splice" => {
                panic!("a socket call that is not read: {name}")
            }
            _ => return,
        };
        let mut data = whole;
        data.truncate(result as usize);
        if data.is_empty() {
            return;
        }
        let act = match name {
            "read" | "recvfrom" | "readv" => Act::Got { socket, data },
            _ => Act::Sent { socket, data },
        };
        self.step(begin, end, act);
    }

    #[allow(clippy::too_many_arguments, reason = "one call, taken apart")]
    fn file(
        &mut self,
        name: &str,
        path: PathBuf,
        mut touched: Vec<PathBuf>,
        args: &[&str],
        result: i64,
        (begin, end): (usize, usize),
        call: &str,
    ) {
        let number = |text: &str| text.parse::<u64>().expect(call);
        let first = descriptor(args[0]).map_or(-1, |d| d.number);
        let act = match name {
            "openat" => {
                let flags = args[2];
                for flag in [
                    "O_APPEND",
                    "O_DIRECT|",
                    "O_SYNC",
                    "O_DSYNC",
                    "O_TMPFILE",
                    "O_PATH",
                ] {
                    assert!(!flags.contains(flag), "not modelled: {call}");
                }
                self.places.insert(result, 0);
                if flags.contains("O_CREAT") {
                    let path = path.clone();
                    self.step(begin, end, Act::Create { path });
                }
                if !flags.contains("O_TRUNC") {
                    return;
                }
                Act::Truncate { path, len: 0 }
            }
            "lseek" => {
                self.places.insert(first, result as u64);
                return;
            }
            "read" => {
                *self.places.get_mut(&first).expect(call) += result as u64;
                return;
            }
            "write" => {
                let at = self.places.get_mut(&first).expect(call);
                let mut data = quoted(args[1]);
                data.truncate(result as usize);
                let from = *at;
                *at += result as u64;
                Act::Write {
                    path,
                    at: from,
                    data,
                }
            }
            "pwrite64" => {
                let mut data = quoted(args[1]);
                data.truncate(result as usize);
                let at = number(args[3]);
                Act::Write { path, at, data }
            }
            "ftruncate" => Act::Truncate {
                path,
                len: number(args[1]),
            },
            "copy_file_range" => {
                assert!(args[1] == "NULL" && args[3] == "NULL", "{call}");
                let to = touched.pop().expect(call);
                assert_eq!(touched.len(), 1, "from outside the folder: {call}");
                let second = descriptor(args[2]).expect(call).number;
                let [from_at, to_at] = [first, second].map(|d| {
                    let place = self.places.get_mut(&d).expect(call);
                    *place += result as u64;
                    *place - result as u64
                });
                Act::Copy {
                    from: path,
                    from_at,
                    to,
                    to_at,
                    len: result as u64,
                }
            }
            "mkdir" => Act::Mkdir { path },
            "rename" => {
                let to = touched.pop().expect(call);
                assert_eq!(touched.len(), 1, "across the folder's edge: {call}");
                Act::Rename { from: path, to }
            }
            "renameat2" => {
                assert!(call.contains("RENAME_EXCHANGE"), "not modelled: {call}");
                let other = touched.pop().expect(call);
                assert_eq!(touched.len(), 1, "across the folder's edge: {call}");
                Act::Exchange { one: path, other }
            }
            "unlink" | "rmdir" => Act::Remove { path },
            "unlinkat" => {
                let path = match args[1].starts_with('"') {
                    // Relative to the folder in the first argument.
                    true if first >= 0 => {
                        let name = String::from_utf8(quoted(args[1])).expect(call);
                        let folder = self.below(&descriptor(args[0]).expect(call).path);
                        folder.expect(call).join(name)
                    }
                    _ => touched.pop().expect(call),
                };
                Act::Remove { path }
            }
            "fsync" | "fdatasync" => Act::Sync { path },
            "mmap" => {
                assert!(!call.contains("MAP_SHARED"), "written by memory: {call}");
                return;
            }
            "fcntl" => {
                assert!(
                    !args[1].contains("DUP"),
                    "a second handle, whose offset is not followed: {call}"
                );
                return;
            }
            "close" => {
                self.places.remove(&first);
                return;
            }
            "pread64" => return,
            _ => panic!("not modelled below the queue's folder: {call:.300}"),
        };
        self.step(begin, end, act);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_and_what_is_unknown_is_refused() {
        let hex = |text: &str| {
            text.bytes()
                .map(|b| format!("\\x{b:02x}"))
                .collect::<String>()
        };
        let (folder, file) = (hex("/q"), hex("/q/a"));
        let open = format!(
            r#"7 openat(AT_FDCWD<{folder}>, "{file}", O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, 0600) = 3<{file}>"#
        );
        let write = |text: &str| format!(r#"7 write(3<{file}>, "{}", 2) = 2"#, hex(text));
        let sync = format!("8 fdatasync(3<{file}> <unfinished ...>");
        let text = [
            open.as_str(),
            &write("ab"),
            &sync,
            &write("cd"),
            "8 <... fdatasync resumed>) = 0",
        ];
        let steps = read(&text.join("\n"), Path::new("/q"), 10).unwrap();
        let seen: Vec<_> = steps
            .iter()
            .map(|s| (s.begin, s.end, format!("{:?}", s.act)))
            .collect();
        assert!(seen[0].2.starts_with("Create"), "{seen:?}");
        assert!(seen[1].2.starts_with("Truncate"), "{seen:?}");
        assert!(seen[2].2.contains("at: 0, data: [97, 98]"), "{seen:?}");
        assert!(seen[3].2.contains("at: 2, data: [99, 100]"), "{seen:?}");
        assert_eq!((seen[4].0, seen[4].1), (13, 15), "{seen:?}");
        for unknown in [
            format!("7 fallocate(3<{file}>, 0, 0, 9) = 0"),
            format!("7 mmap(NULL, 9, PROT_WRITE, MAP_SHARED, 3<{file}>, 0) = 0x7f"),
            format!("7 fcntl(3<{file}>, F_DUPFD_CLOEXEC, 3) = 4<{file}>"),
        ] {
            let text = format!("{open}\n{unknown}");
            let read = std::panic::catch_unwind(|| read(&text, Path::new("/q"), 0));
            assert!(read.is_err(), "{unknown}");
        }
        // A kill during a write: nobody knows. During a sync: it changes nothing.
        let torn = format!("7 write(3<{file}>, \"{}\", 2 <unfinished ...>", hex("ef"));
        let text = format!("{open}\n{torn}\n7 +++ killed by SIGKILL +++");
        let told = read(&text, Path::new("/q"), 0).unwrap_err();
        assert!(told.0.starts_with("write("), "{told:?}");
        let text = format!("{open}\n{sync}\n7 +++ killed by SIGKILL +++");
        assert!(read(&text, Path::new("/q"), 0).is_ok());
    }
}
