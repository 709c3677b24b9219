//! What Pinterest, and everything between here and there, does in a run.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::super::world::{Answer, Call, SECOND, WALL};

/// What goes on for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weather {
    Calm,
    /// Any trouble at all, for so many of a hundred requests.
    Storm(u32),
    /// 401, 403 or 404.
    TokenGone,
    /// 429, with and without the headers that say how long.
    Limited,
    /// 5xx, 408, silence, no connection.
    Outage,
    /// Connections that break before the answer or inside it.
    Cuts,
    /// Answers that are not the API's.
    Elsewhere,
    /// Answers that lie about their own length, or say something that proves nothing.
    Lies,
    /// A config that is refused, or a changed API: no event is taken.
    RefusedAll,
}

/// The weather of a run: until when, and which. After the last all is well.
pub struct Forecast(Vec<(Duration, Weather)>);

impl Forecast {
    pub fn draw(rng: &mut StdRng, healed: Duration) -> Self {
        let mut spells = Vec::new();
        let mut until = Duration::ZERO;
        while until < healed {
            until += rng.random_range(5..240) * SECOND;
            let weather = match rng.random_range(0..14) {
                0 | 1 => Weather::Calm,
                2..=4 => Weather::Storm(rng.random_range(5..=90)),
                5 => Weather::TokenGone,
                6 => Weather::Limited,
                7 => Weather::Outage,
                8 => Weather::Cuts,
                9 => Weather::Elsewhere,
                10..=12 => Weather::Lies,
                _ => Weather::RefusedAll,
            };
            spells.push((until.min(healed), weather));
        }
        Self(spells)
    }

    pub fn at(&self, at: Duration) -> Weather {
        let spell = self.0.iter().find(|(until, _)| at < *until);
        spell.map_or(Weather::Calm, |(_, weather)| *weather)
    }

    /// How many spells in which everything is refused.
    pub fn refusals_of_all(&self) -> u64 {
        let all = |(_, weather): &&(Duration, Weather)| *weather == Weather::RefusedAll;
        self.0.iter().filter(all).count() as u64
    }

    /// When the token is mended.
    pub fn tokens_back(&self) -> impl Iterator<Item = Duration> {
        let gone = |(_, weather): &&(Duration, Weather)| *weather == Weather::TokenGone;
        self.0.iter().filter(gone).map(|(until, _)| *until)
    }
}

pub fn is(event: &Value, kind: char) -> bool {
    event["event_id"].as_str().unwrap().starts_with(kind)
}

fn any(call: &Call, kind: char) -> bool {
    call.events.iter().any(|event| is(event, kind))
}

/// The answer to one call. `healed`: poison is none any more.
pub fn answer(call: &Call, weather: Weather, healed: bool, rng: &mut StdRng) -> Answer {
    let delay = Duration::from_millis(rng.random_range(1..2500));
    let mut answer = match weather {
        Weather::Calm => honest(call, healed, rng),
        Weather::Storm(percent) if rng.random_ratio(percent, 100) => {
            let any = [
                Weather::TokenGone,
                Weather::Limited,
                Weather::Outage,
                Weather::Cuts,
                Weather::Elsewhere,
                Weather::Lies,
            ];
            trouble(call, any[rng.random_range(0..any.len())], rng)
        }
        Weather::Storm(_) => honest(call, healed, rng),
        _ => trouble(call, weather, rng),
    };
    if rng.random_ratio(1, 2) {
        // Pinterest's clock is right.
        let since = i64::try_from(call.at.as_millis()).unwrap();
        answer.signals.date = Some(WALL + since);
    }
    answer.after(delay)
}

const UNEXPECTED: &str = "Additional properties are not allowed ('tier' was unexpected)";

/// What Pinterest has against one event.
fn verdict(event: &Value) -> Option<String> {
    let words = if is(event, 'b') {
        "bad"
    } else if is(event, 'l') {
        "too large"
    } else if event["custom_data"].get("tier").is_some() {
        UNEXPECTED
    } else {
        return None;
    };
    Some(words.to_owned())
}

/// As documented, each event for itself.
fn honest(call: &Call, healed: bool, rng: &mut StdRng) -> Answer {
    if any(call, 'l') {
        return Answer::refuse(413, "too large");
    }
    if any(call, 'p') && !healed {
        return Answer::text(500, "oops");
    }
    if call.has_key("tier") {
        return match rng.random_range(0..3) {
            0 => call.judge(verdict),
            _ => Answer::refuse(400, UNEXPECTED),
        };
    }
    match rng.random_range(0..4) {
        0 if any(call, 'b') => Answer::refuse(400, "bad"),
        1 => details(call, verdict),
        2 => warned(call, verdict),
        _ => call.judge(verdict),
    }
}

/// 422: the list stands under `details`.
fn details(call: &Call, failed: impl Fn(&Value) -> Option<String>) -> Answer {
    let list = body_of(&call.judge(failed));
    Answer::reply(
        422,
        &json!({"code": 953, "message": "some", "details": list}),
    )
}

/// With counts and warnings, and messages of any shape.
fn warned(call: &Call, failed: impl Fn(&Value) -> Option<String>) -> Answer {
    let mut body = body_of(&call.judge(failed));
    for event in body["events"].as_array_mut().unwrap() {
        event["warning_message"] = json!("click_id is missing");
        if event["status"] == "processed" {
            event["error_message"] = Value::Null;
        }
    }
    body["num_events_received"] = json!(call.events.len());
    Answer::reply(200, &body)
}

fn body_of(answer: &Answer) -> Value {
    let text = answer.what.as_ref().map(|(_, body)| body.as_str());
    serde_json::from_str(text.unwrap_or("null")).unwrap()
}

fn trouble(call: &Call, weather: Weather, rng: &mut StdRng) -> Answer {
    let taken = rng.random_ratio(1, 2);
    let pick = rng.random_range(0..6);
    let mut answer = match weather {
        Weather::TokenGone => Answer::refuse([401, 403, 404][pick % 3], "no token"),
        Weather::Limited => limited(pick, rng),
        Weather::Outage => match pick {
            0 => Answer::refuse(503, "later"),
            1 => Answer::text(500, "oops"),
            2 => Answer::text(504, "<html>gateway</html>"),
            3 => Answer::text(408, ""),
            4 => Answer::lost(taken),
            _ => Answer::no_connection(),
        },
        Weather::Cuts => match pick {
            0 => Answer::no_connection(),
            1 | 2 => Answer::lost(taken),
            // A length that is too small: what comes looks whole and is not.
            3 => cut(&call.judge(verdict), rng),
            4 => cut(&details(call, verdict), rng),
            _ => Answer::text(200, ""),
        },
        Weather::Elsewhere => {
            let status = [301, 302, 307, 405, 418, 451][pick];
            Answer::text(status, "<html>elsewhere</html>")
        }
        Weather::RefusedAll => match pick {
            0 | 1 => Answer::refuse(400, "unknown ad account kind"),
            2 => details(call, |_| Some("unknown ad account kind".to_owned())),
            3 => Answer::refuse(422, "unknown ad account kind"),
            _ => call.judge(|_| Some("unknown ad account kind".to_owned())),
        },
        _ => lie(call, rng),
    };
    answer.taken_anyway = taken;
    answer
}

fn limited(pick: usize, rng: &mut StdRng) -> Answer {
    let mut answer = Answer::refuse(429, "slow");
    let wait = rng.random_range(0..60) * SECOND;
    match pick {
        0 => answer.signals.retry_after = Some(wait),
        1 | 2 => {
            answer.signals.reset = Some(wait);
            answer.signals.remaining = Some(0);
        }
        3 => {
            // Garbled: no header may stop the loop or hold it for ever.
            answer.signals.reset = Some(Duration::MAX);
            answer.signals.remaining = Some(1);
            answer.signals.retry_after = Some(SECOND);
        }
        _ => {}
    }
    answer
}

fn cut(answer: &Answer, rng: &mut StdRng) -> Answer {
    let Ok((status, body)) = &answer.what else {
        panic!("nothing to cut");
    };
    let end = rng.random_range(1..body.len());
    Answer::text(*status, &body[..end])
}

/// Processed, says the answer, but for some reason it cannot be believed; or it says less.
fn lie(call: &Call, rng: &mut StdRng) -> Answer {
    let mut body = body_of(&call.judge(verdict));
    let list = body["events"].as_array_mut().unwrap();
    match rng.random_range(0..9) {
        0 => {
            list.pop();
        }
        1 => list.push(json!({"status": "processed"})),
        2 => list.clear(),
        3 => {
            let at = rng.random_range(0..list.len());
            list[at]["status"] = json!("later");
        }
        4 => body["events"] = Value::Null,
        5 => body = json!([body["events"]]),
        6 => body["events"] = json!([["processed"]]),
        7 => return Answer::text(200, "<html>welcome</html>"),
        // The counts alone lie, and they do not matter.
        _ => {
            body["num_events_received"] = json!(0);
            body["num_events_processed"] = json!(9999);
        }
    }
    Answer::reply(if rng.random_ratio(1, 4) { 201 } else { 200 }, &body)
}
