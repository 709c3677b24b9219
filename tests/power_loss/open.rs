//! Opens an image as the daemon would, and tells all that can be seen of it from outside.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use pinrelay::clock::Clock;
use pinrelay::clock::Millis;
use pinrelay::queue::{
    self, BlockBuilder, Census, Entry, Folder, Options, Queue, QueueError, Receipt, Storage,
};

use crate::disk::Image;

/// What a start does with an image.
#[derive(Debug)]
pub struct Found {
    pub census: Census,
    /// Everything claimable, by messageId: body and the name it was sent under.
    pub claims: BTreeMap<String, Vec<(String, Option<String>)>>,
    /// The answer when a first line comes again; not asked for an id with several lines.
    pub again: BTreeMap<String, Receipt>,
    /// The answer to other bytes under the id, asked of what is not claimable.
    pub other: BTreeMap<String, Receipt>,
    /// What recovery put into `quarantine/`.
    pub quarantine: Vec<String>,
    /// What `verify` found before any start.
    pub verify: Vec<String>,
}

/// What `verify` says of the image as it is. It works on copies of stores, but makes folders for
/// them: on an image of its own.
fn verify(image: &Image, root: &Path, now: Millis) -> Result<Vec<String>, String> {
    image.lay(root);
    let verdict = queue::verify(&options(root), &Clock::manual(now), &mut |_| {});
    std::fs::remove_dir_all(root).map_err(|e| e.to_string())?;
    let verdict = verdict.map_err(|e| format!("verify: {e}"))?;
    Ok(verdict
        .findings
        .iter()
        .map(|f| format!("{}: {}", f.object, f.what))
        .collect())
}

/// A claim that takes longer never ends.
const PATIENCE: Duration = Duration::from_secs(20);

async fn claim_all(queue: &Queue) -> Result<Vec<Entry>, String> {
    let turn = queue.turn().await.map_err(|e| format!("turn: {e}"))?;
    let mut entries = Vec::new();
    while queue.census().queued > entries.len() as u64 {
        let claim = tokio::time::timeout(PATIENCE, turn.claim(1000, 64 << 20)).await;
        match claim {
            Ok(Ok(more)) => entries.extend(more),
            Ok(Err(error)) => return Err(format!("claim: {error}")),
            Err(_) => {
                return Err(format!(
                    "{} of {} queued events can be claimed",
                    entries.len(),
                    queue.census().queued
                ));
            }
        }
    }
    Ok(entries)
}

async fn put(
    queue: &Queue,
    now: Millis,
    lines: impl Iterator<Item = (&String, String)>,
) -> Result<BTreeMap<String, Receipt>, QueueError> {
    let lines: Vec<_> = lines.collect();
    let mut receipts = BTreeMap::new();
    for lines in lines.chunks(100) {
        let mut block = BlockBuilder::new(queue.hasher(), now);
        for (id, line) in lines {
            block.push(id, now / 1000, line.as_bytes());
        }
        let told = queue.enqueue(block.finish()).await?.receipts().await?;
        receipts.extend(lines.iter().map(|(id, _)| (*id).clone()).zip(told));
    }
    Ok(receipts)
}

fn options(root: &Path) -> Options {
    let mut options = Options::new(Storage::Folder(Folder {
        min_free: 0,
        ..Folder::new(root)
    }));
    options.dead_max_bytes = 16 << 20;
    options
}

fn open(root: &Path, now: Millis) -> Result<Queue, String> {
    queue::open(&options(root), Clock::manual(now))
        .map(|opened| opened.queue)
        .map_err(|error| error.to_string())
}

/// Lays the image down at `root` and opens it twice. `lines`: every id with its lines.
pub fn open_image(
    image: &Image,
    root: &Path,
    now: Millis,
    lines: &BTreeMap<String, Vec<String>>,
) -> Result<Found, String> {
    let verify = verify(image, &root.with_extension("verify"), now)?;
    image.lay(root);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let queue = open(root, now)?;
        let census = queue.census();
        let mut claims: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for entry in claim_all(&queue).await? {
            let body = String::from_utf8_lossy(&entry.body).into_owned();
            let line: serde_json::Value =
                serde_json::from_str(&body).map_err(|e| format!("a body: {e}"))?;
            let id = line["messageId"].as_str().unwrap_or_default().to_owned();
            let name = entry.sent_as.map(|name| name.to_string());
            claims.entry(id).or_default().push((body, name));
        }
        queue.close().await.map_err(|e| format!("close: {e}"))?;
        let kept = std::fs::read_dir(root.join("quarantine")).map_err(|e| e.to_string())?;
        let quarantine = kept
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();

        let queue = open(root, now).map_err(|e| format!("a second start: {e}"))?;
        if queue.census() != census {
            return Err(format!(
                "a second start counts {:?} after {census:?}",
                queue.census()
            ));
        }
        let single = lines.iter().filter(|(_, lines)| lines.len() == 1);
        let same = single.map(|(id, lines)| (id, lines[0].clone()));
        let again = put(&queue, now, same).await.map_err(|e| e.to_string())?;
        let settled = lines.keys().filter(|id| {
            !claims.contains_key(*id) && again.get(*id).is_none_or(|r| *r == Receipt::Duplicate)
        });
        let strange = settled.map(|id| (id, format!("{{\"messageId\":\"{id}\"}}")));
        let other = put(&queue, now, strange).await.map_err(|e| e.to_string())?;
        let imbalance = queue.census().imbalance();
        if imbalance != 0 {
            return Err(format!("an imbalance of {imbalance} after more events"));
        }
        queue.close().await.map_err(|e| format!("close: {e}"))?;
        Ok(Found {
            census,
            claims,
            again,
            other,
            quarantine,
            verify,
        })
    })
}
