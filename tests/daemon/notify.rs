//! Whoever is told by the webhook: once when it begins, once when it is over.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Client, Sample, Site, StandIn, s};

/// A chat hook that answers with these statuses, the last for ever.
struct Hook {
    url: String,
    posts: Receiver<Value>,
}

impl Hook {
    fn answering(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!(
            "http://{}/hook/SECRET",
            listener.local_addr().expect("an address")
        );
        let (tell, posts) = channel();
        // It ends with the test's process.
        thread::spawn(move || {
            let mut answers = statuses.iter();
            let mut status = 200;
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.expect("a connection"));
                let mut length = 0;
                let mut line = String::new();
                while stream.read_line(&mut line).is_ok_and(|n| n > 2) {
                    let header = line.to_ascii_lowercase();
                    if let Some(value) = header.strip_prefix("content-length:") {
                        length = value.trim().parse().expect("a length");
                    }
                    line.clear();
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).expect("a body");
                status = answers.next().copied().unwrap_or(status);
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nlocation: /elsewhere\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                stream
                    .get_mut()
                    .write_all(answer.as_bytes())
                    .expect("answered");
                if tell
                    .send(serde_json::from_slice(&body).expect("JSON"))
                    .is_err()
                {
                    return;
                }
            }
        });
        Self { url, posts }
    }

    fn next(&self, limit: Duration) -> Value {
        self.posts.recv_timeout(limit).expect("a notification")
    }

    /// The next one of this kind and state; others in between are passed over.
    fn hears(&self, kind: &str, state: &str) -> Value {
        loop {
            let post = self.next(s(30));
            if post["kind"] == kind && post["state"] == state {
                return post;
            }
        }
    }
}

fn site(stand_in: &StandIn, hook: &Hook) -> Site {
    let site = Site::new(stand_in);
    let file = site.path("webhook");
    fs::write(&file, format!("{}\n", hook.url)).expect("a file");
    site.set("notify", "webhook_url_file", file.to_str().expect("a path"))
        .set("notify", "min_interval", "1s")
}

#[test]
fn a_wrong_token_is_told_once_and_its_end_once() {
    let stand_in = StandIn::start();
    let hook = Hook::answering(&[200]);
    let site = site(&stand_in, &hook);
    stand_in.mode(json!({"fault": "401"}));
    let daemon = site.start();
    Client::queue(&daemon.socket(), &crate::support::samples("told", 0..20));
    let post = hook.hears("parked", "raised");
    let text = post["text"].as_str().expect("a text");
    assert!(
        text.contains("parked: auth") && text.contains("20 events wait"),
        "{text}"
    );
    assert!(!post.to_string().contains("pina_"), "no token: {post}");
    stand_in.well();
    site.token("pina_second");
    hook.hears("parked", "recovered");
    stand_in.takes(20, s(10));
    assert_eq!(daemon.stop(s(10)).code, Some(0));
    assert!(hook.posts.try_recv().is_err(), "and nothing else");
}

#[test]
fn fifty_thousand_dead_letters_are_one_notification_and_their_end_one() {
    let stand_in = StandIn::counting();
    let hook = Hook::answering(&[200]);
    let site = site(&stand_in, &hook).set("notify", "min_interval", "5s");
    let daemon = site.start();
    let nobody = |i: usize| {
        let line = json!({"messageId": format!("dead-{i}"), "type": "page", "properties": {"title": "ada@example.com"}});
        Sample {
            id: format!("dead-{i}"),
            event_name: "page_visit",
            line: line.to_string(),
        }
    };
    let events: Vec<Sample> = (0..50_000).map(nobody).collect();
    for part in events.chunks(5000) {
        Client::queue(&daemon.socket(), part);
    }
    let raised = hook.hears("dead_letters", "raised");
    assert!(
        raised["text"]
            .as_str()
            .expect("a text")
            .contains("pinrelay dead list"),
        "{raised}"
    );
    assert!(
        !raised.to_string().contains("ada@"),
        "no personal data: {raised}"
    );
    let recovered = hook.hears("dead_letters", "recovered");
    assert!(
        recovered["text"]
            .as_str()
            .expect("a text")
            .contains("50000 since the start"),
        "{recovered}"
    );
    assert_eq!(daemon.status()["dead_total"], 50_000);
    assert_eq!(daemon.stop(s(10)).code, Some(0));
    assert!(hook.posts.try_recv().is_err(), "and nothing else");
}

#[test]
fn a_start_after_a_kill_is_told() {
    let stand_in = StandIn::start();
    let hook = Hook::answering(&[200]);
    let site = site(&stand_in, &hook);
    site.start().kill();
    let daemon = site.start();
    hook.hears("unclean_start", "raised");
    assert_eq!(daemon.stop(s(10)).code, Some(0));
}

/// Four attempts in seven seconds were all there was: a hook that was away a little longer never
/// heard that delivery was parked, and then that it was not parked any more.
#[test]
fn what_a_hook_did_not_take_is_told_again_while_it_is_true() {
    let stand_in = StandIn::start();
    let hook = Hook::answering(&[503, 503, 503, 503, 200]);
    let site = site(&stand_in, &hook);
    stand_in.mode(json!({"fault": "401"}));
    let daemon = site.start();
    Client::queue(&daemon.socket(), &crate::support::samples("again", 0..5));
    for _ in 0..4 {
        hook.hears("parked", "raised");
    }
    // The fifth is taken.
    hook.hears("parked", "raised");
    stand_in.well();
    site.token("pina_second");
    hook.hears("parked", "recovered");
    assert_eq!(daemon.stop(s(10)).code, Some(0));
    assert!(hook.posts.try_recv().is_err(), "and nothing else");
}

#[test]
fn a_hook_in_trouble_is_asked_again_and_never_holds_up_delivery() {
    let stand_in = StandIn::start();
    let hook = Hook::answering(&[503, 429, 200]);
    let site = site(&stand_in, &hook);
    let out = site
        .command(&["notify", "--test"])
        .output()
        .expect("it runs");
    assert_eq!(
        out.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    for _ in 0..3 {
        assert_eq!(hook.next(s(1))["kind"], "test");
    }
    // A redirect could lead anywhere: it is a refusal, and is not asked again.
    let elsewhere = Hook::answering(&[302]);
    fs::write(site.path("webhook"), &elsewhere.url).expect("a file");
    let out = site
        .command(&["notify", "--test"])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(69), "{said}");
    assert!(said.contains("302") && !said.contains("SECRET"), "{said}");
    assert!(
        said.contains("put the address that it ends at into"),
        "{said}"
    );
    assert_eq!(elsewhere.next(s(1))["kind"], "test");
    assert!(elsewhere.posts.try_recv().is_err());
    // One that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/SECRET", silent.local_addr().expect("an address"));
    fs::write(site.path("webhook"), url).expect("a file");
    stand_in.mode(json!({"fault": "401"}));
    let daemon = site.start();
    let samples = crate::support::samples("held", 0..100);
    Client::queue(&daemon.socket(), &samples);
    let (_held, _) = silent.accept().expect("the daemon tells it");
    stand_in.well();
    site.token("pina_second");
    stand_in.takes(100, s(10));
    assert!(!daemon.log().contains("SECRET"), "{}", daemon.log());
    assert_eq!(daemon.stop(s(10)).code, Some(0));
}

/// A producer whose currency cannot be read, and then can.
#[test]
fn money_that_cannot_be_read_is_told_by_its_share_and_so_is_the_end() {
    let stand_in = StandIn::start();
    let hook = Hook::answering(&[200]);
    let site = site(&stand_in, &hook);
    let daemon = site.start();
    let order = |n: usize, currency: &str| Sample {
        id: format!("order-{n}"),
        event_name: "checkout",
        line:
            json!({"messageId": format!("order-{n}"), "type": "track", "event": "Order Completed",
            "context": {"ip": "203.0.113.7"},
            "properties": {"revenue": 5, "currency": currency}})
            .to_string(),
    };
    Client::queue(&daemon.socket(), &[order(0, "EUR")]);
    stand_in.takes(1, s(10));
    Client::queue(&daemon.socket(), &[order(1, "\u{a5}SECRET")]);
    let raised = hook.hears("notes_rising", "raised");
    let text = raised["text"].as_str().expect("a text");
    assert!(
        text.contains("of 2 events") && text.contains("currency unreadable 1"),
        "{text}"
    );
    assert!(!text.contains("SECRET"), "{text}");
    let more: Vec<Sample> = (2..40).map(|n| order(n, "EUR")).collect();
    Client::queue(&daemon.socket(), &more);
    hook.hears("notes_rising", "recovered");
    assert_eq!(daemon.stop(s(10)).code, Some(0));
}
