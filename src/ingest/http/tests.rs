//! The HTTP side over real connections, with the reference queue behind it.

use std::io::Write as _;

use base64::Engine as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::clock::Clock;
use crate::observe::{Observer, Step, short};
use crate::policy::SharedPolicy;
use crate::queue::{MemoryEngine, Queue, Seq};

struct Site {
    address: std::net::SocketAddr,
    queue: Queue,
    observer: Observer,
    keys: WriteKeys,
    handle: Handle,
}

const LIMIT: usize = 2000;

fn limits(trust_forwarded: bool) -> SharedHttpLimits {
    SharedHttpLimits::new(HttpLimits {
        trust_forwarded,
        max_body: 100_000,
    })
}

async fn site() -> Site {
    site_with(|_| ()).await
}

async fn site_with(change: impl FnOnce(&mut HttpOptions)) -> Site {
    let clock = Clock::system();
    let observer = Observer::default();
    let queue = Queue::memory(MemoryEngine::new(clock.clone(), 60_000));
    let intake = Intake::new(
        queue.clone(),
        clock,
        LIMIT,
        observer.clone(),
        SharedPolicy::default(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let keys = WriteKeys::default();
    let mut options = HttpOptions {
        keys: keys.clone(),
        limits: limits(false),
        tls: None,
        ready: Arc::new(|| Box::pin(async { Vec::new() })),
    };
    change(&mut options);
    let crowd = Crowd::new(net::Limits {
        name: "ingest",
        connections: 10,
        life: None,
        busy_may_go: None,
    });
    let handle = spawn(vec![], vec![listener], Arc::new(intake), options, crowd).unwrap();
    Site {
        address,
        queue,
        observer,
        keys,
        handle,
    }
}

/// Status, headers, body.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn results(&self) -> Vec<String> {
        let json = self.json();
        let results = json["results"].as_array().cloned().unwrap_or_default();
        let shown = |result: &Value| {
            let id = result["messageId"].as_str().unwrap_or_default();
            format!("{} {id}", result["status"].as_str().unwrap_or_default())
        };
        results.iter().map(shown).collect()
    }
}

async fn answer(stream: &mut TcpStream) -> Answer {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    let end = all
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8(all[..end].to_vec())
        .unwrap()
        .to_ascii_lowercase();
    Answer {
        status: head[9..12].parse().unwrap(),
        body: all[end + 4..].to_vec(),
        head,
    }
}

impl Site {
    async fn send(&self, line: &str, headers: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length = body.len();
        let head = format!(
            "{line} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        answer(&mut stream).await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(&format!("POST {path}"), "", body.as_bytes())
            .await
    }

    /// What is stored, oldest first.
    async fn stored(&self) -> Vec<Value> {
        let page = self.queue.waiting(Seq(0), 1000).await.unwrap();
        let lines = page.events.iter().map(|event| &event.body);
        lines
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }
}

fn event(id: &str) -> String {
    format!(r#"{{"messageId":"{id}","type":"page","context":{{"ip":"203.0.113.7"}}}}"#)
}

#[tokio::test]
async fn each_path_takes_what_its_clients_send() {
    let site = site().await;
    let mut ids = Vec::new();
    for path in [
        "/api/track",
        "/api/track/",
        "//v1//track",
        "/api/s/track",
        "/api/s/s2s/track",
        "/v1/track",
        "/v1/t",
        "/track",
        "/t",
    ] {
        let id = format!("id {path}");
        let body = json!({"messageId": id, "event": "Product Viewed"}).to_string();
        let answer = site.post(path, &body).await;
        assert_eq!(
            (answer.status, answer.results()),
            (200, vec![format!("queued {id}")]),
            "{path}"
        );
        assert_eq!(
            (&answer.json()["ok"], &answer.json()["success"]),
            (&json!(true), &json!(true))
        );
        ids.push(id);
    }
    for path in [
        "/v1/page",
        "/v1/s",
        "/api/screen",
        "/v1/identify",
        "/a",
        "/api/s/s2s/group",
    ] {
        assert_eq!(
            site.post(path, r#"{"messageId":"same"}"#).await.status,
            200,
            "{path}"
        );
    }
    for path in [
        "/v1/batch",
        "/v1/b",
        "/batch",
        "/b",
        "/api/s/s2s/batch",
        "/api/s/page",
        "/api/s/s2s/page",
    ] {
        let body = format!(
            r#"{{"batch":[{},{}],"sentAt":"2026-01-01T00:00:00Z"}}"#,
            event(path),
            event("same")
        );
        let answer = site.post(path, &body).await;
        let results = vec![format!("queued {path}"), "duplicate same".to_owned()];
        assert_eq!((answer.status, answer.results()), (200, results), "{path}");
    }
    let stored = site.stored().await;
    let kinds = stored
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect::<Vec<_>>();
    assert_eq!(kinds[..7], ["track"; 7]);
    assert!(
        stored
            .iter()
            .all(|event| event["receivedAt"].as_str().unwrap().ends_with('Z'))
    );
    assert_eq!(stored.last().unwrap()["sentAt"], "2026-01-01T00:00:00Z");
}

#[tokio::test]
async fn of_a_batch_the_good_ones_are_taken_and_the_bad_ones_named() {
    let site = site().await;
    let long = "x".repeat(LIMIT);
    let body = format!(
        r#"{{"batch":[{},7,{{"messageId":"b","type":"track"}},{{"messageId":"l","type":"page","x":"{long}"}},{{"messageId":"i","type":"identify"}}]}}"#,
        event("a")
    );
    let answer = site.post("/v1/batch", &body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.results(),
        [
            "queued a",
            "rejected ",
            "rejected ",
            "rejected ",
            "ignored i"
        ]
    );
    let told = answer.json()["results"].clone();
    assert_eq!((&told[1]["line"], &told[3]["line"]), (&json!(2), &json!(4)));
    assert!(
        told[3]["error"]
            .as_str()
            .unwrap()
            .contains("over 2000 bytes"),
        "{told}"
    );

    let answer = site
        .post("/v1/batch", r#"{"batch":[7,{"type":"track"}]}"#)
        .await;
    assert_eq!(
        (answer.status, answer.json()["ok"].clone()),
        (400, json!(false))
    );
    assert_eq!(answer.results(), ["rejected ", "rejected "]);
    // Nothing bad is in these.
    assert_eq!(site.post("/v1/batch", r#"{"batch":[]}"#).await.status, 200);
    let ignored = r#"{"batch":[{"messageId":"i","type":"identify"}]}"#;
    assert_eq!(site.post("/v1/batch", ignored).await.status, 200);
}

#[tokio::test]
async fn a_batch_of_several_blocks_is_answered_in_order() {
    let site = site().await;
    let events: Vec<_> = (0..1300)
        .map(|n| format!(r#"{{"messageId":"{n}","type":"page"}}"#))
        .collect();
    let body = format!(r#"{{"batch":[{}]}}"#, events.join(","));
    let answer = site.post("/v1/batch", &body).await;
    let queued: Vec<_> = (0..1300).map(|n| format!("queued {n}")).collect();
    assert_eq!(answer.results(), queued);
}

#[tokio::test]
async fn what_is_wrong_is_said_and_takes_nothing() {
    let site = site().await;
    let chunked = {
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        let head =
            "POST /v1/track HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n186a1\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b' '; 100_001]).await.unwrap();
        answer(&mut stream).await
    };
    assert_eq!(chunked.status, 413);
    let good = event("a");
    let gzip = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let bomb = gzip(&vec![b' '; 10 << 20]);
    for (line, headers, body, status, says) in [
        ("POST /v1/track", "", &b""[..], 400, "not an object"),
        ("POST /v1/track", "", b"[]", 400, "not an object"),
        ("POST /v1/track", "", b"{\"a\":", 400, "at byte 6"),
        ("POST /v1/batch", "", b"{}", 400, "batch is missing"),
        ("POST /v1/track", "", &[b' '; 100_001], 413, "100000 bytes"),
        (
            "POST /v1/track",
            "Content-Encoding: gzip\r\n",
            good.as_bytes(),
            400,
            "no gzip",
        ),
        (
            "POST /v1/track",
            "Content-Encoding: gzip\r\n",
            &bomb,
            413,
            "100000 bytes",
        ),
        (
            "POST /v1/track",
            "Content-Encoding: br\r\n",
            good.as_bytes(),
            415,
            "gzip",
        ),
        (
            "POST /v1/track",
            "Content-Type: multipart/form-data\r\n",
            b"x",
            415,
            "application/json",
        ),
        (
            "POST /v1/events",
            "Content-Type: application/json\r\n",
            b"x",
            415,
            "x-ndjson",
        ),
        ("POST /v2/track", "", good.as_bytes(), 404, "/v2/track"),
        ("GET /v1/track", "", b"", 405, "POST"),
    ] {
        let answer = site.send(line, headers, body).await;
        let said = answer.json()["error"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert_eq!(answer.status, status, "{line} {headers} {said}");
        assert!(said.contains(says), "{line} {headers} {said}");
    }
    assert!(site.stored().await.is_empty());
    // What clients send their JSON as.
    for (n, kind) in [
        "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
        "application/json",
    ]
    .iter()
    .enumerate()
    {
        let headers = format!("Content-Type: {kind}\r\nContent-Encoding: gzip\r\n");
        let body = gzip(event(&format!("packed-{n}")).as_bytes());
        assert_eq!(
            site.send("POST /v1/track", &headers, &body).await.status,
            200,
            "{kind}"
        );
    }
}

#[tokio::test]
async fn a_write_key_is_taken_from_wherever_clients_put_it_and_its_name_is_remembered() {
    let site = site().await;
    site.keys
        .set([("shop", "id:s3cret"), ("app", "k")].into_iter());
    let plain = event("none");
    let denied = site.post("/v1/track", &plain).await;
    assert_eq!(denied.status, 401);
    assert!(
        denied.head.contains("www-authenticate: basic"),
        "{}",
        denied.head
    );
    let basic = |text: &str| {
        let encoded = base64::engine::general_purpose::STANDARD.encode(text);
        format!("Authorization: Basic {encoded}\r\n")
    };
    let masked = r#"{"messageId":"masked","type":"page","writeKey":"id:***"}"#;
    let in_body = r#"{"messageId":"in-body","type":"page","writeKey":"id:s3cret"}"#;
    for (line, headers, body, status) in [
        (
            "POST /v1/page",
            "X-Write-Key: id:s3cret\r\n".to_owned(),
            masked,
            200,
        ),
        ("POST /v1/page", basic("id:s3cret:"), masked, 200),
        (
            "POST /v1/page?writeKey=id%3As3cret",
            String::new(),
            masked,
            200,
        ),
        ("POST /v1/page", String::new(), in_body, 200),
        ("POST /v1/page", String::new(), masked, 401),
        ("POST /v1/page", basic("id:"), in_body, 401),
        (
            "POST /v1/page",
            "X-Write-Key: id\r\n".to_owned(),
            in_body,
            401,
        ),
        ("POST /v1/events", String::new(), in_body, 401),
        (
            "POST /v1/events",
            "X-Write-Key: k\r\n".to_owned(),
            in_body,
            200,
        ),
    ] {
        let answer = site.send(line, &headers, body.as_bytes()).await;
        assert_eq!(answer.status, status, "{line} {headers} {body}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("s3cret"));
    }
    let stored = site.stored().await;
    assert_eq!(stored.len(), 2);
    assert!(
        !stored
            .iter()
            .any(|event| event.to_string().contains("s3cret") && event["messageId"] == "in-body")
    );
    let id = short(site.queue.hasher().hash("in-body"));
    let steps = site.observer.history().trace(id);
    let keys: Vec<_> = steps
        .iter()
        .map(|step| match step {
            Step::Arrived {
                key,
                address,
                answer,
                ..
            } => format!("{answer} {key:?} {address:?}"),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        keys,
        [
            r#"queued Some("shop") Some("127.0.0.1")"#,
            r#"duplicate Some("app") Some("127.0.0.1")"#,
        ]
    );
}

#[tokio::test]
async fn an_event_without_an_id_gets_the_requests_or_one_that_is_counted() {
    let site = site().await;
    let key = "Idempotency-Key: once\r\n";
    let body = br#"{"event":"Product Viewed","messageId":null}"#;
    assert_eq!(
        site.send("POST /v1/track", key, body).await.results(),
        ["queued once"]
    );
    assert_eq!(
        site.send("POST /v1/track", key, body).await.results(),
        ["duplicate once"]
    );
    assert_eq!(site.observer.meters().ids_made(), 0);
    let two = br#"{"batch":[{"type":"page"},{"type":"page"}]}"#;
    let results = site.send("POST /v1/batch", key, two).await.results();
    assert!(
        results[0] != results[1] && results.iter().all(|r| r.len() == "queued ".len() + 36),
        "{results:?}"
    );
    assert_eq!(site.observer.meters().ids_made(), 2);
}

#[tokio::test]
async fn the_customers_address_is_a_proxys_word_only_where_that_is_believed() {
    let headers = "X-Forwarded-For: 203.0.113.9\r\nUser-Agent: Browser\r\n";
    for trusts in [false, true] {
        let site = site_with(|options| options.limits = limits(trusts)).await;
        for path in ["/v1/page", "/api/s/page"] {
            site.send(&format!("POST {path}"), headers, b"{}").await;
        }
        let contexts: Vec<_> = site
            .stored()
            .await
            .iter()
            .map(|event| event["context"].clone())
            .collect();
        match trusts {
            false => assert_eq!(contexts, [Value::Null, Value::Null]),
            true => assert_eq!(
                contexts,
                [
                    json!({"ip": "203.0.113.9"}),
                    json!({"ip": "203.0.113.9", "userAgent": "Browser"}),
                ]
            ),
        }
    }
}

#[tokio::test]
async fn lines_are_answered_as_they_come() {
    let site = site().await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let head = "POST /v1/events HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = String::new();
    for n in 0..3 {
        let line = format!("{}\n", event(&format!("line-{n}")));
        let chunk = format!("{:x}\r\n{line}\r\n", line.len());
        stream.write_all(chunk.as_bytes()).await.unwrap();
        let expected = format!(r#"{{"status":"queued","messageId":"line-{n}"}}"#);
        while !seen.contains(&expected) {
            let mut some = [0; 4096];
            let read = stream.read(&mut some).await.unwrap();
            assert!(read > 0, "{seen}");
            seen.push_str(std::str::from_utf8(&some[..read]).unwrap());
        }
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert!(seen.contains("application/x-ndjson"));
    assert_eq!(site.stored().await.len(), 3);
}

#[tokio::test]
async fn an_answer_breaks_off_where_the_lines_were_not_all_taken() {
    let site = site().await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let line = format!("{}\n", event("first"));
    let head = "POST /v1/events HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let some = format!("{head}{:x}\r\n{line}\r\n", line.len());
    stream.write_all(some.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("first") {
        assert!(stream.read_buf(&mut seen).await.unwrap() > 0);
    }
    // More would come, and the daemon stops.
    site.handle.stop(Duration::from_secs(5)).await;
    // However it ends, it does not end as a whole answer does.
    let _ = stream.read_to_end(&mut seen).await;
    assert!(
        !seen.ends_with(b"0\r\n\r\n"),
        "{}",
        String::from_utf8_lossy(&seen)
    );
    // Damaged on its way.
    let answer = site_of_damaged_gzip().await;
    assert!(
        !answer.ends_with(b"0\r\n\r\n"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

async fn site_of_damaged_gzip() -> Vec<u8> {
    let site = site().await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let head = "POST /v1/events HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\nnogzip";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

#[tokio::test]
async fn packed_lines_are_unpacked_as_they_come() {
    let site = site().await;
    let mut lines = String::new();
    (0..500).for_each(|n| lines.push_str(&format!("{}\n", event(&format!("packed-{n}")))));
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(lines.as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    let answer = site
        .send("POST /v1/events", "Content-Encoding: gzip\r\n", &packed)
        .await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(text.matches(r#""status":"queued""#).count(), 500, "{text}");
}

#[tokio::test]
async fn a_stop_answers_what_is_under_way_and_takes_no_more() {
    let site = site().await;
    // One rests between two requests, one has sent half of its body.
    let mut resting = TcpStream::connect(site.address).await.unwrap();
    let request = |id: &str| {
        let body = event(id);
        format!(
            "POST /v1/track HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    resting.write_all(request("a").as_bytes()).await.unwrap();
    let mut some = [0; 4096];
    assert!(resting.read(&mut some).await.unwrap() > 0);
    let mut halfway = TcpStream::connect(site.address).await.unwrap();
    let half = request("b");
    halfway
        .write_all(&half.as_bytes()[..half.len() - 10])
        .await
        .unwrap();
    let mut beside = TcpStream::connect(site.address).await.unwrap();
    beside
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(answer(&mut beside).await.status, 200);
    site.handle.stop(Duration::from_secs(5)).await;
    let left = answer(&mut halfway).await;
    assert_eq!(left.status, 503);
    assert!(left.head.contains("retry-after: 5"), "{}", left.head);
    assert_eq!(resting.read(&mut some).await.unwrap(), 0, "it is closed");
    assert!(TcpStream::connect(site.address).await.is_err());
}

#[tokio::test]
async fn who_sends_much_is_answered_also_where_nothing_of_it_is_taken() {
    let site = site().await;
    site.keys.set([("shop", "k")].into_iter());
    let much = vec![b'x'; 8 << 20];
    for (line, headers, status) in [
        ("POST /v1/track", "X-Write-Key: wrong\r\n", 401),
        ("POST /v1/track", "X-Write-Key: k\r\n", 413),
        ("POST /v1/events", "", 401),
        ("POST /nowhere", "", 404),
        ("PUT /v1/track", "", 405),
    ] {
        // All of it is written before anything is read.
        let answer = site.send(line, headers, &much).await;
        assert_eq!(answer.status, status, "{line} {headers}");
    }
}

/// 33 of them in a row cost 5 ms each.
#[tokio::test]
async fn requests_that_bring_nothing_are_read_slowly_whatever_is_wrong_with_them() {
    for line in [
        "POST /nowhere HTTP/1.1",
        "PUT /v1/track HTTP/1.1",
        "POST /v1/events HTTP/1.1\r\nContent-Type: image/png",
        "POST /v1/track HTTP/1.1\r\nContent-Type: image/png",
    ] {
        let site = site().await;
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        let request = format!("{line}\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
        let begun = std::time::Instant::now();
        for _ in 0..70 {
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"}") {
                assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "{line}");
            }
            assert!(answer.starts_with(b"HTTP/1.1 4"), "{line}");
        }
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(300), "{line}: {took:?}");
    }
}

#[tokio::test]
async fn balancers_and_browsers_learn_what_they_ask_for() {
    let site = site_with(|options| {
        options.ready = Arc::new(|| Box::pin(async { vec!["the disk is full".to_owned()] }));
    })
    .await;
    assert_eq!(site.send("GET /healthz", "", b"").await.status, 200);
    let ready = site.send("GET /readyz", "", b"").await;
    assert_eq!(
        (ready.status, ready.json()["reasons"][0].clone()),
        (503, json!("the disk is full"))
    );
    let settings = site
        .send("GET /v1/projects/id:k/settings", "", b"")
        .await
        .json();
    let there = json!({"apiKey": "id:k", "apiHost": "here/v1", "protocol": "http"});
    assert_eq!(settings["integrations"], json!({"Segment.io": there}));
}
