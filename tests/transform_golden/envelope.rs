//! Envelope: action_source, event_source_url, partner_name, opt_out.

use super::*;

#[test]
fn action_source() {
    let of = |kind: &str, properties: &str, context: &str| {
        let members = format!(
            r#"{kind},"properties":{{{properties}}},"context":{{"ip":"1.2.3.4"{context}}}"#
        );
        let options = Options {
            default_action_source: "offline".to_owned(),
            ..Options::default()
        };
        event_with(options, &members)["action_source"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let url = r#","page":{"url":"https://x.org"}"#;
    let android = r#","device":{"type":" AnDroid\t"}"#;
    let (os_ios, os_android) = (
        r#","os":{"name":"iPhone OS"}"#,
        r#","os":{"name":"android"}"#,
    );
    for source in ["web", "app_android", "app_ios", "offline"] {
        assert_eq!(
            of(SCREEN, &format!(r#""action_source":"{source}""#), android),
            source
        );
    }
    for unusable in [r#"" web""#, r#""Web""#, r#""""#, "1", r#"["web"]"#] {
        let own = format!(r#""action_source":{unusable}"#);
        assert_eq!(of(TRACK, &own, android), "app_android", "{unusable}");
    }
    assert_eq!(of(TRACK, "", url), "web");
    assert_eq!(of(PAGE, "", &format!("{url}{android}")), "web");
    assert_eq!(of(SCREEN, "", &format!("{url}{android}")), "app_android");
    assert_eq!(
        of(SCREEN, "", url),
        "offline",
        "a screen is never web by its URL"
    );
    assert_eq!(of(TRACK, "", ""), "offline");
    // A URL that is absent is none.
    for empty in [r#""  ""#, "7", "null", r#"["https://x.org"]"#] {
        let page = format!(r#","page":{{"url":{empty}}}"#);
        assert_eq!(of(PAGE, "", &page), "offline", "{empty}");
        assert_eq!(of(PAGE, "", &format!("{page}{os_ios}")), "app_ios");
    }
    for name in ["ios", "iOS", "iPadOS", " IPHONE OS "] {
        assert_eq!(
            of(TRACK, "", &format!(r#","os":{{"name":"{name}"}}"#)),
            "app_ios"
        );
    }
    assert_eq!(
        of(TRACK, "", &format!("{android}{os_ios}")),
        "app_android",
        "the device first"
    );
    for silent in [r#""mobile""#, r#""iphone""#, "1", "null", r#""android 14""#] {
        let device = format!(r#","device":{{"type":{silent}}}"#);
        assert_eq!(
            of(TRACK, "", &format!("{device}{os_android}")),
            "app_android",
            "{silent}"
        );
        assert_eq!(of(TRACK, "", &device), "offline", "{silent}");
    }
    let default = event(&format!(r#"{TRACK},"context":{{"ip":"1.2.3.4"}}"#));
    assert_eq!(default["action_source"], "web");
}

#[test]
fn url_partner_name_and_opt_out() {
    let url =
        |url: &str| page_in(&format!(r#","page":{{"url":{url}}}"#))["event_source_url"].clone();
    assert_eq!(
        url(r#""\u3000 HTTP://x.org/a b?c#d ""#),
        "HTTP://x.org/a b?c#d"
    );
    assert_eq!(url(r#""not a url""#), "not a url");
    for absent in [r#""""#, r#"" ""#, "1", "null", "{}"] {
        assert_eq!(url(absent), Value::Null, "{absent}");
    }

    let partner = |name: Option<&str>| {
        let options = Options {
            partner_name: name.map(str::to_owned),
            ..Options::default()
        };
        event_with(options, r#""type":"page","context":{"ip":"1.2.3.4"}"#)["partner_name"].clone()
    };
    assert_eq!(partner(Some("My Storefront")), "My Storefront");
    assert_eq!(partner(None), Value::Null);

    let opt_out =
        |v: &str| page_in(&format!(r#","device":{{"adTrackingEnabled":{v}}}"#))["opt_out"].clone();
    assert_eq!(opt_out("false"), true);
    for omitted in ["true", "null", "[false]"] {
        assert_eq!(opt_out(omitted), Value::Null, "{omitted}");
    }
}

/// An opt-out must not be lost to a type.
#[test]
fn an_opt_out_of_any_type() {
    let opt_out = |v: &str| {
        let members = format!(
            r#"{PAGE},"context":{{"ip":"203.0.113.7","device":{{"adTrackingEnabled":{v}}}}}"#
        );
        (
            event(&members)["opt_out"].clone(),
            notes_with(Options::default(), &members),
        )
    };
    for says in ["false", r#"" FALSE ""#, "0", r#""0""#, "0.0", "-0"] {
        assert_eq!(opt_out(says), (Value::Bool(true), vec![]), "{says}");
    }
    for silent in [
        "true",
        r#""True""#,
        "1",
        r#"" 1""#,
        "null",
        r#""""#,
        "[]",
        "{}",
    ] {
        assert_eq!(opt_out(silent), (Value::Null, vec![]), "{silent}");
    }
    for odd in [r#""no""#, "2", "[false]", r#"{"a":false}"#, r#""off""#] {
        let note = "opt_out context.device.adTrackingEnabled unreadable".to_owned();
        assert_eq!(opt_out(odd), (Value::Null, vec![note]), "{odd}");
    }
}

/// Read once, at the socket: what goes out is what was read there.
#[test]
fn when_it_happened() {
    let of = |members: &str| {
        let line = format!(r#"{{"messageId":"m","type":"page"{members}}}"#);
        check(line.as_bytes()).unwrap().event_time(AT)
    };
    assert_eq!(of(""), AT, "the moment of acceptance stands in");
    let all = [
        ("timestamp", 1_699_999_001),
        ("originalTimestamp", 1_699_999_002),
        ("sentAt", 1_699_999_003),
        ("receivedAt", 1_699_999_004),
    ];
    for first in 0..all.len() {
        let rest = all[first..].iter().rev();
        let members: String = rest.map(|(key, at)| format!(r#","{key}":{at}"#)).collect();
        assert_eq!(of(&members), all[first].1, "{members}");
    }
    // And so it goes out.
    let sent = event(r#""type":"page","context":{"ip":"1.2.3.4"}"#);
    assert_eq!(sent["event_time"], AT);
}

/// What is read as a time, and what becomes of what is not.
#[test]
fn times() {
    let with = |unreadable_time, members: &str| {
        let options = Options {
            unreadable_time,
            ..Options::default()
        };
        let line = format!(
            r#"{{"messageId":"m","type":"page",{members},"context":{{"ip":"203.0.113.7"}}}}"#
        );
        let call = check(line.as_bytes()).unwrap();
        let fixed = Fixed {
            accepted_at: AT,
            event_time: call.event_time(AT),
        };
        match transform(options).payload(line.as_bytes(), fixed, None, &|_| false) {
            Ok(payload) => {
                let json = value(std::str::from_utf8(&payload.json).unwrap());
                (json["event_time"].as_i64(), told(&payload.notes))
            }
            Err(unsendable) => {
                assert!(matches!(unsendable.why, Dead::UnreadableTime { .. }));
                (None, told(&unsendable.notes))
            }
        }
    };
    let of = |members: &str| with(UnreadableTime::DeadLetter, members);
    let at = |text: &str| {
        of(&format!(
            r#""timestamp":{text},"sentAt":"2023-11-14T22:00:00Z""#
        ))
    };
    for readable in [
        r#"" 2023-11-14T22:13:20Z ""#,
        r#""2023-11-14 23:13:20.999999999999+01:00""#,
        r#""2023-11-14 23:13:20,5+0100""#,
        r#""2023-11-14t23:13:20+01[Europe/Berlin]""#,
        r#""Tue, 14 Nov 2023 22:13:20 GMT""#,
        r#""14 Nov 2023 23:13:20 +0100""#,
        r#""1700000000""#,
        r#""1700000000.75""#,
        r#""1700000000123""#,
        "1700000000",
        "1700000000.9",
        "1700000000123",
        "1.7e9",
    ] {
        assert_eq!(at(readable), (Some(1_700_000_000), vec![]), "{readable}");
    }
    let assumed = vec!["event_time timestamp assumed_utc".to_owned()];
    let day = 1_700_000_000 - (22 * 3600 + 13 * 60 + 20);
    assert_eq!(
        at(r#""2023-11-14 22:13:20.898""#),
        (Some(1_700_000_000), assumed.clone())
    );
    assert_eq!(
        at(r#""2023-11-14T22:13""#),
        (Some(1_699_999_980), assumed.clone())
    );
    assert_eq!(at(r#""2023-11-14""#), (Some(day), assumed));
    let unreadable = vec!["event_time timestamp unreadable".to_owned()];
    for there in [
        r#""11/14/2023 22:13""#,
        r#""yesterday""#,
        r#""20231114T221320Z""#,
        r#""2023-11-14T22Z""#,
        r#""2023-11-14T22:13:20 Z""#,
        r#""Tue, 14 Nov 2023 22:13:20 EST""#,
        r#""null""#,
        r#""2000-12-31T23:59:59Z""#,
        r#""2101-01-01T00:00:00Z""#,
        "0",
        "-1700000000",
        "true",
        r#"["2023-11-14T22:13:20Z"]"#,
    ] {
        assert_eq!(at(there), (None, unreadable.clone()), "{there}");
        let members = format!(r#""timestamp":{there},"receivedAt":1600000000"#);
        let accepted = with(UnreadableTime::AcceptedAt, &members);
        assert_eq!(accepted, (Some(AT), unreadable.clone()), "{there}");
    }
    let sent = 1_699_999_200;
    for missing in ["null", r#""""#, r#""  ""#, "[]", "{}"] {
        assert_eq!(at(missing), (Some(sent), vec![]), "{missing}");
    }
    // A later one that can be read is when it happened; one that is ahead counts as missing.
    assert_eq!(
        of(r#""timestamp":"x","originalTimestamp":1600000000"#),
        (Some(1_600_000_000), unreadable)
    );
    let future = "event_time timestamp future".to_owned();
    assert_eq!(
        at(&format!("{}", AT + 601)),
        (Some(sent), vec![future.clone()])
    );
    assert_eq!(at(&format!("{}", AT + 600)), (Some(AT + 600), vec![]));
    assert_eq!(
        of(&format!(r#""timestamp":{},"sentAt":"?""#, AT + 9000)),
        (
            None,
            vec![future, "event_time sentAt unreadable".to_owned()]
        )
    );
}
