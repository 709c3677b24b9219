//! A request's body, whole, within limits that all bodies share.
//!
//! Invariant: no byte of a body is kept that the shared room was not asked for, and a body that does
//! not come on ends; so clients that send much, or slowly, or a little that unpacks to much, cost no
//! other one its memory. What is made of a body is bounded by its own limits (`call`).

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{BodyDataStream, Bytes};
use axum::http::{HeaderMap, header};
use flate2::read::MultiGzDecoder;
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::stop::Stopped;

/// What all bodies of one room may take at once, packed and unpacked.
pub(super) const ROOM: usize = 64 << 20;
/// How long one may take to come.
const WITHIN: Duration = Duration::from_secs(30);
/// How much of a body that is not taken is read all the same, and for how long.
const MOST_DISCARDED: usize = 64 << 20;
const DISCARDED_WITHIN: Duration = Duration::from_secs(5);
const AT_A_STOP: Duration = Duration::from_millis(500);
/// Unpacked at once.
const STEP: usize = 64 << 10;
/// The least that is asked for: most bodies need no more.
const LEAST: usize = 4 << 10;

/// Why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It is longer than this, as it comes or unpacked.
    TooLong(usize),
    /// It did not come on.
    Slow,
    /// The client broke off.
    Broken,
    /// It is no gzip.
    NoGzip,
    /// Others take all the room.
    NoRoom,
}

/// A body, and the room that it takes.
pub(super) struct Whole {
    pub bytes: Bytes,
    _room: Vec<OwnedSemaphorePermit>,
}

/// A room for bodies.
pub(super) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(ROOM))
}

/// A body as it comes.
pub(super) type Parts = BodyDataStream;

/// Lets the rest of a body go, for many clients read no answer before they have sent all: to them
/// a connection that is closed early is no answer at all, and they send the same again.
pub(super) async fn discard(parts: &mut Parts, headers: &HeaderMap, mut stopped: Stopped) {
    // Whoever asks first has sent nothing yet, and reads.
    if headers.contains_key(header::EXPECT) {
        return;
    }
    let rest = async {
        let mut left = MOST_DISCARDED;
        while let Some(Ok(part)) = parts.next().await {
            left = left.saturating_sub(part.len());
            if left == 0 {
                return;
            }
        }
    };
    // One that sends slowly, or for ever, is closed on; at a stop sooner.
    let over = async {
        stopped.wait().await;
        tokio::time::sleep(AT_A_STOP).await;
    };
    tokio::select! {
        _ = tokio::time::timeout(DISCARDED_WITHIN, rest) => {}
        () = over => {}
    }
}

/// Reads a body of at most `limit` bytes, unpacked.
///
/// # Errors
/// [`Trouble`].
pub(super) async fn read(
    parts: &mut Parts,
    is_gzip: bool,
    limit: usize,
    room: &Arc<Semaphore>,
) -> Result<Whole, Trouble> {
    let mut share = Share {
        room,
        held: Vec::new(),
        left: 0,
    };
    let packed = tokio::time::timeout(WITHIN, packed(parts, limit, &mut share));
    let packed = packed.await.map_err(|_| Trouble::Slow)??;
    let bytes = match is_gzip {
        false => packed,
        true => unpacked(&packed, limit, &mut share)?.into(),
    };
    Ok(Whole {
        bytes,
        _room: share.held,
    })
}

async fn packed(parts: &mut Parts, limit: usize, share: &mut Share<'_>) -> Result<Bytes, Trouble> {
    let mut first = Bytes::new();
    let mut all = Vec::new();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|_| Trouble::Broken)?;
        if first.len() + all.len() + part.len() > limit {
            return Err(Trouble::TooLong(limit));
        }
        share.take(part.len())?;
        // Most come in one piece, which needs no copy.
        if first.is_empty() && all.is_empty() {
            first = part;
            continue;
        }
        all.extend_from_slice(&std::mem::take(&mut first));
        all.extend_from_slice(&part);
    }
    Ok(match all.is_empty() {
        true => first,
        false => all.into(),
    })
}

fn unpacked(packed: &[u8], limit: usize, share: &mut Share<'_>) -> Result<Vec<u8>, Trouble> {
    let mut decoder = MultiGzDecoder::new(packed);
    let mut all = Vec::new();
    loop {
        let before = all.len();
        let step = STEP.min(limit + 1 - before);
        share.take(step)?;
        let read = io::copy(&mut decoder.by_ref().take(step as u64), &mut all);
        read.map_err(|_| Trouble::NoGzip)?;
        if all.len() > limit {
            return Err(Trouble::TooLong(limit));
        }
        if all.len() == before {
            return Ok(all);
        }
    }
}

/// What one body holds of the room.
struct Share<'r> {
    room: &'r Arc<Semaphore>,
    held: Vec<OwnedSemaphorePermit>,
    /// Held and not used.
    left: usize,
}

impl Share<'_> {
    fn take(&mut self, bytes: usize) -> Result<(), Trouble> {
        if bytes > self.left {
            let more = (bytes - self.left).max(LEAST) as u32;
            let permit = self.room.clone().try_acquire_many_owned(more);
            self.held.push(permit.map_err(|_| Trouble::NoRoom)?);
            self.left += more as usize;
        }
        self.left -= bytes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use axum::body::Body;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    async fn read_of(bytes: Vec<u8>, is_gzip: bool, limit: usize) -> Result<Vec<u8>, Trouble> {
        let room = room();
        let mut parts = Body::from(bytes).into_data_stream();
        let read = read(&mut parts, is_gzip, limit, &room).await;
        let read = read.map(|whole| whole.bytes.to_vec());
        assert_eq!(room.available_permits(), ROOM, "all is given back");
        read
    }

    #[tokio::test]
    async fn a_body_comes_whole_up_to_its_limit_packed_or_not() {
        let text = vec![b'x'; 200_000];
        assert_eq!(
            read_of(text.clone(), false, 200_000).await,
            Ok(text.clone())
        );
        assert_eq!(read_of(gzip(&text), true, 200_000).await, Ok(text.clone()));
        let long = Err(Trouble::TooLong(199_999));
        assert_eq!(read_of(text.clone(), false, 199_999).await, long);
        assert_eq!(read_of(gzip(&text), true, 199_999).await, long);
        assert_eq!(read_of(text, true, 300_000).await, Err(Trouble::NoGzip));
        assert_eq!(read_of(Vec::new(), false, 10).await, Ok(Vec::new()));
        let two = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(read_of(two, true, 100).await, Ok(b"one two".to_vec()));
        let cut = gzip(&vec![b'x'; 5000]);
        assert_eq!(
            read_of(cut[..cut.len() - 4].to_vec(), true, 10_000).await,
            Err(Trouble::NoGzip)
        );
    }

    #[tokio::test]
    async fn a_little_that_unpacks_to_much_takes_no_more_than_its_limit() {
        let bomb = gzip(&vec![0; 64 << 20]);
        assert!(bomb.len() < 100_000);
        assert_eq!(
            read_of(bomb, true, 1 << 20).await,
            Err(Trouble::TooLong(1 << 20))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_come_on_ends_and_gives_its_room_back() {
        let room = room();
        let parts = futures_util::stream::once(async { Ok::<_, io::Error>(Bytes::from("{")) })
            .chain(futures_util::stream::pending());
        let mut parts = Body::from_stream(parts).into_data_stream();
        let read = read(&mut parts, false, 100, &room).await;
        assert_eq!(read.err(), Some(Trouble::Slow));
        assert_eq!(room.available_permits(), ROOM);
    }

    #[tokio::test]
    async fn without_room_it_is_told_at_once() {
        let room = Arc::new(Semaphore::new(LEAST));
        let body = || Body::from("{}").into_data_stream();
        let first = read(&mut body(), false, 100, &room).await.ok();
        let second = read(&mut body(), false, 100, &room).await;
        assert_eq!(second.err(), Some(Trouble::NoRoom));
        drop(first);
        assert!(read(&mut body(), false, 100, &room).await.is_ok());
    }
}
