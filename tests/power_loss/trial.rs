//! A trial: every cut's image is opened once, and judged at each cut that leaves it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::cuts::{self, Cut};
use crate::disk::{Disk, Image, LetterFilter};
use crate::judge;
use crate::open::{self, Found};
use crate::step::{Act, Step};
use crate::story::Story;

/// Images opened at a time.
const WORKERS: usize = 2;

/// Where images are laid: memory, if there is some, for an image's own syncs prove nothing.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = tempfile::Builder::new()
        .prefix("pinrelay-")
        .tempdir_in(memory);
    made.or_else(|_| tempfile::tempdir()).expect("a folder")
}

/// Every id with its lines.
fn lines(story: &Story) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    for (id, event) in &story.events {
        let mut lines: Vec<_> = event.lines.iter().map(|(_, line)| line.clone()).collect();
        lines.sort();
        lines.dedup();
        all.insert(id.clone(), lines);
    }
    all
}

/// Files of a folder below `quarantine/`, by their paths.
type Copy = BTreeMap<PathBuf, Arc<Vec<u8>>>;

fn copies_in(image: &Image) -> BTreeMap<PathBuf, Copy> {
    let mut copies: BTreeMap<PathBuf, Copy> = BTreeMap::new();
    for (path, content) in &image.0 {
        let folder: PathBuf = path.iter().take(2).collect();
        let is_copy = folder.extension().is_some_and(|e| e == "copy");
        if is_copy && folder.starts_with("quarantine") {
            let copy = copies.entry(folder).or_default();
            copy.extend(content.clone().map(|content| (path.clone(), content)));
        }
    }
    copies
}

/// Every copy of a store that bore its name, as it was then.
fn copies_made(steps: &[Step]) -> Vec<(PathBuf, Copy)> {
    let mut disk = Disk::new();
    let mut made = Vec::new();
    for step in steps {
        disk.take(step);
        if matches!(&step.act, Act::Rename { to, .. } if to.extension().is_some_and(|e| e == "copy"))
        {
            made.extend(copies_in(&disk.image(&|_| LetterFilter::All)));
        }
    }
    made
}

/// What is tried.
pub struct Trial<'a> {
    story: &'a Story,
    lines: BTreeMap<String, Vec<String>>,
    copies: Vec<(PathBuf, Copy)>,
    now: i64,
    steps: &'a [Step],
    /// Only cuts after this moment.
    from: usize,
    pub seed: u64,
    /// `None`: all.
    chosen: Option<BTreeSet<usize>>,
}

/// What was seen.
#[derive(Default)]
pub struct Sight {
    pub syncs: usize,
    /// Every cut, with the number of its image.
    pub cuts: Vec<(Cut, usize)>,
    pub found: Vec<Result<Found, String>>,
    pub failures: Vec<(Cut, Vec<String>)>,
}

impl<'a> Trial<'a> {
    /// Of all cuts after `from`, or of so many anywhere.
    pub fn new(
        steps: &'a [Step],
        story: &'a Story,
        from: usize,
        seed: u64,
        some: Option<usize>,
    ) -> Self {
        let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
        let chosen = some.map(|some| {
            let mut count = 0;
            cuts::each(steps, from, seed, |_, _| count += 1);
            let mut dice = StdRng::seed_from_u64(seed ^ 1);
            (0..some).map(|_| dice.random_range(0..count)).collect()
        });
        Self {
            story,
            lines: lines(story),
            copies: copies_made(steps),
            now: i64::try_from(now.as_millis()).expect("this century"),
            steps,
            from,
            seed,
            chosen,
        }
    }

    fn each(&self, mut show: impl FnMut(Cut, &dyn Fn() -> Image)) -> usize {
        let mut number = 0;
        cuts::each(self.steps, self.from, self.seed, |cut, image| {
            if self.chosen.as_ref().is_none_or(|c| c.contains(&number)) {
                show(cut, image);
            }
            number += 1;
        })
    }

    /// The image of this cut, made again.
    pub fn find(&self, wanted: &Cut) -> Image {
        let mut found = None;
        self.each(|cut, image| {
            if (cut.moment, &cut.kept) == (wanted.moment, &wanted.kept) {
                found = Some(image());
            }
        });
        found.expect("the same cuts again")
    }

    /// The cuts that leave a copy of a store, under its final name, that is not whole.
    pub fn torn_copies(&self) -> Vec<(Cut, Vec<String>)> {
        let mut torn = Vec::new();
        self.each(|cut, image| {
            for copy in copies_in(&image()) {
                if !self.copies.contains(&copy) {
                    let fault = format!("{}: evidence that is torn", copy.0.display());
                    torn.push((cut.clone(), vec![fault]));
                }
            }
        });
        torn
    }

    /// Opens every distinct image, some at a time.
    pub fn run(&self) -> Sight {
        let scratch = scratch();
        let begun = Instant::now();
        let (images, inbox) = mpsc::sync_channel::<(usize, Image)>(WORKERS);
        let inbox = Mutex::new(inbox);
        let found: Mutex<Vec<(usize, Result<Found, String>)>> = Mutex::default();
        let mut sight = Sight::default();
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    loop {
                        let next = inbox.lock().expect("no worker panics").recv();
                        let Ok((number, image)) = next else { return };
                        let root = scratch.path().join(number.to_string());
                        let seen = open::open_image(&image, &root, self.now, &self.lines);
                        let _ = fs::remove_dir_all(&root);
                        let mut found = found.lock().expect("no worker panics");
                        found.push((number, seen));
                        if found.len().is_multiple_of(500) {
                            println!("{} images opened, {:?}", found.len(), begun.elapsed());
                        }
                    }
                });
            }
            let mut known: HashMap<u128, usize> = HashMap::new();
            sight.syncs = self.each(|cut, image| {
                let image = image();
                let next = known.len();
                let number = *known.entry(image.hash()).or_insert(next);
                if number == next {
                    images.send((number, image)).expect("a worker");
                }
                sight.cuts.push((cut, number));
            });
            drop(images);
        });
        let mut found = found.into_inner().expect("no worker panics");
        found.sort_by_key(|(number, _)| *number);
        sight.found = found.into_iter().map(|(_, found)| found).collect();
        sight.failures = sight.judge(self.story);
        sight.failures.extend(self.torn_copies());
        sight
    }
}

impl Sight {
    /// Cuts after which something was wrong.
    fn judge(&self, story: &Story) -> Vec<(Cut, Vec<String>)> {
        let mut failures = Vec::new();
        let mut settled = BTreeSet::new();
        for (cut, image) in &self.cuts {
            let found = match &self.found[*image] {
                Ok(found) => found,
                Err(error) => {
                    failures.push((cut.clone(), vec![error.clone()]));
                    continue;
                }
            };
            let faults = judge::faults(story, found, cut.moment, &settled);
            if !faults.is_empty() {
                failures.push((cut.clone(), faults));
            }
            if cut.least {
                // Its acknowledged events that are not queued are settled from here on; those
                // that come again with other bytes, or that the operator retries, may be revived.
                let once = story
                    .events
                    .iter()
                    .filter(|(_, event)| event.lines.len() == 1 && event.retry.is_none());
                let gone = once.filter(|(id, _)| {
                    found.again.get(*id) == Some(&pinrelay::queue::Receipt::Duplicate)
                        && !found.claims.contains_key(*id)
                });
                settled.extend(gone.map(|(id, _)| id.clone()));
            }
        }
        failures
    }
}
