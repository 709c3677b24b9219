//! The delivery side over real HTTP: the real transform and client, a strict stand-in for
//! Pinterest on loopback, and the queue in memory.

use std::sync::Arc;
use std::time::Duration;

use pinrelay::clock::{Clock, WallTrust};
use pinrelay::deliver::{
    self, CallLimit, Dead, DrainEnd, Environment, Handle, Limits, OnLate, OnRefused, Options,
    Prepare, Prepared,
};
use pinrelay::mock_pinterest::{self as mock, Fault, Mock, RefuseAs, Switches};
use pinrelay::observe::Observer;
use pinrelay::queue::{BlockBuilder, DeadReason, MemoryEngine, Queue};
use pinrelay::secret::{SharedToken, Token};
use pinrelay::transform::{self, Fixed, MappingRule, Transform};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

const DAY: Duration = Duration::from_secs(86_400);

fn prepare(transform: Transform) -> Prepare {
    Arc::new(move |entry, stripped| {
        let (name, without) = (entry.sent_as.as_deref(), |key: &str| stripped.strips(key));
        let fixed = Fixed {
            accepted_at: entry.accepted_at / 1000,
            event_time: entry.event_time,
        };
        let payload = transform.payload(&entry.body, fixed, name, &without);
        let payload = payload.map_err(|dead| Dead {
            reason: DeadReason::NoMatchKey,
            message: dead.why.to_string(),
            message_id: dead.message_id,
            notes: None,
        })?;
        Ok(Prepared {
            name: payload.event_name,
            message_id: payload.message_id,
            json: payload.json,
            custom_keys: payload.custom_keys.iter().map(|k| k.to_string()).collect(),
            coverage: payload.coverage,
            notes: None,
        })
    })
}

struct World {
    mock: Mock,
    queue: Queue,
    clock: Clock,
    token: SharedToken,
    options: Options,
}

impl World {
    async fn new(switches: Switches) -> Self {
        Self::counting(switches, false).await
    }

    async fn counting(switches: Switches, count_only: bool) -> Self {
        let clock = Clock::system();
        let mock = Mock::new(mock::Options {
            switches,
            journal: None,
            count_only,
            clock: clock.clone(),
        })
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v5", listener.local_addr().unwrap());
        tokio::spawn(mock::serve(listener, mock.clone()));
        let engine = MemoryEngine::new(clock.clone(), 7 * 86_400_000);
        Self {
            mock,
            queue: Queue::memory(engine),
            clock,
            token: SharedToken::new(Token::new("pina_TEST")),
            options: Options {
                base_url,
                ad_account_id: "549755885175".into(),
                test: false,
                request_timeout: Duration::from_secs(2),
                paused: None,
                limits: Limits {
                    max_batch_events: 1000,
                    max_batch_bytes: 2 << 20,
                    linger: Duration::from_millis(200),
                    max_in_flight: 20,
                    max_age: 7 * DAY,
                    max_calls_per_minute: CallLimit::AtMost(0),
                    backoff_initial: Duration::from_millis(50),
                    backoff_max: Duration::from_secs(1),
                    on_refused: OnRefused::Strip,
                    late_after: Duration::from_secs(3600),
                    on_late: OnLate::Deliver,
                },
            },
        }
    }

    fn run(&self, mapped: &[&str]) -> Handle {
        let rule = |key: &&str| MappingRule {
            source: format!("properties.{key}"),
            destination: format!("properties.{key}"),
        };
        let transform = Transform::new(transform::Options {
            mappings: mapped.iter().map(rule).collect(),
            ..transform::Options::default()
        });
        deliver::spawn(
            &self.options,
            self.queue.clone(),
            prepare(transform.unwrap()),
            self.token.clone(),
            Environment {
                clock: self.clock.clone(),
                trust: WallTrust::of_new(self.clock.clone()),
                observer: Observer::default(),
            },
            1,
        )
        .unwrap()
    }

    async fn enqueue(&self, range: std::ops::Range<usize>) {
        let mut block = BlockBuilder::new(self.queue.hasher(), self.clock.now());
        for n in range {
            let body = format!(
                r#"{{"type":"track","event":"Order Completed","messageId":"m{n}","userId":"u{n}",
                "context":{{"ip":"203.0.113.7","page":{{"url":"https://shop.example/?epik=dj0yJnU9"}}}},
                "properties":{{"order_id":{n},"email":"jo@example.com","loyalty_tier":"gold",
                "products":[{{"product_id":"p1","price":10.5,"quantity":2,"name":"Mug"}}]}}}}"#
            );
            let time = self.clock.now() / 1000;
            block.push(&format!("m{n}"), time, body.as_bytes());
        }
        let pending = self.queue.enqueue(block.finish()).await.unwrap();
        pending.receipts().await.unwrap();
    }

    async fn settled(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let census = self.queue.census();
            if census.queued + census.sending == 0 {
                assert_eq!(census.imbalance(), 0);
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{census:?} {:?}",
                self.mock.totals()
            );
            sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn what_the_transform_makes_passes_the_schema_and_is_delivered_once() {
    let world = World::new(Switches::default()).await;
    let _handle = world.run(&[]);
    world.enqueue(0..3000).await;
    world.settled().await;
    let totals = world.mock.totals();
    assert_eq!(totals.distinct_event_ids, 3000);
    assert_eq!((totals.duplicates, totals.failed), (0, 0));
    assert_eq!(world.queue.census().delivered, 3000);
}

#[tokio::test]
async fn broken_answers_of_every_kind_lose_nothing_and_change_nothing() {
    for fault in [
        Fault::Status(500),
        Fault::Status(503),
        Fault::Status(408),
        Fault::Reset,
        Fault::Close,
        Fault::ShortList,
        Fault::LongList,
        Fault::OddStatus,
        Fault::Unreadable,
        Fault::Silent,
    ] {
        let world = World::new(Switches {
            fault: Some(fault),
            fault_first: Some(3),
            fault_processed: true,
            ..Switches::default()
        })
        .await;
        let _handle = world.run(&[]);
        world.enqueue(0..1500).await;
        world.settled().await;
        let totals = world.mock.totals();
        assert_eq!(totals.distinct_event_ids, 1500, "{fault:?}");
        assert_eq!((totals.renamed, totals.changed), (0, 0), "{fault:?}");
        assert_eq!(world.queue.census().delivered, 1500);
        assert!(world.queue.census().resent > 0, "{fault:?}");
    }
}

#[tokio::test]
async fn answers_that_took_nothing_are_followed_by_no_duplicate() {
    for status in [401, 403, 404, 429, 302, 307, 405] {
        let world = World::new(Switches {
            fault: Some(Fault::Status(status)),
            fault_first: Some(3),
            retry_after: Some(0),
            ..Switches::default()
        })
        .await;
        let _handle = world.run(&[]);
        world.enqueue(0..1500).await;
        world.settled().await;
        let (totals, census) = (world.mock.totals(), world.queue.census());
        assert_eq!(totals.distinct_event_ids, 1500, "{status}");
        assert_eq!((census.delivered, census.resent), (1500, 0), "{status}");
        assert_eq!(totals.stray_requests, 0, "no redirect was followed");
    }
}

#[tokio::test]
async fn one_bad_event_is_found_under_400_and_by_position() {
    for refuse_as in [RefuseAs::Request, RefuseAs::Failed] {
        let world = World::new(Switches {
            refuse_event_ids: vec!["m777".into()],
            refuse_as,
            refuse_message: "bad".into(),
            ..Switches::default()
        })
        .await;
        let _handle = world.run(&[]);
        world.enqueue(0..1000).await;
        world.settled().await;
        let census = world.queue.census();
        assert_eq!(census.delivered, 999);
        assert_eq!(census.dead[DeadReason::Refused.index()], 1);
        assert!(world.mock.totals().requests <= 25);
    }
}

#[tokio::test]
async fn a_custom_key_that_the_schema_refuses_is_left_out() {
    let world = World::new(Switches::default()).await;
    let handle = world.run(&["loyalty_tier"]);
    world.enqueue(0..1000).await;
    world.settled().await;
    assert_eq!(world.queue.census().delivered, 1000);
    assert_eq!(world.mock.totals().requests, 2);
    assert_eq!(handle.status().await.stripped["loyalty_tier"], 1000);
}

#[tokio::test]
async fn a_wrong_token_parks_and_the_right_one_is_taken_at_once() {
    let world = World::new(Switches {
        token: Some("pina_RIGHT".into()),
        ..Switches::default()
    })
    .await;
    let handle = world.run(&[]);
    world.enqueue(0..100).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(world.queue.census().delivered, 0);
    assert!(world.token.swap(Token::new("pina_RIGHT")));
    handle.token_changed();
    world.settled().await;
    let report = handle.drain(Instant::now() + Duration::from_secs(5)).await;
    assert_eq!(report.end, DrainEnd::Empty);
}

/// Not a bench, but a tripwire: an accident that makes delivery quadratic shows here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_is_delivered_fast() {
    let world = World::counting(Switches::default(), true).await;
    for block in 0..30 {
        world.enqueue(block * 1000..(block + 1) * 1000).await;
    }
    let _handle = world.run(&[]);
    let before = Instant::now();
    world.settled().await;
    let rate = 30_000.0 / before.elapsed().as_secs_f64();
    eprintln!("{rate:.0} events/s");
    assert!(rate > 3_000.0, "{rate:.0} events/s");
}
