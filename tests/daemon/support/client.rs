//! A client of the ingest socket, blocking, line by line.

use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{LOOK, Sample, s};

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer(pub Value);

impl Answer {
    pub fn status(&self) -> &str {
        self.0["status"].as_str().unwrap_or_default()
    }

    pub fn message_id(&self) -> &str {
        self.0["messageId"].as_str().unwrap_or_default()
    }

    pub fn error(&self) -> &str {
        self.0["error"].as_str().unwrap_or_default()
    }
}

pub struct Client {
    write: UnixStream,
    read: BufReader<UnixStream>,
}

impl Client {
    pub fn connect(socket: &Path) -> Self {
        Self::try_connect(socket).unwrap_or_else(|e| panic!("{}: {e}", socket.display()))
    }

    pub fn try_connect(socket: &Path) -> io::Result<Self> {
        let write = UnixStream::connect(socket)?;
        write.set_read_timeout(Some(s(30)))?;
        write.set_write_timeout(Some(s(30)))?;
        let read = BufReader::with_capacity(1 << 16, write.try_clone()?);
        Ok(Self { write, read })
    }

    /// For a thread of its own.
    pub fn writer(&self) -> UnixStream {
        self.write.try_clone().expect("a second handle")
    }

    /// How long to wait for an answer.
    pub fn patience(&mut self, limit: Duration) {
        self.write
            .set_read_timeout(Some(limit))
            .expect("a time-out");
    }

    /// Writes bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write.write_all(bytes)
    }

    /// Sends one line and waits for its answer.
    pub fn ask(&mut self, line: &str) -> Answer {
        self.write(format!("{line}\n").as_bytes()).expect("written");
        self.answer().expect("an answer")
    }

    /// The next answer; an error also at the end of the stream.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let line = self.answer_line()?;
        Ok(Answer(serde_json::from_str(&line).expect(&line)))
    }

    /// The same as it is written, without its line feed.
    pub fn answer_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.read.read_line(&mut line)?;
        // What breaks off is no answer.
        let whole = line.strip_suffix('\n');
        let whole = whole.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        Ok(whole.to_owned())
    }

    /// No more lines; every answer that is left.
    pub fn finish(mut self) -> Vec<Answer> {
        self.write.shutdown(Shutdown::Write).expect("half-closed");
        let mut answers = Vec::new();
        loop {
            match self.answer() {
                Ok(answer) => answers.push(answer),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return answers,
                Err(e) => panic!("after {} answers: {e}", answers.len()),
            }
        }
    }

    /// Sends all, reads the answers meanwhile; they stand in the order of the samples.
    pub fn send(socket: &Path, samples: &[Sample]) -> Vec<Answer> {
        let mut client = Self::connect(socket);
        let mut write = client.write.try_clone().expect("a second handle");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut text = String::new();
                for samples in samples.chunks(256) {
                    text.clear();
                    for sample in samples {
                        text.push_str(&sample.line);
                        text.push('\n');
                    }
                    write.write_all(text.as_bytes()).expect("written");
                }
                write.shutdown(Shutdown::Write).expect("half-closed");
            });
            let answers: Vec<_> = (samples.iter())
                .map(|sample| {
                    let answer = client.answer().expect("an answer");
                    assert_eq!(answer.message_id(), sample.id);
                    answer
                })
                .collect();
            assert!(client.answer().is_err(), "more answers than lines");
            answers
        })
    }

    /// Sends a few; their answers, whatever they are.
    pub fn send_any(socket: &Path, samples: &[Sample]) -> Vec<Answer> {
        let mut client = Self::connect(socket);
        samples
            .iter()
            .map(|sample| client.ask(&sample.line))
            .collect()
    }

    /// Sends all; each has to be new.
    pub fn queue(socket: &Path, samples: &[Sample]) {
        for answer in Self::send(socket, samples) {
            assert_eq!(answer.status(), "queued", "{answer:?}");
        }
    }
}

/// Delivers samples to a daemon that dies now and then: at most `window` lines unanswered, and
/// what is unanswered when the connection breaks is sent again. Each answer counts in
/// `answered`. How many of them were `duplicate`: lines that had been stored and whose answer
/// was lost.
pub fn deliver_all(
    socket: &Path,
    samples: &[Sample],
    window: usize,
    answered: &AtomicUsize,
    patience: Duration,
) -> usize {
    let (mut done, mut duplicates) = (0, 0);
    let mut heard = Instant::now();
    while done < samples.len() {
        assert!(heard.elapsed() < patience, "{done} of {}", samples.len());
        let Ok(mut client) = Client::try_connect(socket) else {
            std::thread::sleep(LOOK);
            continue;
        };
        let mut sent = done;
        'connected: while done < samples.len() {
            let text: String = (samples[sent..samples.len().min(done + window)].iter())
                .map(|sample| format!("{}\n", sample.line))
                .collect();
            if client.write(text.as_bytes()).is_err() {
                // Answers that are on their way still count.
                sent = samples.len();
            } else {
                sent = samples.len().min(done + window);
            }
            // Half a window at a time keeps the daemon busy meanwhile.
            for _ in 0..(sent - done).div_ceil(2) {
                match client.answer() {
                    Ok(answer) => {
                        assert_eq!(answer.message_id(), samples[done].id);
                        match answer.status() {
                            "queued" => {}
                            "duplicate" => duplicates += 1,
                            _ => panic!("{answer:?}"),
                        }
                        done += 1;
                        heard = Instant::now();
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(_) => break 'connected,
                }
            }
        }
    }
    duplicates
}
