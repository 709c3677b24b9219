//! A scripted Pinterest, a queue in memory, and a wall clock that follows tokio's paused time.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::super::destination::{NoReply, Reply, Signals, Transport};
use super::super::handle::start;
use super::super::options::CallLimit;
use super::super::pinterest::PINTEREST;
use super::super::{
    Dead, Environment, Handle, Limits, OnLate, OnRefused, Options, Prepare, Prepared, StrippedKeys,
};
use crate::clock::{Clock, WallTrust};
use crate::observe::Observer;
use crate::queue::{BlockBuilder, Census, DeadReason, Entry, MemoryEngine, Queue};

pub const SECOND: Duration = Duration::from_secs(1);
/// How often the wall clock goes on.
const TICK: Duration = Duration::from_secs(5);
pub const WALL: i64 = 1_790_000_000_000;

/// One request as Pinterest sees it.
pub struct Call {
    /// Since the start.
    pub at: Duration,
    /// From 1.
    pub number: usize,
    pub events: Vec<Value>,
}

impl Call {
    pub fn has(&self, id: &str) -> bool {
        self.events.iter().any(|event| event["event_id"] == id)
    }

    pub fn has_key(&self, key: &str) -> bool {
        self.events
            .iter()
            .any(|event| event["custom_data"].get(key).is_some())
    }

    /// 200: `failed` says why an event is not processed.
    pub fn judge(&self, failed: impl Fn(&Value) -> Option<String>) -> Answer {
        let answer = |event| match failed(event) {
            Some(message) => json!({"status": "failed", "error_message": message}),
            None => json!({"status": "processed", "warning_message": ""}),
        };
        let events: Vec<Value> = self.events.iter().map(answer).collect();
        Answer::reply(200, &json!({"events": events}))
    }

    pub fn ok(&self) -> Answer {
        self.judge(|_| None)
    }
}

/// What comes back.
pub struct Answer {
    pub delay: Duration,
    pub what: Result<(u16, String), NoReply>,
    pub signals: Signals,
    /// Pinterest takes the events, and the answer is lost.
    pub taken_anyway: bool,
}

impl Answer {
    pub fn reply(status: u16, body: &Value) -> Self {
        Self {
            delay: Duration::from_millis(20),
            what: Ok((status, body.to_string())),
            signals: Signals::default(),
            taken_anyway: false,
        }
    }

    pub fn refuse(status: u16, message: &str) -> Self {
        Self::reply(status, &json!({"code": 4196, "message": message}))
    }

    /// Text that may be no JSON at all.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            what: Ok((status, body.into())),
            ..Self::reply(0, &Value::Null)
        }
    }

    pub fn lost(taken_anyway: bool) -> Self {
        Self {
            what: Err(NoReply::Unknown("time-out".into())),
            taken_anyway,
            ..Self::reply(0, &Value::Null)
        }
    }

    pub fn no_connection() -> Self {
        Self {
            what: Err(NoReply::NotSent("refused".into())),
            ..Self::reply(0, &Value::Null)
        }
    }

    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

type Script = Box<dyn Fn(&Call) -> Answer + Send + Sync>;

/// One request and what became of it.
pub struct Exchange {
    pub at: Duration,
    pub events: usize,
    pub body: Bytes,
    /// When the answer came and what it was; `None`: nobody waited for it any more.
    pub back: Option<(Duration, Heard)>,
}

/// An answer as far as the gate is concerned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Heard {
    /// A judgement, or a refusal of what was in the request.
    Sound,
    /// 401, 403, 404.
    Auth,
    /// 429, with the wait that it asks for.
    Limited(Option<Duration>),
    /// Anything else.
    Trouble,
}

/// What Pinterest saw.
#[derive(Default)]
pub struct Seen {
    pub calls: usize,
    pub sizes: Vec<usize>,
    pub at: Vec<Duration>,
    pub bodies: Vec<Bytes>,
    pub log: Vec<Exchange>,
    /// Taken, whether or not that was heard here: id and name, with how often.
    pub taken: HashMap<(String, String), usize>,
    /// Refused by itself: failed in a list, or alone in a request that was refused.
    pub refused: HashSet<String>,
    confirmed: HashSet<String>,
    /// Name and time, which a resend must repeat.
    doubtful: HashMap<String, (Value, Value)>,
    pub most_in_flight: usize,
    in_flight: usize,
    /// Broken promises.
    pub wrongs: String,
}

/// What an answer says of one event.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Taken,
    /// Refused by itself.
    Failed,
    NotTaken,
    /// It proves nothing.
    Open,
}

/// Reads an answer as the contract has it, written apart from `classify`.
fn fates(call: &Call, answer: &Answer) -> Vec<Fate> {
    let all = |fate| vec![fate; call.events.len()];
    let (status, body) = match &answer.what {
        Err(NoReply::NotSent(_)) => return all(Fate::NotTaken),
        Err(NoReply::Unknown(_)) => return all(Fate::Open),
        Ok((status, body)) => (*status, body),
    };
    match status {
        200..=299 | 422 => {}
        400 | 413 if call.events.len() == 1 => return all(Fate::Failed),
        300..=407 | 409..=499 => return all(Fate::NotTaken),
        _ => return all(Fate::Open),
    }
    let body = match serde_json::from_str::<Value>(body) {
        Ok(body) => body,
        // Cut: there may have been a list.
        Err(error) if error.is_eof() && !body.is_empty() => return all(Fate::Open),
        Err(_) => Value::Null,
    };
    let list = (body["events"].as_array()).or_else(|| body["details"]["events"].as_array());
    match list.filter(|list| !list.is_empty()) {
        None if status == 422 && call.events.len() == 1 => all(Fate::Failed),
        None if status == 422 => all(Fate::NotTaken),
        Some(list) if list.len() == call.events.len() => list
            .iter()
            .map(|event| match event["status"].as_str() {
                Some("processed") => Fate::Taken,
                Some("failed") => Fate::Failed,
                _ => Fate::Open,
            })
            .collect(),
        _ => all(Fate::Open),
    }
}

pub struct Fake {
    script: Script,
    started: Instant,
    engine: MemoryEngine,
    queue: Queue,
    pub seen: Arc<Mutex<Seen>>,
}

/// A request on its way; given up, it is no longer in flight.
struct Flight<'a> {
    fake: &'a Fake,
    /// Its place in the log.
    at: usize,
    /// The turn in which it left.
    turn: Option<u64>,
    fates: Vec<Fate>,
    /// Events that came into doubt with it.
    fresh: HashSet<String>,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.fake.seen.lock().unwrap().in_flight -= 1;
    }
}

impl Fake {
    fn arrives(&self, body: &Bytes) -> Call {
        let mut seen = self.seen.lock().unwrap();
        let parsed: Value = serde_json::from_slice(body).expect("a JSON body");
        let events = parsed["data"].as_array().expect("a list").clone();
        let at = self.started.elapsed();
        seen.calls += 1;
        seen.sizes.push(events.len());
        seen.at.push(at);
        seen.bodies.push(body.clone());
        seen.log.push(Exchange {
            at,
            events: events.len(),
            body: body.clone(),
            back: None,
        });
        seen.in_flight += 1;
        seen.most_in_flight = seen.most_in_flight.max(seen.in_flight);
        let mut wrong = String::new();
        for event in &events {
            let id = event["event_id"].as_str().unwrap();
            if seen.confirmed.contains(id) {
                let _ = writeln!(wrong, "{id} was sent after it was confirmed");
            }
            let same = |(name, time): &(Value, Value)| {
                *name == event["event_name"] && *time == event["event_time"]
            };
            if !seen.doubtful.get(id).is_none_or(same) {
                let _ = writeln!(wrong, "{id} was in doubt and sent as another: {event}");
            }
        }
        let census = self.queue.census();
        let (marks, hasher) = (self.engine.marks(), self.queue.hasher());
        for event in &events {
            let (id, name) = names(event);
            if marks.get(&hasher.hash(&id)).is_none_or(|by| **by != *name) {
                let _ = writeln!(wrong, "{id} left before its mark, or under another name");
            }
        }
        if census.imbalance() != 0 {
            let _ = writeln!(wrong, "out of balance: {census:?}");
        }
        seen.wrongs += &wrong;
        Call {
            at,
            number: seen.calls,
            events,
        }
    }

    /// Pinterest takes what it takes when the request arrives, whatever is heard of it.
    fn takes(&self, call: &Call, answer: &Answer) -> Flight<'_> {
        let fates = fates(call, answer);
        let mut seen = self.seen.lock().unwrap();
        let mut fresh = HashSet::new();
        for (event, fate) in call.events.iter().zip(&fates) {
            let (id, name) = names(event);
            if *fate == Fate::Taken || (*fate == Fate::Open && answer.taken_anyway) {
                *seen.taken.entry((id.clone(), name)).or_default() += 1;
            }
            if !seen.doubtful.contains_key(&id) {
                let known_by = (event["event_name"].clone(), event["event_time"].clone());
                seen.doubtful.insert(id.clone(), known_by);
                fresh.insert(id);
            }
        }
        let at = seen.log.len() - 1;
        Flight {
            fake: self,
            at,
            turn: self.engine.turn_number(),
            fates,
            fresh,
        }
    }

    /// The answer is heard.
    fn answers(&self, call: &Call, answer: &Answer, flight: &Flight<'_>) {
        if self.engine.turn_number() != flight.turn {
            // By somebody who can do nothing about it any more: the events are in doubt.
            return;
        }
        let mut seen = self.seen.lock().unwrap();
        for (event, fate) in call.events.iter().zip(&flight.fates) {
            let (id, _) = names(event);
            match fate {
                Fate::Taken => {
                    seen.confirmed.insert(id);
                }
                Fate::Failed | Fate::NotTaken => {
                    if *fate == Fate::Failed {
                        seen.refused.insert(id.clone());
                    }
                    if flight.fresh.contains(&id) {
                        seen.doubtful.remove(&id);
                    }
                }
                Fate::Open => {}
            }
        }
        let heard = match &answer.what {
            Ok((401 | 403 | 404, _)) => Heard::Auth,
            Ok((429, _)) => Heard::Limited(answer.signals.retry_after.or(answer.signals.reset)),
            Ok((400 | 413 | 422, _)) => Heard::Sound,
            Ok((200..=299, _)) if !flight.fates.iter().all(|fate| *fate == Fate::Open) => {
                Heard::Sound
            }
            // A list may judge nothing and still be a list.
            Ok((200..=299, body)) if body.contains("later") => Heard::Sound,
            _ => Heard::Trouble,
        };
        seen.log[flight.at].back = Some((self.started.elapsed(), heard));
        let census = self.queue.census();
        if census.imbalance() != 0 {
            let wrong = format!("out of balance: {census:?}\n");
            seen.wrongs += &wrong;
        }
    }
}

fn names(event: &Value) -> (String, String) {
    let text = |key: &str| event[key].as_str().unwrap().to_owned();
    (text("event_id"), text("event_name"))
}

impl Transport for Fake {
    async fn renew(&self) {}

    async fn send(&self, body: Bytes, _anew: bool) -> Result<Reply, NoReply> {
        let call = self.arrives(&body);
        let answer = (self.script)(&call);
        let flight = self.takes(&call, &answer);
        sleep(answer.delay).await;
        self.answers(&call, &answer, &flight);
        drop(flight);
        answer.what.map(|(status, body)| Reply {
            status,
            signals: answer.signals,
            body: body.into(),
        })
    }
}

pub struct World {
    pub engine: MemoryEngine,
    pub queue: Queue,
    pub clock: Clock,
    pub trust: WallTrust,
    pub seen: Arc<Mutex<Seen>>,
    pub started: Instant,
}

pub fn options() -> Options {
    Options {
        base_url: "http://127.0.0.1:1".into(),
        ad_account_id: "1".into(),
        test: false,
        request_timeout: 30 * SECOND,
        paused: None,
        limits: Limits {
            max_batch_events: 1000,
            max_batch_bytes: 2 << 20,
            linger: Duration::from_millis(200),
            max_in_flight: 20,
            max_age: Duration::from_secs(7 * 86_400),
            max_calls_per_minute: CallLimit::AtMost(5000),
            backoff_initial: SECOND,
            backoff_max: 300 * SECOND,
            on_refused: OnRefused::Strip,
            late_after: Duration::from_secs(3600),
            on_late: OnLate::Deliver,
        },
    }
}

impl World {
    pub fn new() -> Self {
        let clock = Clock::manual(WALL);
        let engine = MemoryEngine::new(clock.clone(), 7 * 86_400_000);
        let ticking = clock.clone();
        tokio::spawn(async move {
            loop {
                sleep(TICK).await;
                ticking.advance(TICK);
            }
        });
        Self {
            queue: Queue::memory(engine.clone()),
            engine,
            trust: confirmed(&clock),
            clock,
            seen: Arc::default(),
            started: Instant::now(),
        }
    }

    pub fn run(
        &self,
        options: &Options,
        script: impl Fn(&Call) -> Answer + Send + Sync + 'static,
    ) -> Handle {
        self.run_as(options, prepare(""), 1, script)
    }

    pub fn run_as(
        &self,
        options: &Options,
        prepare: Prepare,
        seed: u64,
        script: impl Fn(&Call) -> Answer + Send + Sync + 'static,
    ) -> Handle {
        let fake = Fake {
            script: Box::new(script),
            started: self.started,
            engine: self.engine.clone(),
            queue: self.queue.clone(),
            seen: self.seen.clone(),
        };
        let environment = Environment {
            clock: self.clock.clone(),
            trust: self.trust.clone(),
            observer: Observer::default(),
        };
        let queue = self.queue.clone();
        start(options, queue, prepare, &PINTEREST, fake, environment, seed)
    }

    /// Queues `events`: (messageId, extra fields of the body).
    pub async fn enqueue(&self, events: impl IntoIterator<Item = (String, Value)>) {
        let mut block = BlockBuilder::new(self.queue.hasher(), self.clock.now());
        for (id, mut body) in events {
            body["messageId"] = json!(id);
            let time = body["time"].as_i64().unwrap_or(self.clock.now() / 1000);
            block.push(&id, time, body.to_string().as_bytes());
        }
        let pending = self.queue.enqueue(block.finish()).await.unwrap();
        pending.receipts().await.unwrap();
    }

    /// Queues m1 … m`n` as page visits.
    pub async fn enqueue_plain(&self, n: usize) {
        let events = (1..=n).map(|seq| (format!("m{seq}"), json!({"event": "page_visit"})));
        self.enqueue(events).await;
    }

    /// Every process dies: what is in hand, in flight and on its way to the queue is forgotten. An
    /// event whose settlement got lost goes out once more, which is no broken promise.
    pub async fn crash(&self, handles: impl IntoIterator<Item = Handle>) {
        self.queue.close().await.unwrap();
        for handle in handles {
            handle.ended().await;
        }
        self.engine.reopen();
        self.forget_unsettled();
    }

    /// Whoever delivers loses the turn. What it was told of events and could not settle goes the
    /// same way as in a crash.
    pub fn lose_turn(&self) {
        self.engine.take_turn_away();
        self.forget_unsettled();
    }

    fn forget_unsettled(&self) {
        let unsettled: HashSet<u128> = self.engine.unsettled().into_iter().collect();
        let hasher = self.queue.hasher();
        let mut seen = self.seen.lock().unwrap();
        seen.confirmed
            .retain(|id| !unsettled.contains(&hasher.hash(id)));
    }

    pub fn census(&self) -> Census {
        self.queue.census()
    }

    pub fn calls(&self) -> usize {
        self.seen.lock().unwrap().calls
    }

    pub fn dead(&self, reason: DeadReason) -> u64 {
        self.census().dead[reason.index()]
    }

    /// Waits until nothing is queued; fails after `longest`.
    pub async fn settled(&self, longest: Duration) {
        self.until(longest, |census| census.queued + census.sending == 0)
            .await;
    }

    pub async fn until(&self, longest: Duration, done: impl Fn(&Census) -> bool) {
        let deadline = Instant::now() + longest;
        let step = longest / 200;
        while !done(&self.census()) {
            assert!(
                Instant::now() < deadline,
                "not done after {longest:?}: {:?}, {} calls",
                self.census(),
                self.calls()
            );
            sleep(step).await;
        }
        self.check();
    }

    /// The promises that hold in every run.
    pub fn check(&self) {
        let census = self.census();
        assert_eq!(census.imbalance(), 0, "{census:?}");
        let seen = self.seen.lock().unwrap();
        assert!(seen.wrongs.is_empty(), "{}", seen.wrongs);
        let sizes = &seen.sizes;
        assert!(sizes.iter().all(|size| (1..=1000).contains(size)));
    }
}

/// A small transform: `event` becomes the name with `suffix` behind it, each key of `custom`
/// a custom property, and `no_match_key` has no match key.
pub fn prepare(suffix: &'static str) -> Prepare {
    Arc::new(move |entry: &Entry, stripped: &StrippedKeys| {
        let body: Value = serde_json::from_slice(&entry.body).unwrap();
        if body.get("no_match_key").is_some() {
            return Err(Dead {
                reason: DeadReason::NoMatchKey,
                message: "no em".into(),
                message_id: String::new(),
                notes: None,
            });
        }
        let own = format!("{}{suffix}", body["event"].as_str().unwrap());
        let name = entry.sent_as.as_deref().unwrap_or(&own);
        let mut custom = json!({});
        let mut custom_keys = Vec::new();
        for key in body["custom"].as_array().into_iter().flatten() {
            let key = key.as_str().unwrap();
            if !stripped.strips(key) {
                custom[key] = json!(1);
                custom_keys.push(key.to_owned());
            }
        }
        let event = json!({
            "event_id": body["messageId"],
            "event_name": name,
            "event_time": entry.event_time,
            "custom_data": custom,
            "padding": body["padding"],
        });
        Ok(Prepared {
            name: name.into(),
            message_id: body["messageId"].as_str().unwrap().to_owned(),
            json: event.to_string().into_bytes(),
            custom_keys,
            coverage: crate::coverage::Coverage::default(),
            notes: None,
        })
    })
}

/// A wall clock that a `Date` has agreed with.
fn confirmed(clock: &Clock) -> WallTrust {
    let trust = WallTrust::of_new(clock.clone());
    trust.observe_date(clock.now());
    trust
}
