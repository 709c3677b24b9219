//! What stands in the files of a queue.

use std::fs;
use std::io::Read as _;
use std::path::Path;

/// Whether the text stands in any file of the queue, packed or not.
pub fn is_stored(folder: &Path, text: &str) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| match entry.path() {
        path if path.is_dir() => is_stored(&path, text),
        path => fs::read(path).is_ok_and(|bytes| holds(&bytes, text)),
    })
}

fn holds(bytes: &[u8], text: &str) -> bool {
    const FRAME: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    let unpacked = memchr::memmem::find_iter(bytes, &FRAME).map(|at| {
        let mut plain = Vec::new();
        let frame = zstd::stream::Decoder::with_buffer(&bytes[at..]).expect("a decoder");
        // What is no frame ends in an error, with what was read before.
        let _ = frame.single_frame().read_to_end(&mut plain);
        plain
    });
    let mut all = std::iter::once(bytes.to_vec()).chain(unpacked);
    all.any(|bytes| memchr::memmem::find(&bytes, text.as_bytes()).is_some())
}
