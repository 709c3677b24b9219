//! The brake, step by step.

use super::*;
use crate::deliver::fixture;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_quarter_of_the_slots_then_a_rest_then_one_at_a_time_until_something_is_judged() {
    let (mut stubborn, now) = (Stubborn::new(fixture::backoff()), Instant::now());
    for _ in 0..5 {
        assert!(stubborn.may_leave(now, 20));
        stubborn.started();
    }
    assert!(!stubborn.may_leave(now, 20));
    for _ in 0..5 {
        stubborn.finished();
        stubborn.failed(now, 300 * SECOND, &mut fixture::rng(1));
    }
    let rest = stubborn.wake().unwrap();
    assert!(rest > now && !stubborn.may_leave(now, 20));
    assert!(stubborn.may_leave(rest, 20));
    stubborn.started();
    assert!(!stubborn.may_leave(rest, 20));
    stubborn.on_judged();
    assert!(stubborn.may_leave(now, 20) && stubborn.wake().is_none());
    stubborn.finished();
    assert!(stubborn.may_leave(now, 1), "one slot even of few");
}
