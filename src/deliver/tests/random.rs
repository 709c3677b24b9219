//! Many random schedules of trouble. Whatever happens: every event ends delivered or dead,
//! none dies for another's fault, none is sent after it was confirmed, and the number of
//! requests stays within reason. A failing seed is printed and reproduces the run.

use std::sync::Mutex;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::super::fixture;
use super::world::{Answer, Call, SECOND, World, options, prepare};
use crate::queue::DeadReason;

/// How many schedules; `PINRELAY_TEST_SEEDS` asks for more than usual.
fn seeds() -> u64 {
    let asked = std::env::var("PINRELAY_TEST_SEEDS").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(16)
}

/// Trouble ends here, so that a run can end.
const HEALED: Duration = Duration::from_secs(900);

fn is(event: &Value, prefix: char) -> bool {
    event["event_id"].as_str().unwrap().starts_with(prefix)
}

fn any(call: &Call, prefix: char) -> bool {
    call.events.iter().any(|event| is(event, prefix))
}

/// One answer under trouble, drawn at random. `b…` is always refused, `p…` gets no answer
/// until everything is healed.
fn answer(call: &Call, weather: u32, rng: &mut StdRng) -> Answer {
    let healed = call.at >= HEALED;
    let delay = Duration::from_millis(rng.random_range(1..2000));
    let storm = !healed && rng.random_ratio(weather, 100);
    let answer = if storm {
        match rng.random_range(0..9) {
            0 => Answer::refuse(401, "no token"),
            1 => {
                let mut answer = Answer::refuse(429, "slow");
                answer.signals.reset = Some(rng.random_range(1..20) * SECOND);
                answer
            }
            2 => Answer::refuse(503, "later"),
            3 => Answer::lost(false),
            4 => Answer::lost(true),
            5 => Answer::no_connection(),
            6 => Answer::refuse(302, ""),
            7 => Answer::reply(200, &json!({"events": []})),
            _ => Answer::reply(500, &json!("oops")),
        }
    } else if any(call, 'p') && !healed {
        Answer::lost(false)
    } else if call.has_key("tier") {
        Answer::refuse(400, "Additional properties ('tier' was unexpected)")
    } else if any(call, 'b') && rng.random_ratio(1, 2) {
        Answer::refuse(400, "bad")
    } else {
        call.judge(|event| is(event, 'b').then(|| "bad".to_owned()))
    };
    answer.after(delay)
}

async fn run(seed: u64) {
    let mut rng = fixture::rng(seed);
    let world = World::new();
    let mut options = options();
    options.limits.max_batch_events = rng.random_range(1..=200);
    options.limits.max_in_flight = rng.random_range(1..=20);
    options.limits.backoff_max = rng.random_range(1..=300) * SECOND;
    let weather = rng.random_range(0..=60);
    let script = Mutex::new(fixture::rng(seed ^ 0xfeed));
    let mut handle = world.run_as(&options, prepare(""), seed, move |call| {
        answer(call, weather, &mut script.lock().unwrap())
    });
    let (mut bad, mut all) = (0, 0);
    for round in 0..30 {
        tokio::time::sleep(rng.random_range(0..40_000) * SECOND / 1000).await;
        let count = rng.random_range(1..200);
        let events: Vec<(String, Value)> = (0..count)
            .map(|n| {
                // Fewer bad ones than would look like a refusal of everything.
                let kind = match rng.random_range(0..400) {
                    0 => 'b',
                    1 => 'p',
                    _ => 'g',
                };
                bad += u64::from(kind == 'b');
                all += 1;
                let custom = if rng.random_ratio(1, 10) {
                    json!(["tier"])
                } else {
                    json!([])
                };
                let body = json!({"event": "lead", "custom": custom});
                (format!("{kind}{round}.{n}"), body)
            })
            .collect();
        world.enqueue(events).await;
        if rng.random_ratio(1, 10) {
            handle.reload(prepare(""), options.limits.clone());
        }
        if rng.random_ratio(1, 15) {
            // A crash: what is in hand and in flight is forgotten here, not in the queue.
            drop(handle);
            tokio::time::sleep(SECOND / 100).await;
            world.engine.reopen();
            let script = Mutex::new(fixture::rng(seed ^ round));
            handle = world.run_as(&options, prepare(""), seed, move |call| {
                answer(call, weather, &mut script.lock().unwrap())
            });
        }
    }
    world.settled(4000 * SECOND).await;
    let census = world.census();
    assert_eq!(world.dead(DeadReason::Refused), bad, "{census:?}");
    assert_eq!(census.dead_total(), bad);
    assert_eq!(census.delivered, all - bad);
    let seen = world.seen.lock().unwrap();
    let good = all - bad;
    // A lost answer may hide that a bad one was taken; the others count.
    let taken = seen.taken.keys().filter(|(id, _)| !id.starts_with('b'));
    assert_eq!(taken.count() as u64, good, "each under one name");
    let batches = all as usize / options.limits.max_batch_events + 30;
    assert!(seen.calls < 6 * batches + 1500, "{} calls", seen.calls);
    drop(handle);
}

#[test]
fn every_event_ends_as_it_should_whatever_happens() {
    for seed in 0..seeds() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.block_on(run(seed));
        }));
        if let Err(panic) = result {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
