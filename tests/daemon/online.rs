//! `pinrelay check --online`: what Pinterest's answer to one test event means, in words.

use serde_json::json;

use crate::support::{Site, StandIn};

fn check(site: &Site) -> (Option<i32>, String) {
    let out = site
        .command(&["check", "--online"])
        .output()
        .expect("it runs");
    (
        out.status.code(),
        String::from_utf8_lossy(&out.stdout).into_owned(),
    )
}

#[test]
fn the_answer_is_told_in_words_and_nothing_is_recorded() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let (code, said) = check(&site);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("Pinterest took a test event for ad account"),
        "{said}"
    );
    let totals = stand_in.totals();
    assert_eq!(
        (totals.test_events, totals.distinct_event_ids),
        (1, 0),
        "in test mode nothing is recorded"
    );
    for (switches, code, words) in [
        (json!({"fault": "401"}), 78, "does not know this token (401"),
        (json!({"fault": "403"}), 78, "not for ad account"),
        (json!({"fault": "404"}), 78, "not for ad account"),
        (json!({"fault": "429"}), 0, "limits the rate"),
        (
            json!({"fault": "503"}),
            78,
            "no verdict from Pinterest (HTTP 503: Service unavailable.)",
        ),
        (json!({"fault": "302"}), 78, "status 302"),
        (json!({"refuse_all": true}), 0, "refused the test event"),
    ] {
        stand_in.mode(switches.clone());
        let (exit, said) = check(&site);
        assert_eq!(exit, Some(code), "{switches}: {said}");
        assert!(said.contains(words), "{switches}: {said}");
        assert!(!said.contains("pina_first"), "the token is told: {said}");
    }
}

#[test]
fn without_a_connection_it_says_whether_name_network_or_tls() {
    let stand_in = StandIn::start();
    // A port that was free a moment ago; plain HTTP where TLS is expected; no such name.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = closed.local_addr().expect("an address").port();
    drop(closed);
    let plain = stand_in.url().replace("http://", "https://");
    for (url, words) in [
        (format!("https://127.0.0.1:{port}"), "let nothing through"),
        (plain, "TLS failed"),
        (
            "https://nowhere.invalid".to_owned(),
            "the name was not found",
        ),
    ] {
        let (code, said) = check(&Site::at(&url));
        assert_eq!(code, Some(78), "{url}: {said}");
        assert!(said.contains(words), "{url}: {said}");
    }
}

#[test]
fn nothing_is_sent_while_something_else_is_wrong() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in).set("pinterest", "ad_account_id", "");
    let (code, said) = check(&site);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("nothing was sent"), "{said}");
    assert_eq!(stand_in.requests().len(), 0);
}
