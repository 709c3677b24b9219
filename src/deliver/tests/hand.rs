//! How much is in hand: enough for every slot, and no more.

use serde_json::json;

use super::super::options::CallLimit;
use super::world::{Call, SECOND, World, options};

#[tokio::test(start_paused = true)]
async fn what_no_slot_waits_for_waits_on_disk() {
    let world = World::new();
    world.enqueue_plain(50_000).await;
    let mut options = options();
    options.limits.max_calls_per_minute = CallLimit::AtMost(6);
    let handle = world.run(&options, Call::ok);
    world
        .until(60 * SECOND, |census| census.delivered >= 2000)
        .await;
    let in_hand = handle.status().await.in_hand;
    assert!((1000..=4000).contains(&in_hand), "{in_hand} in hand");
    world.settled(600 * SECOND).await;
    assert_eq!((world.census().delivered, world.calls()), (50_000, 50));
}

#[tokio::test(start_paused = true)]
async fn events_that_gather_keep_no_others_out() {
    let world = World::new();
    let event = |n: usize| {
        let body = json!({"event": "lead", "custom": [format!("key{}", n % 20)]});
        (format!("c{n}"), body)
    };
    world.enqueue((0..8000).map(event)).await;
    let _handle = world.run(&options(), Call::ok);
    world.settled(20 * SECOND).await;
    assert_eq!(world.census().delivered, 8000);
    assert_eq!(world.calls(), 20, "each set of keys once, all 400 together");
}
