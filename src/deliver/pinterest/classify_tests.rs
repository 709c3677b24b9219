//! One case per row of the table of answers.

use std::time::Duration;

use super::*;

fn class(status: u16, body: &str, events: usize) -> Class {
    classify(status, &Signals::default(), body.as_bytes(), events).class
}

fn failed(code: Option<i64>, message: &str) -> Verdict {
    Verdict::Failed(Refusal {
        code,
        message: message.into(),
        is_page: false,
    })
}

const MIXED: &str = r#"{"num_events_received":3,"num_events_processed":2,"events":[
    {"status":"processed","error_message":"","warning_message":"no external_id"},
    {"status":"failed","error_message":"bad \"em\"","warning_message":null},
    {"status":"processed"}]}"#;

#[test]
fn a_200_and_a_422_are_judged_by_position() {
    let judged = |code| {
        Class::Judged(vec![
            Verdict::Processed,
            failed(code, "bad \"em\""),
            Verdict::Processed,
        ])
    };
    assert_eq!(class(200, MIXED, 3), judged(None));
    assert_eq!(class(202, MIXED, 3), judged(None));
    let body = format!(r#"{{"code":953,"message":"Bad","details":{MIXED}}}"#);
    assert_eq!(class(422, &body, 3), judged(Some(953)));
}

#[test]
fn a_list_of_another_length_proves_nothing() {
    for events in [1, 2, 4] {
        assert!(matches!(class(200, MIXED, events), Class::Unknown(_)));
        let body = format!(r#"{{"code":953,"message":"Bad","details":{MIXED}}}"#);
        assert!(matches!(class(422, &body, events), Class::Unknown(_)));
    }
}

#[test]
fn a_2xx_that_cannot_be_read_is_unknown() {
    for body in [
        "",
        "{}",
        "[]",
        "<html>",
        r#"{"events":null}"#,
        r#"{"events":[]}"#,
        r#"{"events":[{"status":"processed"}"#,
    ] {
        assert!(matches!(class(200, body, 1), Class::Unknown(_)), "{body}");
    }
    assert!(matches!(class(204, "", 1), Class::Unknown(_)));
}

#[test]
fn a_status_that_is_neither_is_unclear_and_odd_messages_do_no_harm() {
    let body = r#"{"events":[{"status":"pending"},{"status":null},
        {"status":"failed","error_message":{"a":[1]},"warning_message":[1.5,{"b":2}]},
        {"status":"PROCESSED","warning_message":7}]}"#;
    assert_eq!(
        class(200, body, 4),
        Class::Judged(vec![
            Verdict::Unclear,
            Verdict::Unclear,
            failed(None, "failed, without a message"),
            Verdict::Processed
        ])
    );
}

#[test]
fn a_422_without_usable_details_is_as_a_400() {
    for body in [
        r#"{"code":953,"message":"Bad"}"#,
        r#"{"code":953,"message":"Bad","details":null}"#,
        r#"{"code":953,"message":"Bad","details":"none"}"#,
        r#"{"code":953,"message":"Bad","details":{"events":[]}}"#,
        r#"{"code":953,"message":"Bad","details":{"events":7}}"#,
    ] {
        let expected = Class::Refused {
            too_large: false,
            refusal: Refusal {
                code: Some(953),
                message: "Bad".into(),
                is_page: false,
            },
        };
        assert_eq!(class(422, body, 2), expected, "{body}");
    }
}

/// A 422 whose list was cut on the way counted as one that has none: as a refusal of the whole
/// request, so that events which Pinterest had processed were split, sent again as if none had
/// been taken, and the last ones ended as dead letters.
#[test]
fn a_422_that_was_cut_short_proves_nothing() {
    let whole = r#"{"code":953,"message":"Bad","details":{"events":[{"status":"processed"}]}}"#;
    for end in 1..whole.len() {
        let said = class(422, &whole[..end], 1);
        assert!(matches!(said, Class::Unknown(_)), "{end}: {said:?}");
    }
    assert!(matches!(class(422, whole, 1), Class::Judged(_)));
    for other in ["", " ", "<html>no</html>"] {
        let said = class(422, other, 1);
        assert!(matches!(said, Class::Refused { .. }), "{other}: {said:?}");
    }
}

/// Lists in the place of objects were read as their fields in order, so that
/// `[[["processed"]]]` delivered an event.
#[test]
fn an_answer_made_of_lists_judges_nothing() {
    for body in [
        r#"[[{"status":"processed"}],null,4]"#,
        r#"{"events":[["processed","",""]]}"#,
        r#"{"details":[[{"status":"processed"}]]}"#,
    ] {
        assert!(matches!(class(200, body, 1), Class::Unknown(_)), "{body}");
    }
}

#[test]
fn a_400_and_a_413_refuse_the_request() {
    let body = r#"{"code":4196,"message":"('x' was unexpected)"}"#;
    let Class::Refused { too_large, refusal } = class(400, body, 9) else {
        panic!("no refusal");
    };
    assert!(!too_large);
    assert_eq!(refusal.code, Some(4196));
    assert_eq!(refusal.message, "('x' was unexpected)");
    let Class::Refused { too_large, refusal } = class(413, "<html>", 9) else {
        panic!("no refusal");
    };
    assert!(too_large);
    assert_eq!(refusal.message, "an HTML page (HTTP 413, no title)");
    let Class::Refused { refusal, .. } = class(413, "no", 9) else {
        panic!("no refusal");
    };
    assert_eq!(refusal.message, "HTTP status 413, without a message");
}

#[test]
fn credential_and_account_trouble_is_nobody_elses() {
    for status in [401, 403, 404] {
        let body = r#"{"code":2,"message":"Authentication failed."}"#;
        let Class::Auth(refusal) = class(status, body, 3) else {
            panic!("{status}");
        };
        assert_eq!(refusal.code, Some(2));
    }
}

#[test]
fn a_429_waits_as_long_as_it_says() {
    let wait = |retry_after, reset| {
        let signals = Signals {
            retry_after,
            reset,
            ..Signals::default()
        };
        classify(429, &signals, b"", 1).class
    };
    let (three, seven) = (Duration::from_secs(3), Duration::from_secs(7));
    let limited = |wait| Class::Limited { wait };
    assert_eq!(wait(Some(three), Some(seven)), limited(Some(three)));
    assert_eq!(wait(None, Some(seven)), limited(Some(seven)));
    assert_eq!(wait(None, None), limited(None));
}

#[test]
fn server_trouble_is_unknown_and_everything_else_asks_for_a_look() {
    for status in [408, 500, 502, 503, 504, 599, 100, 700] {
        assert!(
            matches!(class(status, "", 1), Class::Unknown(_)),
            "{status}"
        );
    }
    for status in [301, 302, 307, 308, 402, 405, 410, 415, 451] {
        assert!(
            matches!(class(status, "", 1), Class::Unexpected(_)),
            "{status}"
        );
    }
}

#[test]
fn warnings_are_counted_by_kind() {
    let body = r#"{"events":[
        {"status":"processed","warning_message":"no external_id"},
        {"status":"processed","warning_message":"no external_id"},
        {"status":"processed","warning_message":"odd name \"Foo\""},
        {"status":"processed","warning_message":"odd name \"Bar\""},
        {"status":"processed","warning_message":""}]}"#;
    let judgement = classify(200, &Signals::default(), body.as_bytes(), 5);
    assert_eq!(
        judgement.warnings,
        [
            ("no external_id".to_owned(), 2),
            ("odd name …".to_owned(), 2)
        ]
    );
}
