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
    for omitted in ["true", "null", "0", r#""false""#, "[false]"] {
        assert_eq!(opt_out(omitted), Value::Null, "{omitted}");
    }
}

/// Read once, at the socket: what goes out is what was read there.
#[test]
fn when_it_happened() {
    let of = |members: &str| {
        let line = format!(r#"{{"messageId":"m","type":"page"{members}}}"#);
        check(line.as_bytes()).unwrap().event_time
    };
    assert_eq!(of(""), None, "the moment of acceptance stands in");
    let all = [
        ("timestamp", 1_700_000_001),
        ("originalTimestamp", 1_700_000_002),
        ("sentAt", 1_700_000_003),
        ("receivedAt", 1_700_000_004),
    ];
    for first in 0..all.len() {
        let rest = all[first..].iter().rev();
        let members: String = rest.map(|(key, at)| format!(r#","{key}":{at}"#)).collect();
        assert_eq!(of(&members), Some(all[first].1), "{members}");
    }
    let at = |time: &str| of(&format!(r#","timestamp":{time},"sentAt":1700000003"#));
    for usable in [
        r#"" 2023-11-14T22:13:20Z ""#,
        r#""2023-11-14 23:13:20.999999999999+01:00""#,
        r#""2023-11-14t22:13:20z""#,
        "1700000000",
        "1700000000.9",
        "1700000000123",
        "1.7e9",
    ] {
        assert_eq!(at(usable), Some(1_700_000_000), "{usable}");
    }
    for absent in [
        r#""2023-11-14""#,
        r#""2023-11-14T22:13:20""#,
        r#""1700000000""#,
        r#""2000-12-31T23:59:59Z""#,
        r#""2101-01-01T00:00:00Z""#,
        "0",
        "true",
        "null",
    ] {
        assert_eq!(at(absent), Some(1_700_000_003), "{absent}");
    }
    // And so it goes out.
    let sent = event(r#""type":"page","context":{"ip":"1.2.3.4"}"#);
    assert_eq!(sent["event_time"], AT);
}
