//! The stand-in over real connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::clock::Clock;

const NOW: i64 = 1_800_000_000;

struct Running {
    mock: Mock,
    at: SocketAddr,
    clock: Clock,
}

struct Got {
    status: u16,
    head: String,
    body: String,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a JSON answer")
    }
}

async fn start(change: impl FnOnce(&mut Options)) -> Running {
    let clock = Clock::manual(NOW * 1000);
    let mut options = Options {
        switches: Switches::default(),
        journal: None,
        count_only: false,
        clock: clock.clone(),
    };
    change(&mut options);
    let mock = Mock::new(options).expect("a stand-in");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("its address");
    tokio::spawn(serve(listener, mock.clone()));
    Running { mock, at, clock }
}

async fn with(switches: Switches) -> Running {
    start(|o| o.switches = switches).await
}

impl Running {
    async fn call(&self, head: &str, body: &str) -> io::Result<Got> {
        let mut stream = TcpStream::connect(self.at).await?;
        let request = format!(
            "{head}\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut all = String::new();
        stream.read_to_string(&mut all).await?;
        let (head, body) = all
            .split_once("\r\n\r\n")
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head[9..12].parse().expect("a status");
        Ok(Got {
            status,
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        })
    }

    async fn post(&self, events: &[Value]) -> io::Result<Got> {
        self.post_to("/v5/ad_accounts/42/events", events).await
    }

    async fn post_to(&self, path: &str, events: &[Value]) -> io::Result<Got> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nauthorization: Bearer t\r\ncontent-type: application/json"
        );
        self.call(&head, &json!({"data": events}).to_string()).await
    }

    async fn status(&self, events: &[Value]) -> u16 {
        self.post(events).await.expect("an answer").status
    }
}

fn event(id: &str) -> Value {
    json!({"event_name": "checkout", "action_source": "web", "event_time": NOW,
           "event_id": id, "user_data": {"em": ["a@b.c"]}})
}

fn named(id: &str, name: &str) -> Value {
    let mut event = event(id);
    event["event_name"] = json!(name);
    event
}

#[tokio::test]
async fn a_good_request_is_answered_in_order_and_accounted() {
    let run = with(Switches::default()).await;
    let mut old = event("b");
    old["event_time"] = json!(NOW - 8 * 86_400);
    let got = run
        .post(&[event("a"), old, event("c")])
        .await
        .expect("answer");
    assert_eq!(got.status, 200);
    let body = got.json();
    assert_eq!(body["num_events_received"], 3);
    assert_eq!(body["num_events_processed"], 2);
    let states: Vec<_> = (0..3)
        .map(|i| body["events"][i]["status"].clone())
        .collect();
    assert_eq!(states, ["processed", "failed", "processed"]);
    assert_eq!(
        body["events"][1]["error_message"],
        "Given timestamp is in the past"
    );
    assert!(
        got.head.contains("date: fri, 15 jan 2027 08:00:00 gmt"),
        "{}",
        got.head
    );

    run.post_to("/ad_accounts/42/events", &[event("a"), named("a", "lead")])
        .await
        .expect("answer");
    let totals = run.mock.totals();
    assert_eq!(totals.requests, 2);
    assert_eq!(totals.by_status["200"], 2);
    assert_eq!(totals.events_received, 5);
    assert_eq!(totals.events_processed, 4);
    assert_eq!(totals.distinct_event_ids, 2);
    assert_eq!(
        (totals.duplicates, totals.renamed, totals.failed),
        (1, 1, 1)
    );
    let seen = run.mock.events();
    let counts: Vec<_> = seen
        .iter()
        .map(|s| (&*s.event_id, &*s.event_name, s.count, s.received))
        .collect();
    assert_eq!(
        counts,
        [
            ("a", "checkout", 2, 2),
            ("b", "checkout", 0, 1),
            ("c", "checkout", 1, 1),
            ("a", "lead", 1, 1)
        ]
    );
}

#[tokio::test]
async fn a_resend_with_other_content_is_noticed() {
    let run = with(Switches::default()).await;
    run.status(&[event("a")]).await;
    run.status(&[event("a")]).await;
    assert_eq!(run.mock.totals().changed, 0);
    let mut later = event("a");
    later["event_time"] = json!(NOW + 1);
    run.status(&[later]).await;
    assert_eq!(run.mock.totals().changed, 1);
}

#[tokio::test]
async fn the_door_checks_token_account_type_and_schema() {
    let run = with(Switches {
        token: Some("secret".into()),
        ad_account: Some("42".into()),
        ..Switches::default()
    })
    .await;
    let body = json!({"data": [event("a")]}).to_string();
    let post = |account: &str, headers: &str| {
        format!("POST /v5/ad_accounts/{account}/events HTTP/1.1\r\n{headers}")
    };
    let json_type = "content-type: application/json; charset=utf-8";
    for (head, status, code) in [
        (post("42", json_type), 401, 2),
        (
            post("42", &format!("authorization: Bearer t\r\n{json_type}")),
            401,
            2,
        ),
        (
            post("42", &format!("authorization: Basic secret\r\n{json_type}")),
            401,
            2,
        ),
        (
            post(
                "43",
                &format!("authorization: Bearer secret\r\n{json_type}"),
            ),
            404,
            2,
        ),
        (
            post(
                "4x",
                &format!("authorization: Bearer secret\r\n{json_type}"),
            ),
            400,
            1,
        ),
        (
            post(
                "42",
                "authorization: Bearer secret\r\ncontent-type: text/plain",
            ),
            400,
            1,
        ),
    ] {
        let got = run.call(&head, &body).await.expect("answer");
        assert_eq!(
            (got.status, got.json()["code"].as_i64()),
            (status, Some(code)),
            "{head}"
        );
    }
    let good = post(
        "42",
        &format!("authorization: Bearer secret\r\n{json_type}"),
    );
    assert_eq!(run.call(&good, &body).await.expect("answer").status, 200);
    assert_eq!(
        run.call(&good, "{").await.expect("answer").json()["code"],
        1
    );
    let unknown = json!({"data": [event("b"), {"event_id": "c"}]}).to_string();
    assert_eq!(
        run.call(&good, &unknown).await.expect("answer").json()["code"],
        4196
    );
    let get = good.replace("POST", "GET");
    assert_eq!(run.call(&get, "").await.expect("answer").status, 405);
    assert_eq!(run.mock.totals().events_processed, 1);
}

#[tokio::test]
async fn custom_keys_refuse_the_whole_request_unless_accepted() {
    let run = with(Switches::default()).await;
    let mut custom = event("b");
    custom["custom_data"] = json!({"tier": "gold"});
    let got = run
        .post(&[event("a"), custom.clone()])
        .await
        .expect("answer");
    assert_eq!((got.status, got.json()["code"].as_i64()), (400, Some(4196)));
    assert!(
        got.body
            .contains("Additional properties are not allowed ('tier' was unexpected)")
    );
    assert_eq!(run.mock.totals().events_received, 0);
    run.mock.set_switches(Switches {
        custom_keys: CustomKeys::Accept,
        ..Switches::default()
    });
    assert_eq!(run.status(&[custom]).await, 200);
}

#[tokio::test]
async fn refusals_by_id_name_and_text_under_every_status() {
    let run = with(Switches {
        refuse_event_ids: vec!["a".into()],
        refuse_names: vec!["lead".into()],
        refuse_containing: Some("\"zz\"".into()),
        refuse_message: "no".into(),
        ..Switches::default()
    })
    .await;
    let mut text = event("c");
    text["user_data"]["em"] = json!(["zz"]);
    let batch = [event("a"), named("b", "lead"), text, event("d")];
    let got = run.post(&batch).await.expect("answer");
    assert_eq!(
        (got.status, got.json()["num_events_processed"].as_i64()),
        (200, Some(1))
    );
    assert_eq!(got.json()["events"][2]["error_message"], "no");

    let all_failed = run.post(&batch[..2]).await.expect("answer");
    assert_eq!(
        (all_failed.status, all_failed.json()["code"].as_i64()),
        (422, Some(953))
    );
    assert_eq!(
        all_failed.json()["details"]["events"][1]["status"],
        "failed"
    );

    run.mock.set_switches(Switches {
        mixed_status: 422,
        all_failed_status: 200,
        ..run.mock.switches()
    });
    let got = run.post(&batch).await.expect("answer");
    assert_eq!(
        (
            got.status,
            got.json()["details"]["num_events_processed"].as_i64()
        ),
        (422, Some(1))
    );
    assert_eq!(run.status(&batch[..2]).await, 200);

    run.mock.set_switches(Switches {
        refuse_as: RefuseAs::Request,
        ..run.mock.switches()
    });
    assert_eq!(run.status(&batch).await, 400);
    assert_eq!(run.status(&batch[3..]).await, 200);
    run.mock.set_switches(Switches {
        refuse_all: true,
        ..run.mock.switches()
    });
    assert_eq!(run.status(&batch[3..]).await, 400);
}

#[tokio::test]
async fn a_fault_may_meet_only_the_requests_that_contain_a_text() {
    let run = with(Switches {
        fault: Some(Fault::Status(500)),
        fault_containing: Some("\"bad\"".into()),
        ..Switches::default()
    })
    .await;
    assert_eq!(run.status(&[event("good")]).await, 200);
    assert_eq!(run.status(&[event("bad"), event("good")]).await, 500);
    assert_eq!(run.status(&[event("badly")]).await, 200);
}

#[tokio::test]
async fn status_faults_for_the_first_requests_with_their_headers() {
    let run = with(Switches {
        fault: Some(Fault::Status(429)),
        fault_first: Some(2),
        retry_after: Some(7),
        rate_limit_reset: Some(9),
        ..Switches::default()
    })
    .await;
    let got = run.post(&[event("a")]).await.expect("answer");
    assert_eq!((got.status, got.json()["code"].as_i64()), (429, Some(8)));
    assert!(got.head.contains("retry-after: 7") && got.head.contains("x-ratelimit-reset: 9"));
    assert_eq!(run.status(&[event("a")]).await, 429);
    assert_eq!(run.mock.totals().events_processed, 0);
    assert_eq!(run.status(&[event("a")]).await, 200);
    assert_eq!(run.mock.events()[0].received, 3);

    run.mock.set_switches(Switches {
        fault: Some(Fault::Status(503)),
        fault_processed: true,
        fault_message: Some("busy".into()),
        fault_code: Some(1),
        ..Switches::default()
    });
    let got = run.post(&[event("b")]).await.expect("answer");
    assert_eq!(got.json(), json!({"code": 1, "message": "busy"}));
    assert_eq!(run.mock.totals().distinct_event_ids, 2);
    run.mock.set_switches(Switches {
        fault: Some(Fault::Status(302)),
        ..Switches::default()
    });
    assert!(
        run.post(&[event("b")])
            .await
            .expect("answer")
            .head
            .contains("location: /elsewhere")
    );
}

#[tokio::test]
async fn the_same_seed_draws_the_same_faults() {
    let run = with(Switches::default()).await;
    let mut rounds = Vec::new();
    for _ in 0..2 {
        run.mock.set_switches(Switches {
            fault: Some(Fault::Status(500)),
            fault_probability: 0.5,
            seed: 11,
            ..Switches::default()
        });
        let mut round = Vec::new();
        for _ in 0..20 {
            round.push(run.status(&[event("a")]).await);
        }
        rounds.push(round);
    }
    assert_eq!(rounds[0], rounds[1]);
    assert!(
        rounds[0].contains(&200) && rounds[0].contains(&500),
        "{rounds:?}"
    );
}

#[tokio::test]
async fn broken_connections_processed_or_not() {
    let run = with(Switches {
        fault: Some(Fault::Reset),
        ..Switches::default()
    })
    .await;
    let said = run
        .post(&[event("a")])
        .await
        .map(|g| g.status)
        .expect_err("reset");
    assert_eq!(said.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(run.mock.totals().events_processed, 0);
    run.mock.set_switches(Switches {
        fault: Some(Fault::Close),
        fault_processed: true,
        ..Switches::default()
    });
    let said = run
        .post(&[event("a")])
        .await
        .map(|g| g.status)
        .expect_err("closed");
    assert_eq!(said.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(run.mock.totals().events_processed, 1);
    run.mock.set_switches(Switches {
        fault: Some(Fault::Silent),
        ..Switches::default()
    });
    let batch = [event("a")];
    let waited = tokio::time::timeout(Duration::from_millis(100), run.post(&batch)).await;
    assert!(waited.is_err(), "no answer comes");
    let by_status = run.mock.totals().by_status;
    assert_eq!(
        (by_status["reset"], by_status["close"], by_status["silent"]),
        (1, 1, 1)
    );
}

#[tokio::test]
async fn odd_answers() {
    let run = with(Switches {
        fault: Some(Fault::ShortList),
        ..Switches::default()
    })
    .await;
    let batch = [event("a"), event("b")];
    let lengths = async |fault| {
        run.mock.set_switches(Switches {
            fault: Some(fault),
            ..Switches::default()
        });
        let got = run.post(&batch).await.expect("answer");
        assert_eq!(got.status, 200);
        got.json()["events"].as_array().map(Vec::len)
    };
    assert_eq!(lengths(Fault::ShortList).await, Some(1));
    assert_eq!(lengths(Fault::LongList).await, Some(3));
    assert_eq!(lengths(Fault::OddStatus).await, Some(2));
    let got = run.post(&batch).await.expect("answer");
    assert_eq!(got.json()["events"][1]["status"], "kept");
    run.mock.set_switches(Switches {
        without_counters: true,
        without_messages: true,
        ..Switches::default()
    });
    let got = run.post(&[event("c")]).await.expect("answer").json();
    assert!(got.get("num_events_received").is_none(), "{got}");
    assert!(got["events"][0].get("error_message").is_none(), "{got}");
    run.mock.set_switches(Switches {
        fault: Some(Fault::Unreadable),
        ..Switches::default()
    });
    let got = run.post(&batch).await.expect("answer");
    assert!(serde_json::from_str::<Value>(&got.body).is_err());
    assert_eq!(got.status, 200);
    run.mock.set_switches(Switches {
        fault: Some(Fault::Trickle),
        trickle_ms: 1,
        ..Switches::default()
    });
    let began = std::time::Instant::now();
    let got = run.post(&batch).await.expect("answer");
    assert_eq!(got.json()["num_events_processed"], 2);
    assert!(began.elapsed() >= Duration::from_millis(got.body.len() as u64));
}

#[tokio::test]
async fn limits_of_size_rate_and_test_mode() {
    let run = with(Switches {
        max_body_bytes: Some(200),
        ..Switches::default()
    })
    .await;
    assert_eq!(run.status(&[event("a"), event("b")]).await, 413);
    assert_eq!(run.status(&[event("a")]).await, 200);

    run.mock.set_switches(Switches {
        calls_per_minute: Some(2),
        ..Switches::default()
    });
    let got = run.post(&[event("b")]).await.expect("answer");
    assert!(
        got.head.contains("x-ratelimit-remaining: 1"),
        "{}",
        got.head
    );
    assert_eq!(run.status(&[event("c")]).await, 200);
    let got = run.post(&[event("d")]).await.expect("answer");
    assert_eq!(got.status, 429);
    assert!(got.head.contains("x-ratelimit-reset: 60"), "{}", got.head);
    run.clock.advance(Duration::from_secs(60));
    assert_eq!(run.status(&[event("d")]).await, 200);

    run.mock.set_switches(Switches {
        test_calls_per_second: 1,
        ..Switches::default()
    });
    let events: Vec<_> = (0..21).map(|i| event(&format!("t{i}"))).collect();
    let test = "/v5/ad_accounts/42/events?test=true";
    let got = run.post_to(test, &events).await.expect("answer").json();
    assert_eq!(got["num_events_processed"], 20);
    assert_eq!(got["events"][20]["status"], "failed");
    let totals = run.mock.totals();
    assert_eq!((totals.test_events, totals.distinct_event_ids), (20, 4));
    assert_eq!(
        run.post_to(test, &events).await.expect("answer").status,
        429
    );
}

#[tokio::test]
async fn the_control_api_changes_and_tells() {
    let run = with(Switches {
        latency_ms: 1,
        ..Switches::default()
    })
    .await;
    let patched = run
        .call("PATCH /_control/mode HTTP/1.1", r#"{"fault":"reset"}"#)
        .await
        .expect("answer");
    assert_eq!(patched.json()["fault"], "reset");
    assert_eq!(run.mock.switches().latency_ms, 1, "the others stay");
    for body in [r#"{"falt":"reset"}"#, "[]", r#"{"fault":"never"}"#] {
        let got = run
            .call("PATCH /_control/mode HTTP/1.1", body)
            .await
            .expect("answer");
        assert_eq!(got.status, 400, "{body}");
        let got = run
            .call("PUT /_control/mode HTTP/1.1", body)
            .await
            .expect("answer");
        assert_eq!(got.status, 400, "{body}");
    }
    run.call("PUT /_control/mode HTTP/1.1", "{}")
        .await
        .expect("answer");
    assert_eq!(run.mock.switches(), Switches::default());
    run.status(&[event("a"), event("b")]).await;
    let account = run
        .call("GET /_control/account HTTP/1.1", "")
        .await
        .expect("answer")
        .json();
    assert_eq!(account["events_processed"], 2);
    let seen = run
        .call("GET /_control/events HTTP/1.1", "")
        .await
        .expect("answer")
        .body;
    let first: Value = serde_json::from_str(seen.lines().next().expect("a line")).expect("JSON");
    assert_eq!(
        (first["event_id"].as_str(), first["count"].as_i64()),
        (Some("a"), Some(1))
    );
    let requests = run
        .call("GET /_control/requests HTTP/1.1", "")
        .await
        .expect("answer")
        .body;
    assert!(
        requests.contains(r#""status":"200","events":2,"processed":2"#),
        "{requests}"
    );
    assert_eq!(
        run.call("POST /v4/x HTTP/1.1", "")
            .await
            .expect("answer")
            .status,
        404
    );
    assert_eq!(run.mock.totals().stray_requests, 1);
    run.call("DELETE /_control/account HTTP/1.1", "")
        .await
        .expect("answer");
    assert_eq!(run.mock.totals(), Totals::default());
    assert!(run.mock.events().is_empty());
}

#[tokio::test]
async fn the_journal_carries_the_account_over_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = folder.path().join("journal");
    let options = |o: &mut Options| o.journal = Some(journal.clone());
    let run = start(options).await;
    run.status(&[event("a"), event("a"), named("b", "lead")])
        .await;
    use std::io::Write;
    std::fs::OpenOptions::new()
        .append(true)
        .open(&journal)
        .and_then(|mut f| f.write_all(b"{\"event_id\":\"half"))
        .expect("a torn line");
    let again = start(options).await;
    let totals = again.mock.totals();
    assert_eq!(
        (
            totals.events_processed,
            totals.distinct_event_ids,
            totals.duplicates
        ),
        (3, 2, 1)
    );
    again
        .call("DELETE /_control/account HTTP/1.1", "")
        .await
        .expect("answer");
    again.status(&[event("c")]).await;
    let third = start(options).await;
    assert_eq!(third.mock.totals().events_processed, 1);
}

#[tokio::test]
async fn count_only_counts() {
    let run = start(|o| o.count_only = true).await;
    let got = run
        .post(&[event("a"), event("a")])
        .await
        .expect("answer")
        .json();
    assert_eq!(got["num_events_processed"], 2);
    assert_eq!(got["events"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        run.post(&[]).await.expect("answer").json()["events"],
        json!([])
    );
    assert_eq!(run.mock.totals().events_processed, 2);
}
