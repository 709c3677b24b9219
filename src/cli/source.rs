//! What a command reads lines from: files that are named, or stdin.
//!
//! Invariant: what is handed on is the text itself. gzip is known by its first bytes, whatever the
//! name, and a byte order mark is left out and told; UTF-16 is an error, since each of its lines
//! would be rejected and none would say why.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};
use flate2::read::MultiGzDecoder;

use crate::event::BYTE_ORDER_MARK;

/// How gzip begins.
const GZIP: &[u8] = b"\x1f\x8b";
/// How UTF-16 begins, with either order of its bytes.
const UTF_16: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];
/// The longest of these.
const LONGEST_MARK: usize = 3;

/// A file that is open, or stdin.
pub(super) struct Source {
    /// How people know it: its path, or `stdin`.
    pub name: String,
    /// Bytes on disk, of a plain file.
    pub size: Option<u64>,
    bytes: Box<dyn Read + Send>,
}

impl Source {
    /// Opens a file; `-` is stdin.
    ///
    /// # Errors
    /// It cannot be opened, or is a folder.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self {
                name: "stdin".to_owned(),
                size: None,
                bytes: Box::new(io::stdin()),
            });
        }
        let name = path.display().to_string();
        let context = || format!("cannot read {name}");
        let file = File::open(path).with_context(context)?;
        let about = file.metadata().with_context(context)?;
        if about.is_dir() {
            bail!("cannot read {name}: it is a folder; name the files in it");
        }
        Ok(Self {
            size: about.is_file().then_some(about.len()),
            bytes: Box::new(file),
            name,
        })
    }

    /// Opens all of them before any is read; none is stdin alone.
    ///
    /// # Errors
    /// Of the first that cannot be opened.
    pub fn open_all(paths: &[PathBuf]) -> anyhow::Result<Vec<Self>> {
        if paths.is_empty() {
            return Ok(vec![Self::open(Path::new("-"))?]);
        }
        paths.iter().map(|path| Self::open(path)).collect()
    }

    /// Its text. `read` grows by the bytes that were read of it, packed ones as they are; `tell`
    /// hears what a person should know of it.
    pub fn text(self, read: Arc<AtomicU64>, tell: impl Fn(&str) + Send + 'static) -> Text {
        let bytes = Counted {
            bytes: self.bytes,
            read,
        };
        Text {
            name: self.name,
            unknown: Some(bytes),
            text: Box::new(io::empty()),
            is_gzip: false,
            tell: Box::new(tell),
        }
    }
}

/// Counts what is read.
struct Counted {
    bytes: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.bytes.read(buf)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// The text of a [`Source`]. Nothing is read of it before it is asked for.
pub(super) struct Text {
    name: String,
    /// Until its first bytes say what it is.
    unknown: Option<Counted>,
    text: Box<dyn Read + Send>,
    is_gzip: bool,
    tell: Box<dyn Fn(&str) + Send>,
}

impl Read for Text {
    /// # Errors
    /// The system's; [`io::ErrorKind::InvalidData`] with what to do for what is no UTF-8 text and
    /// for gzip that is damaged or cut short.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if let Some(bytes) = self.unknown.take() {
            self.begin(bytes)?;
        }
        let read = self.text.read(buf);
        read.map_err(|error| self.in_words(error))
    }
}

impl Text {
    fn begin(&mut self, mut bytes: Counted) -> io::Result<()> {
        let began = head(&mut bytes)?;
        if !began.starts_with(GZIP) {
            return self.begin_text(began, bytes);
        }
        self.is_gzip = true;
        let mut unpacked = MultiGzDecoder::new(Cursor::new(began).chain(bytes));
        let began = head(&mut unpacked).map_err(|error| self.in_words(error))?;
        self.begin_text(began, unpacked)
    }

    fn begin_text(&mut self, head: Vec<u8>, rest: impl Read + Send + 'static) -> io::Result<()> {
        if UTF_16.iter().any(|mark| head.starts_with(mark)) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it is UTF-16, and events are read as UTF-8: `iconv -f UTF-16 -t UTF-8` makes that \
                 of it",
            ));
        }
        let head = match head.strip_prefix(BYTE_ORDER_MARK) {
            Some(head) => {
                (self.tell)(&format!(
                    "{} begins with a byte order mark (BOM), which is left out",
                    self.name
                ));
                head.to_vec()
            }
            None => head,
        };
        self.text = Box::new(Cursor::new(head).chain(rest));
        Ok(())
    }

    /// What the unpacking says in its own way.
    fn in_words(&self, error: io::Error) -> io::Error {
        let what = match error.kind() {
            _ if !self.is_gzip || error.raw_os_error().is_some() => return error,
            io::ErrorKind::Interrupted => return error,
            io::ErrorKind::UnexpectedEof => {
                "its gzip data is cut short: it was not written or copied to its end".to_owned()
            }
            _ => format!("its gzip data is damaged ({error}); `gzip -t` tests a copy of it"),
        };
        io::Error::new(io::ErrorKind::InvalidData, what)
    }
}

/// The first bytes, as far as it takes them to know what it is: whoever feeds a pipe slowly is not
/// waited for.
fn head(bytes: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(LONGEST_MARK);
    let marks = [GZIP, BYTE_ORDER_MARK, UTF_16[0], UTF_16[1]];
    let begins = |head: &[u8]| {
        let mut longer = marks.iter().filter(|mark| mark.len() > head.len());
        longer.any(|mark| mark.starts_with(head))
    };
    while begins(&head) {
        let mut buffer = [0; LONGEST_MARK];
        match bytes.read(&mut buffer[head.len()..]) {
            Ok(0) => break,
            Ok(n) => {
                let from = head.len();
                head.extend_from_slice(&buffer[from..from + n]);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// Gives one byte at a time.
    struct Slow(Vec<u8>, usize);

    impl Read for Slow {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let Some(byte) = self.0.get(self.1).filter(|_| !buf.is_empty()) else {
                return Ok(0);
            };
            buf[0] = *byte;
            self.1 += 1;
            Ok(1)
        }
    }

    /// What is read up to the end or an error, that, and what was told.
    fn text(bytes: &[u8]) -> (Vec<u8>, Option<String>, String) {
        let source = Source {
            name: "events".into(),
            size: None,
            bytes: Box::new(Slow(bytes.to_vec(), 0)),
        };
        let told = Arc::new(Mutex::new(String::new()));
        let read = Arc::new(AtomicU64::new(0));
        let telling = told.clone();
        let tell = move |said: &str| telling.lock().unwrap().push_str(said);
        let mut text = Vec::new();
        let end = source.text(read.clone(), tell).read_to_end(&mut text);
        let end = end.err().map(|error| error.to_string());
        if end.is_none() {
            assert_eq!(read.load(Ordering::Relaxed), bytes.len() as u64);
        }
        let told = told.lock().unwrap().clone();
        (text, end, told)
    }

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn text_is_as_it_is_whatever_it_begins_with() {
        for plain in [
            &b""[..],
            b"{",
            b"{}\n",
            b"\x1f",
            b"\xef\xbb",
            b"\xff",
            b"\n\xef\xbb\xbf",
        ] {
            assert_eq!(text(plain), (plain.to_vec(), None, String::new()));
        }
    }

    #[test]
    fn gzip_is_unpacked_in_all_its_members() {
        let two = [packed(b"a\n"), packed(b"b\n")].concat();
        assert_eq!(text(&two).0, b"a\nb\n");
        let (all, end, told) = text(&packed(b"\xef\xbb\xbfa\n"));
        assert_eq!((&all[..], end), (&b"a\n"[..], None));
        assert!(told.contains("byte order mark"), "{told}");
    }

    #[test]
    fn what_was_whole_comes_before_what_is_damaged() {
        let lines: String = (0..20_000).map(|i| format!("line {i}\n")).collect();
        let whole = packed(lines.as_bytes());
        let (read, end, _) = text(&whole[..whole.len() / 2]);
        assert!(!read.is_empty() && lines.as_bytes().starts_with(&read));
        assert!(end.is_some_and(|end| end.contains("cut short")));
        let mut damaged = whole.clone();
        let at = damaged.len() - 6;
        damaged[at] ^= 1;
        let (read, end, _) = text(&damaged);
        assert_eq!(read, lines.as_bytes());
        assert!(end.is_some_and(|end| end.contains("damaged")));
    }

    #[test]
    fn utf_16_is_refused_with_what_to_do() {
        for utf_16 in [&b"\xff\xfe{\0}\0"[..], b"\xfe\xff\0{\0}"] {
            for bytes in [utf_16.to_vec(), packed(utf_16)] {
                let (read, end, _) = text(&bytes);
                assert!(read.is_empty());
                assert!(end.is_some_and(|end| end.contains("`iconv -f UTF-16 -t UTF-8`")));
            }
        }
    }
}
