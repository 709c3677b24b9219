//! What the stand-in took: totals, one record per event, the latest requests, and a journal
//! that carries the processed events over a restart.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Requests kept for `/_control/requests`; older ones go.
const REQUESTS_KEPT: usize = 20_000;

/// Sums since the start or the last reset, the journal's events included.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Event requests, however they ended.
    pub requests: u64,
    /// How they ended: the answer's status, or `reset`, `close`, `silent`.
    pub by_status: BTreeMap<String, u64>,
    /// Requests to any path that is none of Pinterest's (a followed redirect ends here).
    pub stray_requests: u64,
    /// Body bytes of event requests.
    pub bytes: u64,
    /// Events in requests that held to the schema, test mode included.
    pub events_received: u64,
    /// Events taken, each time counted; test mode not included.
    pub events_processed: u64,
    /// Events failed one by one.
    pub failed: u64,
    /// event_ids taken at least once. Not counted under `--count-only`.
    pub distinct_event_ids: u64,
    /// Events taken again under the same event_id and event_name.
    pub duplicates: u64,
    /// Events whose event_id had been taken under another event_name.
    pub renamed: u64,
    /// Events received again under the same event_id and event_name with other content.
    pub changed: u64,
    /// Events that passed in test mode; recorded nowhere else.
    pub test_events: u64,
}

/// One event_id under one event_name, in the order of first arrival.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The deduplication key.
    pub event_id: Arc<str>,
    /// The name it came under.
    pub event_name: Arc<str>,
    /// Unix seconds, of the first arrival.
    pub event_time: i64,
    /// How often it was taken.
    pub count: u32,
    /// How often it arrived in a request that held to the schema, taken or not.
    pub received: u32,
    /// How often it failed at its position.
    pub failed: u32,
    /// Hash of the content as it first arrived; 0: known from a journal alone.
    #[serde(skip)]
    content: u64,
}

/// A line of the journal.
#[derive(Serialize, Deserialize)]
struct Taken {
    event_id: Arc<str>,
    event_name: Arc<str>,
    event_time: i64,
}

/// One event request as it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestLog {
    /// Unix milliseconds.
    pub at: i64,
    /// The ad account in the path.
    pub ad_account: String,
    /// The answer's status, or `reset`, `close`, `silent`.
    pub status: String,
    /// Events in the body, if it could be read.
    pub events: usize,
    /// Events taken.
    pub processed: usize,
    /// Events failed.
    pub failed: usize,
    /// Bytes of the body.
    pub bytes: usize,
    /// `?test=true`.
    pub test: bool,
}

/// One event on its way into the account.
pub(super) struct Arrival<'a> {
    pub event_id: &'a str,
    pub event_name: &'a str,
    pub event_time: i64,
    /// The event as compact JSON.
    pub json: &'a str,
    pub outcome: Recorded,
}

/// How an [`Arrival`] ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Recorded {
    Processed,
    Failed,
    /// The request met a fault: it arrived, and nothing was done with it.
    Ignored,
}

/// By event_name: how many events have what, by its path; `event` are all of them.
pub(super) type Fields = BTreeMap<String, BTreeMap<String, u64>>;

#[derive(Default)]
pub(super) struct Account {
    pub totals: Totals,
    seen: Vec<Seen>,
    by_id: HashMap<Arc<str>, Vec<usize>>,
    requests: VecDeque<RequestLog>,
    fields: Fields,
    journal: Option<BufWriter<File>>,
}

impl Account {
    /// Reads the journal, if one is named, and goes on writing there.
    pub fn open(journal: Option<&Path>) -> io::Result<Self> {
        let mut account = Self::default();
        let Some(path) = journal else {
            return Ok(account);
        };
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        for line in BufReader::new(&file).split(b'\n') {
            // A process that was killed may have left half a line at the end.
            let Ok(past) = serde_json::from_slice::<Taken>(&line?) else {
                continue;
            };
            account.totals.events_received += 1;
            account.take(&past.event_id, &past.event_name, past.event_time, 0);
        }
        account.journal = Some(BufWriter::new(file));
        Ok(account)
    }

    /// Records the events of one request. They are in the journal when this returns.
    pub fn record(&mut self, arrivals: &[Arrival<'_>]) -> io::Result<()> {
        self.totals.events_received += arrivals.len() as u64;
        for arrival in arrivals {
            let content = hash(arrival.json);
            let (id, name) = (arrival.event_id, arrival.event_name);
            match arrival.outcome {
                Recorded::Processed => {
                    let at = self.take(id, name, arrival.event_time, content);
                    if let Some(journal) = &mut self.journal {
                        let taken = Taken {
                            event_id: self.seen[at].event_id.clone(),
                            event_name: self.seen[at].event_name.clone(),
                            event_time: arrival.event_time,
                        };
                        serde_json::to_writer(&mut *journal, &taken)?;
                        journal.write_all(b"\n")?;
                    }
                }
                Recorded::Failed => {
                    let at = self.arrive(id, name, arrival.event_time, content);
                    self.seen[at].failed += 1;
                    self.totals.failed += 1;
                }
                Recorded::Ignored => {
                    self.arrive(id, name, arrival.event_time, content);
                }
            }
        }
        self.journal.as_mut().map_or(Ok(()), BufWriter::flush)
    }

    /// Counts which fields a processed event has.
    pub fn count_fields(&mut self, event: &serde_json::Value) {
        let name = event["event_name"].as_str().unwrap_or_default();
        let counts = self.fields.entry(name.to_owned()).or_default();
        let mut count = |path: String| *counts.entry(path).or_default() += 1;
        count("event".to_owned());
        for (key, value) in event.as_object().into_iter().flatten() {
            match value.as_object() {
                None => count(key.clone()),
                Some(members) => members
                    .keys()
                    .for_each(|member| count(format!("{key}.{member}"))),
            }
        }
    }

    /// What was counted so.
    pub const fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Records `n` events of which nothing but their number is known.
    pub fn count(&mut self, n: usize) {
        self.totals.events_received += n as u64;
        self.totals.events_processed += n as u64;
    }

    pub fn log(&mut self, request: RequestLog) {
        self.totals.requests += 1;
        self.totals.bytes += request.bytes as u64;
        match self.totals.by_status.get_mut(&request.status) {
            Some(n) => *n += 1,
            None => {
                self.totals.by_status.insert(request.status.clone(), 1);
            }
        }
        if self.requests.len() == REQUESTS_KEPT {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
    }

    pub fn seen(&self) -> &[Seen] {
        &self.seen
    }

    pub fn requests(&self) -> impl Iterator<Item = &RequestLog> {
        self.requests.iter()
    }

    /// Forgets everything, in the journal too.
    pub fn reset(&mut self) -> io::Result<()> {
        let journal = self.journal.take();
        *self = Self::default();
        if let Some(journal) = journal {
            journal.get_ref().set_len(0)?;
            self.journal = Some(journal);
        }
        Ok(())
    }

    fn take(&mut self, id: &str, name: &str, time: i64, content: u64) -> usize {
        let others = self.by_id.get(id).map_or(&[][..], Vec::as_slice);
        let taken = others.iter().any(|at| self.seen[*at].count > 0);
        let at = self.arrive(id, name, time, content);
        self.totals.events_processed += 1;
        self.totals.distinct_event_ids += u64::from(!taken);
        if self.seen[at].count > 0 {
            self.totals.duplicates += 1;
        } else if taken {
            self.totals.renamed += 1;
        }
        self.seen[at].count += 1;
        at
    }

    fn arrive(&mut self, id: &str, name: &str, time: i64, content: u64) -> usize {
        let known = self.by_id.get(id).and_then(|places| {
            places
                .iter()
                .copied()
                .find(|at| &*self.seen[*at].event_name == name)
        });
        let at = known.unwrap_or_else(|| {
            let event_id: Arc<str> = id.into();
            self.seen.push(Seen {
                event_id: event_id.clone(),
                event_name: name.into(),
                event_time: time,
                count: 0,
                received: 0,
                failed: 0,
                content,
            });
            let at = self.seen.len() - 1;
            self.by_id.entry(event_id).or_default().push(at);
            at
        });
        let seen = &mut self.seen[at];
        seen.received += 1;
        if seen.content == 0 {
            seen.content = content;
        } else if content != 0 && seen.content != content {
            self.totals.changed += 1;
        }
        at
    }
}

fn hash(json: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(json.as_bytes());
    hasher.finish().max(1)
}
