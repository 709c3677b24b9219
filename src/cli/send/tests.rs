//! `send` against a socket of the test's own.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc;
use std::thread::JoinHandle;

use tempfile::TempDir;

use super::*;

struct Server {
    listener: UnixListener,
    folder: TempDir,
}

/// The server's side of one connection.
struct Peer {
    lines: BufReader<UnixStream>,
}

impl Server {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("s")).expect("a socket");
        Self { listener, folder }
    }

    fn accept(&self) -> Peer {
        let (stream, _) = self.listener.accept().expect("a connection");
        Peer {
            lines: BufReader::new(stream),
        }
    }

    fn send(&self, source: impl Read + Send + 'static) -> Sent {
        send_to(
            self.folder.path().join("s"),
            source,
            Duration::from_secs(10),
        )
    }
}

fn send_to(socket: PathBuf, source: impl Read + Send + 'static, patience: Duration) -> Sent {
    thread::spawn(move || {
        let window = Arc::new(Window::default());
        let sending = Sending {
            sources: vec![source],
            socket: &socket,
            assign_ids: false,
            patience,
            followed: None,
            window: window.clone(),
            bar: Bar::hidden(),
        };
        let end = sending.run(&teller());
        (window.tally(), end)
    })
}

type Sent = JoinHandle<(Tally, Result<(), Failure>)>;

fn teller() -> Teller {
    Teller {
        names: Arc::new(["in".to_owned()]),
        ..Teller::of_text()
    }
}

impl Peer {
    /// The next line without its end; empty at the end of the stream.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    fn answer(&mut self, text: &str) {
        let mut line = text.to_owned();
        line.push('\n');
        self.lines
            .get_mut()
            .write_all(line.as_bytes())
            .expect("written");
    }

    fn queued(&mut self, id: &str) {
        self.answer(&format!(r#"{{"status":"queued","messageId":"{id}"}}"#));
    }
}

fn ended(handle: Sent) -> Tally {
    let (tally, end) = handle.join().expect("no panic");
    end.expect("all answered");
    tally
}

/// Lines as they are fed, one piece per message.
struct Fed(mpsc::Receiver<&'static str>);

impl Read for Fed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Ok(text) = self.0.recv() else {
            return Ok(0);
        };
        buf[..text.len()].copy_from_slice(text.as_bytes());
        Ok(text.len())
    }
}

#[test]
fn every_answer_is_counted_and_rejects_are_told_by_line() {
    let server = Server::new();
    let sending = server.send(&b"a\n\nb\r\n \nc\nd\ne"[..]);
    let mut peer = server.accept();
    let lines: Vec<String> = (0..5).map(|_| peer.line()).collect();
    assert_eq!(lines, ["a", "b", "c", "d", "e"]);
    peer.queued("a");
    peer.answer(r#"{"status":"duplicate","messageId":"b"}"#);
    peer.answer(r#"{"status":"rejected","line":3,"error":"not JSON"}"#);
    peer.answer(r#"{"status":"ignored","messageId":"d","reason":"identify"}"#);
    peer.answer(r#"{"status":"rejected","line":5,"error":"no type"}"#);
    let tally = ended(sending);
    assert_eq!(
        (tally.queued, tally.duplicate, tally.ignored, tally.rejected),
        (1, 1, 1, 2)
    );
    // Numbers of the input's lines, not of the connection's.
    assert_eq!(
        teller().summary(&tally),
        "5 answered: 1 queued, 1 duplicate, 1 ignored, 2 rejected\n  in:5: not JSON\n  \
         in:7: no type\n"
    );
}

#[test]
fn a_summary_stops_after_ten_rejects() {
    let server = Server::new();
    let sending = server.send(&[b'x', b'\n'].repeat(13)[..].to_vec().leak()[..]);
    let mut peer = server.accept();
    for _ in 0..13 {
        peer.line();
        peer.answer(r#"{"status":"rejected","line":1,"error":"no"}"#);
    }
    let text = teller().summary(&ended(sending));
    assert_eq!(text.lines().count(), 12, "{text}");
    assert!(text.ends_with("  in:10: no\n  and 3 more\n"), "{text}");
}

#[test]
fn only_what_is_unanswered_is_sent_again() {
    let server = Server::new();
    let sending = server.send(&b"a\nb\nc\nd\n"[..]);
    let mut first = server.accept();
    assert_eq!(first.line(), "a");
    first.queued("a");
    first.queued("b");
    // Half an answer proves nothing.
    first
        .lines
        .get_mut()
        .write_all(br#"{"status":"queued","#)
        .expect("written");
    drop(first);
    let mut second = server.accept();
    assert_eq!((second.line(), second.line()), ("c".into(), "d".into()));
    second.queued("c");
    second.queued("d");
    assert_eq!(ended(sending).queued, 4);
}

#[test]
fn a_daemon_that_reads_no_further_still_gives_its_answers() {
    let server = Server::new();
    // More than the socket holds, so that the writer is still at it.
    let lines = "x".repeat(999) + "\n";
    let sending = server.send(lines.repeat(2000).into_bytes().leak() as &[u8]);
    let mut first = server.accept();
    for _ in 0..10 {
        first.line();
    }
    first
        .lines
        .get_ref()
        .shutdown(std::net::Shutdown::Read)
        .expect("shut");
    for _ in 0..10 {
        first.queued("x");
    }
    drop(first);
    let mut second = server.accept();
    for _ in 0..1990 {
        assert_eq!(second.line().len(), 999);
        second.queued("x");
    }
    assert_eq!(ended(sending).queued, 2000);
}

#[test]
fn unavailable_lines_come_again_later() {
    let server = Server::new();
    let sending = server.send(&b"a\nb\nc\n"[..]);
    let mut peer = server.accept();
    for _ in 0..3 {
        peer.line();
    }
    peer.answer(r#"{"status":"unavailable","error":"disk"}"#);
    peer.queued("b");
    peer.answer(r#"{"status":"unavailable","error":"disk"}"#);
    assert_eq!((peer.line(), peer.line()), ("a".into(), "c".into()));
    peer.queued("a");
    peer.queued("c");
    assert_eq!(ended(sending).queued, 3);
}

#[test]
fn lines_that_wait_to_come_again_go_before_new_ones() {
    let window = Window::default();
    let piece = |text: &'static str| {
        let piece = Input::new(vec![text.as_bytes()], false).next();
        piece.expect("no error").expect("a piece")
    };
    let next = || {
        let (chunk, from) = window.next_to_write().expect("something");
        String::from_utf8_lossy(&chunk.bytes[from..]).into_owned()
    };
    window.push(piece("a\n"));
    assert_eq!(next(), "a\n");
    window.push(piece("b\n"));
    window
        .settle(b"{\"status\":\"unavailable\"}\n")
        .expect("an answer");
    assert!(window.is_short());
    assert_eq!(next(), "a\n");
    assert_eq!(next(), "b\n");
    let left = window.unanswered();
    assert_eq!((left.lines, left.sent), (2, 2));
    assert_eq!(left.first.map(|at| at.number), Some(1));
}

#[test]
fn lines_that_wait_to_come_again_survive_a_broken_connection() {
    let server = Server::new();
    let sending = server.send(&b"a\nb\n"[..]);
    let mut first = server.accept();
    first.line();
    first.line();
    first.answer(r#"{"status":"unavailable","error":"disk"}"#);
    drop(first);
    let mut second = server.accept();
    for line in ["b", "a"] {
        assert_eq!(second.line(), line);
        second.queued(line);
    }
    assert_eq!(ended(sending).queued, 2);
}

#[test]
fn a_slow_input_is_sent_as_it_comes_and_ends_by_itself() {
    let server = Server::new();
    let (feed, fed) = mpsc::channel();
    let sending = server.send(Fed(fed));
    feed.send("a\nb").expect("fed");
    let mut peer = server.accept();
    assert_eq!(peer.line(), "a");
    peer.queued("a");
    feed.send("b\n").expect("fed");
    assert_eq!(peer.line(), "bb");
    peer.queued("bb");
    // A connection that breaks while nothing is unanswered is no failure.
    drop(peer);
    feed.send("c\n").expect("fed");
    let mut peer = server.accept();
    assert_eq!(peer.line(), "c");
    peer.queued("c");
    drop(feed);
    assert_eq!(ended(sending).queued, 3);
}

#[test]
fn nothing_to_send_needs_no_daemon() {
    let nowhere = PathBuf::from("/nowhere/s");
    let sending = send_to(nowhere, &b"\n\n"[..], Duration::ZERO);
    assert_eq!(ended(sending), Tally::default());
}

#[test]
fn a_daemon_that_is_not_there_is_named_with_what_is_left() {
    let nowhere = PathBuf::from("/nowhere/s");
    let sending = send_to(nowhere, &b"\nx\ny\n"[..], Duration::from_millis(100));
    let (_, end) = sending.join().expect("no panic");
    let failure = end.expect_err("no daemon");
    assert_eq!(failure.exit, Exit::Unavailable);
    let said = failure.to_string();
    assert!(
        said.contains("2 of the lines read have no answer, in:2 first; none of them was sent"),
        "{said}"
    );
    assert!(said.contains("/nowhere/s"), "{said}");
}

#[test]
fn a_daemon_without_room_is_told_apart() {
    let server = Server::new();
    let socket = server.folder.path().join("s");
    let sending = send_to(socket, &b"x\n"[..], Duration::from_millis(800));
    let mut peer = server.accept();
    for _ in 0..2 {
        assert_eq!(peer.line(), "x");
        peer.answer(r#"{"status":"unavailable","error":"disk"}"#);
    }
    let (_, end) = sending.join().expect("no panic");
    let failure = end.expect_err("no room");
    assert_eq!(failure.exit, Exit::Unavailable);
    assert!(failure.to_string().contains("disk is full"), "{failure}");
}

#[test]
fn another_program_on_the_socket_is_told_apart() {
    for odd in [
        "HTTP/1.1 400 Bad Request\n",
        "{\"status\":\"queued\",\"messageId\":\"\"}\n"
            .repeat(2)
            .leak(),
    ] {
        let server = Server::new();
        let sending = server.send(&b"x\n"[..]);
        let mut peer = server.accept();
        peer.line();
        peer.lines
            .get_mut()
            .write_all(odd.as_bytes())
            .expect("written");
        let (tally, end) = sending.join().expect("no panic");
        // The second answer to one line may come too late to be seen.
        match end {
            Err(failure) => assert_eq!(failure.exit, Exit::Unavailable),
            Ok(()) => assert_eq!(tally.queued, 1),
        }
    }
}

#[test]
fn many_lines_pass_with_bounded_memory_and_in_order() {
    const LINES: usize = 200_000;
    let server = Server::new();
    let text: String = (0..LINES)
        .map(|i| format!("{i}{}\n", " ".repeat(200)))
        .collect();
    let sending = server.send(io::Cursor::new(text));
    let mut peer = server.accept();
    let mut answers = Vec::new();
    for i in 0..LINES {
        assert_eq!(peer.line(), i.to_string());
        answers.extend_from_slice(b"{\"status\":\"queued\",\"messageId\":\"x\"}\n");
        if i % 1000 == 999 {
            peer.lines.get_mut().write_all(&answers).expect("written");
            answers.clear();
        }
    }
    assert_eq!(ended(sending).queued, LINES as u64);
}
