//! Every row of the mapping, by what goes out on the wire. Sections follow `mapping.md`.

use pinrelay::event::check;
use pinrelay::transform::{Dead, Hashing, MappingRule, Options, OptionsError, Payload, Transform};
use serde_json::Value;

/// Fixed at acceptance in the real thing; any number here.
const AT: i64 = 1_700_000_000;

fn transform(options: Options) -> Transform {
    Transform::new(options).unwrap_or_else(|e| panic!("{e}"))
}

fn payload(transform: &Transform, line: &str) -> Payload {
    check(line.as_bytes()).unwrap_or_else(|e| panic!("{e}: {line}"));
    transform
        .payload(line.as_bytes(), AT, None, &|_| false)
        .unwrap_or_else(|e| panic!("{e}: {line}"))
}

fn value(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {json}"))
}

/// What goes out for an event of these members, which get an id and a match key.
fn event_with(options: Options, members: &str) -> Value {
    let line = format!(r#"{{"messageId":"m",{members}}}"#);
    value(std::str::from_utf8(&payload(&transform(options), &line).json).unwrap())
}

fn event(members: &str) -> Value {
    event_with(Options::default(), members)
}

/// A page with this context (members), its `ip` given.
fn page_in(context: &str) -> Value {
    event(&format!(
        r#""type":"page","context":{{"ip":"1.2.3.4"{context}}}"#
    ))
}

/// One field of user_data, from members of properties, traits and the event.
fn user(field: &str, properties: &str, traits: &str) -> Value {
    user_with(Options::default(), field, properties, traits)
}

fn user_with(options: Options, field: &str, properties: &str, traits: &str) -> Value {
    let members = format!(
        r#""type":"page","properties":{{{properties}}},"context":{{"ip":"1.2.3.4","traits":{{{traits}}}}}"#
    );
    event_with(options, &members)["user_data"][field].clone()
}

/// custom_data as written, for an event of this kind (members) with these properties.
fn custom_with(options: Options, kind: &str, properties: &str) -> String {
    let line = format!(
        r#"{{"messageId":"m",{kind},"properties":{properties},"context":{{"ip":"1.2.3.4"}}}}"#
    );
    let json = String::from_utf8(payload(&transform(options), &line).json).unwrap();
    match json.split_once(r#","custom_data":"#) {
        Some((_, rest)) => rest.strip_suffix('}').unwrap().to_owned(),
        None => String::new(),
    }
}

const TRACK: &str = r#""type":"track","event":"X""#;
const PAGE: &str = r#""type":"page""#;
const SCREEN: &str = r#""type":"screen""#;

/// custom_data of a track with these properties (members).
fn track(properties: &str) -> String {
    custom_with(Options::default(), TRACK, &format!("{{{properties}}}"))
}

/// One field of a track's custom_data, `null` if it is left out.
fn field(name: &str, properties: &str) -> Value {
    value(&track(properties))[name].clone()
}

fn rules(rules: &[(&str, &str)]) -> Options {
    Options {
        mappings: rules
            .iter()
            .map(|(source, destination)| MappingRule {
                source: (*source).to_owned(),
                destination: (*destination).to_owned(),
            })
            .collect(),
        ..Options::default()
    }
}

fn sha256() -> Options {
    Options {
        hashing: Hashing::Sha256,
        ..Options::default()
    }
}

// ---- Worked examples, verbatim ----

#[test]
fn worked_examples() {
    assert_eq!(
        custom_with(
            Options::default(),
            r#""type":"track","event":"Order Completed""#,
            r#"{"products":[{"product_id":"p1","price":10.5,"quantity":2,"name":"Mug"},{"sku":"s2","price":"4"}],"order_id":991}"#,
        ),
        r#"{"value":"25","currency":"USD","order_id":"991","content_ids":["p1","s2"],"contents":[{"id":"p1","item_price":"10.5","quantity":2,"item_name":"Mug"},{"id":"s2","item_price":"4"}],"num_items":2}"#
    );
    assert_eq!(
        custom_with(
            Options::default(),
            r#""type":"track","event":"Product Viewed""#,
            r#"{"product_id":"p7","sku":"x","price":"19.990000000000002","name":" Cup ","currency":"eur"}"#,
        ),
        r#"{"value":"19.99","currency":"EUR","content_ids":["p7"],"contents":[{"id":"p7","item_price":"19.99","item_name":"Cup"}]}"#
    );
    let home = page_in(r#","page":{"title":"Home"}"#);
    assert_eq!(home["custom_data"], value(r#"{"content_ids":["Home"]}"#));
}

#[test]
fn a_whole_event_as_written() {
    let line = r#"{"messageId":" id 1 ","type":"track","event":"Order Completed","userId":42.0,
        "properties":{"email":"A@x.org","total":1,"opt_out":true,"np":"x"},
        "context":{"ip":" 2001:DB8::1 ","userAgent":" UA ","device":{"adTrackingEnabled":false},
        "page":{"url":" https://x.org/?epik=dj0%20a+b& "},"campaign":{"name":"c"}}}"#;
    let options = Options {
        partner_name: Some("ss-shop".to_owned()),
        ..Options::default()
    };
    let sent = payload(&transform(options), line);
    assert_eq!(
        String::from_utf8(sent.json).unwrap(),
        concat!(
            r#"{"event_name":"checkout","action_source":"web","event_time":1700000000,"#,
            r#""event_id":" id 1 ","event_source_url":"https://x.org/?epik=dj0%20a+b&","#,
            r#""partner_name":"ss-shop","opt_out":true,"user_data":{"em":["A@x.org"],"#,
            r#""external_id":["42"],"client_ip_address":"2001:DB8::1","client_user_agent":"UA","#,
            r#""click_id":"dj0 a b","partner_id":"c"},"custom_data":{"currency":"USD"}}"#
        )
    );
    assert_eq!(
        (&*sent.event_name, &*sent.message_id),
        ("checkout", " id 1 ")
    );
    assert!(sent.custom_keys.is_empty() && sent.unusable == 0);
}

// ---- Which events ----

#[test]
fn event_names() {
    let name = |options: Options, members: &str| {
        let members = format!(r#"{members},"context":{{"ip":"1.2.3.4"}}"#);
        event_with(options, &members)["event_name"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let of = |event: &str| {
        let members = format!(r#""type":"track","event":"{event}""#);
        name(Options::default(), &members)
    };
    assert_eq!(name(Options::default(), PAGE), "page_visit");
    assert_eq!(name(Options::default(), SCREEN), "page_visit");
    for (chord, pinterest) in [
        ("Order Completed", "checkout"),
        ("Checkout Started", "initiate_checkout"),
        ("Product Added", "add_to_cart"),
        ("Product Viewed", "view_content"),
        ("Products Searched", "search"),
        ("Product Added to Wishlist", "add_to_wishlist"),
        ("\u{a0} oRDER cOMPLETED\\n", "checkout"),
        ("CHEC\u{212a}OUT STARTED", "initiate_checkout"),
        ("Order  Completed", "Order  Completed"),
        (" Signed Up ", " Signed Up "),
        ("page", "page"),
        ("PageVisit", "PageVisit"),
    ] {
        assert_eq!(of(chord), pinterest, "{chord}");
    }

    let configured = || Options {
        event_names: [
            ("Signed Up", "signup"),
            (" ORDER completed", "Kauf "),
            ("ÄÖ", "x"),
        ]
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .to_vec(),
        ..Options::default()
    };
    for (chord, pinterest) in [
        ("  signed up", "signup"),
        ("Order Completed", "Kauf "),
        ("äö", "x"),
        ("Product Viewed", "view_content"),
        ("Other", "Other"),
    ] {
        let members = format!(r#""type":"track","event":"{chord}""#);
        assert_eq!(name(configured(), &members), pinterest, "{chord}");
    }
    // For tracks alone, whatever a page's `event` says.
    let page = r#""type":"page","event":"Signed Up""#;
    assert_eq!(name(configured(), page), "page_visit");
}

#[test]
fn a_resend_goes_under_its_first_name() {
    let t = transform(Options::default());
    let line =
        br#"{"messageId":"m","type":"track","event":"Order Completed","context":{"ip":"1.1.1.1"}}"#;
    let sent = t
        .payload(line, AT, Some(" Öld \"name\""), &|_| false)
        .unwrap();
    assert_eq!(&*sent.event_name, " Öld \"name\"");
    let json = value(std::str::from_utf8(&sent.json).unwrap());
    assert_eq!(json["event_name"], " Öld \"name\"");
}

// ---- Envelope ----

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

// ---- user_data ----

#[test]
fn who() {
    for (wire, property, in_traits) in [
        ("em", "email", "email"),
        ("ph", "phone", "phone"),
        ("fn", "first_name", "firstName"),
        ("ln", "last_name", "lastName"),
    ] {
        let own = format!(r#""{property}":" P ""#);
        let traits = format!(r#""{in_traits}":"T""#);
        assert_eq!(user(wire, &own, &traits), value(r#"["P"]"#));
        assert_eq!(user(wire, "", &traits), value(r#"["T"]"#));
        for absent in [
            r#""""#,
            r#"" \u2028 ""#,
            "null",
            "true",
            "{}",
            "[]",
            r#"[null,""]"#,
            "1e400",
        ] {
            let own = format!(r#""{property}":{absent}"#);
            assert_eq!(user(wire, &own, &traits), value(r#"["T"]"#), "{absent}");
            assert_eq!(user(wire, &own, ""), Value::Null, "{absent}");
        }
        let list = format!(r#""{property}":["b",null,"a ",5.50,"b",["c"],{{"d":1}},false]"#);
        assert_eq!(user(wire, &list, &traits), value(r#"["b","a","5.5","b"]"#));
    }
    // Neither spelling counts in the other place.
    assert_eq!(
        user("fn", r#""firstName":"a""#, r#""first_name":"b""#),
        Value::Null
    );
}

#[test]
fn where_they_live() {
    for (wire, key) in [
        ("ct", "city"),
        ("st", "state"),
        ("zp", "postalCode"),
        ("country", "country"),
    ] {
        let own = format!(r#""address":{{"{key}":"P"}}"#);
        let traits = format!(r#""address":{{"{key}":" T "}}"#);
        assert_eq!(
            user(wire, &own, &traits),
            value(r#"["T"]"#),
            "traits come first here"
        );
        assert_eq!(user(wire, &own, ""), value(r#"["P"]"#));
        assert_eq!(
            user(wire, &own, r#""address":"a street""#),
            value(r#"["P"]"#)
        );
        assert_eq!(
            user(wire, &own, &format!(r#""address":{{"{key}":[]}}"#)),
            value(r#"["P"]"#)
        );
        assert_eq!(user(wire, r#""address":["x"]"#, ""), Value::Null);
    }
    assert_eq!(
        user("zp", "", r#""address":{"postalCode":97205.0}"#),
        value(r#"["97205"]"#)
    );
}

#[test]
fn external_id() {
    let of = |ids: &str| {
        event(&format!(
            r#""type":"page","context":{{"ip":"1.2.3.4"}}{ids}"#
        ))["user_data"]["external_id"]
            .clone()
    };
    assert_eq!(
        of(r#","userId":" u ","anonymousId":"a""#),
        value(r#"["u"]"#)
    );
    assert_eq!(
        of(r#","userId":12345678901234567890123,"anonymousId":"a""#),
        value(r#"["12345678901234567890123"]"#)
    );
    for absent in [r#""""#, "null", "true", r#"["u"]"#, "{}"] {
        assert_eq!(
            of(&format!(r#","userId":{absent},"anonymousId":7"#)),
            value(r#"["7"]"#),
            "{absent}"
        );
    }
    assert_eq!(of(""), Value::Null);
}

#[test]
fn address_and_agent() {
    let of = |field: &str, context: &str| {
        event(&format!(
            r#""type":"page","properties":{{"email":"e"}},"context":{{{context}}}"#
        ))["user_data"][field]
            .clone()
    };
    let ip = |ip: &str| of("client_ip_address", &format!(r#""ip":{ip}"#));
    for good in [
        "203.0.113.7",
        "::1",
        "2001:DB8:0::1",
        "::ffff:1.2.3.4",
        "127.0.0.1",
        "0.0.0.1",
    ] {
        assert_eq!(ip(&format!("\" {good}\\n\"")), good, "as written");
    }
    for bad in [
        "0.0.0.0",
        "::",
        "0:0:0:0:0:0:0:0",
        "::0.0.0.0",
        "::ffff:0.0.0.0",
        "::ffff:0:0",
        "0:0:0:0:0:FFFF:0:0",
        "1.2.3.4:80",
        "[::1]",
        "[::1]:80",
        "fe80::1%eth0",
        "1.2.3.4, 5.6.7.8",
        "1.2.3",
        "1.2.3.256",
        "01.2.3.4",
        "1.2.3.4/32",
        "localhost",
        "",
        " ",
    ] {
        assert_eq!(ip(&format!("\"{bad}\"")), Value::Null, "{bad}");
    }
    for bad in ["null", "1234", r#"["1.2.3.4"]"#] {
        assert_eq!(ip(bad), Value::Null);
    }

    let agent = |ua: &str| of("client_user_agent", ua);
    assert_eq!(agent(r#""userAgent":" Moz ""#), "Moz");
    assert_eq!(agent(r#""userAgent":5"#), "5");
    for absent in [
        "",
        r#""userAgent":"""#,
        r#""userAgent":"  ""#,
        r#""userAgent":["x"]"#,
    ] {
        assert_eq!(agent(absent), "Mozilla/5.0");
    }
    let with = |default: &str| {
        let options = Options {
            default_user_agent: default.to_owned(),
            ..Options::default()
        };
        user_with(options, "client_user_agent", r#""email":"e""#, "")
    };
    assert_eq!(with("relay/1"), "relay/1");
    assert_eq!(with(""), Value::Null);
}

#[test]
fn click_id() {
    let of =
        |page: &str| page_in(&format!(r#","page":{{{page}}}"#))["user_data"]["click_id"].clone();
    let url = |url: &str| of(&format!(r#""url":"{url}""#));
    for (text, expected) in [
        ("https://x.org/?epik=dj0abc", "dj0abc"),
        ("https://x.org/?a=1&epik=dj0%3Dabc&b=2", "dj0=abc"),
        ("?epik=x", "x"),
        ("not a url ?epik=x", "x"),
        ("https://x.org/?epik=+a+b+", "a b"),
        ("https://x.org/?epik=%20%C2%A0a%E3%80%80", "a"),
        ("https://x.org/?epik=&epik=+&epik=two&epik=three", "two"),
        ("https://x.org/?%65pik=x", "x"),
        ("https://x.org/?epik=a=b", "a=b"),
        ("https://x.org/?epik=a?b", "a?b"),
        ("https://x.org/?x?epik=no&epik=a#epik=b", "a"),
        ("https://x.org/?epik=%FFa", "\u{fffd}a"),
        ("https://x.org/?epik=%zz", "%zz"),
        ("https://x.org/?epik=a;b", "a;b"),
    ] {
        assert_eq!(url(text), expected, "{text}");
    }
    for none in [
        "https://x.org/",
        "https://x.org/epik=a",
        "https://x.org/#?epik=a",
        "https://x.org/?EPIK=a",
        "https://x.org/?_epik=a",
        "https://x.org/?epik",
        "https://x.org/?epik=",
        "https://x.org/?+epik=a",
        "https://x.org/??epik=a",
    ] {
        assert_eq!(url(none), Value::Null, "{none}");
    }
    let both =
        |u: &str, search: &str| of(&format!(r#""url":"https://x.org/{u}","search":{search}"#));
    assert_eq!(both("?epik=a", r#""?epik=b""#), "a");
    assert_eq!(both("?epik=+", r#""?epik=b""#), "b");
    assert_eq!(both("", r#""epik=b&c=d""#), "b");
    assert_eq!(both("", r#""?c=d&epik=%2Bb#x""#), "+b");
    assert_eq!(both("", r#""??epik=b""#), Value::Null, "one ? is removed");
    assert_eq!(both("", r##""#epik=b""##), Value::Null);
    assert_eq!(both("", r#"["epik=b"]"#), Value::Null);
    assert_eq!(of(r#""search":"?epik=s""#), "s");
    assert_eq!(of(r#""url":7,"search":"?epik=s""#), "s");
}

#[test]
fn partner_id() {
    let of = |properties: &str, context: &str| {
        event(&format!(
            r#""type":"page","properties":{{{properties}}},"context":{{"ip":"1.2.3.4"{context}}}"#
        ))["user_data"]["partner_id"]
            .clone()
    };
    let campaign = r#","campaign":{"name":" spring "}"#;
    assert_eq!(of(r#""partner_id":1e3"#, campaign), "1000");
    assert_eq!(of(r#""partner_id":false"#, campaign), "spring");
    assert_eq!(of("", r#","campaign":"spring""#), Value::Null);
}

#[test]
fn hashing() {
    let of = |field: &str, properties: &str| {
        user_with(sha256(), field, properties, r#""email":"t","phone":"1""#)
    };
    // `printf test@example.com | sha256sum`
    let em = "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b";
    assert_eq!(
        of("em", r#""email":[" Test@Example.COM ","TEST@example.com"]"#),
        value(&format!(r#"["{em}","{em}"]"#))
    );
    assert_eq!(
        of("em", &format!(r#""email":" {} ""#, em.to_uppercase())),
        value(&format!(r#"["{em}"]"#))
    );
    assert_eq!(
        of("ph", r#""phone":"+1 (503) 555-0100""#),
        of("ph", r#""phone":15035550100"#)
    );
    assert_eq!(
        of("ph", r#""phone":"0015035550100""#),
        of("ph", r#""phone":15035550100"#)
    );
    // The property was found; that it normalises to nothing does not call for the trait.
    assert_eq!(of("ph", r#""phone":"none""#), Value::Null);
    assert_eq!(
        of("ph", r#""phone":["none","00","1"]"#)
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    let place = |field: &str, key: &str, text: &str| {
        of(field, &format!(r#""address":{{"{key}":"{text}"}}"#))
    };
    assert_eq!(
        place("ct", "city", "São Paulo!"),
        place("ct", "city", "sÃopaulo")
    );
    assert_ne!(
        place("ct", "city", "São Paulo"),
        place("ct", "city", "Sao Paulo")
    );
    assert_eq!(
        place("zp", "postalCode", "SW1A 1AA"),
        place("zp", "postalCode", "sw1a-1aa")
    );
    assert_eq!(place("st", "state", "OR"), place("st", "state", "or"));
    assert_ne!(
        place("st", "state", "New York"),
        place("st", "state", "newyork")
    );
    assert_eq!(
        place("country", "country", "US"),
        place("country", "country", "us")
    );

    let whole = event_with(
        sha256(),
        r#""type":"page","userId":"u-1","properties":{"email":"e","partner_id":"P"},
           "context":{"ip":"1.2.3.4","userAgent":"UA","page":{"url":"?epik=C"}}"#,
    );
    let data = &whole["user_data"];
    assert_eq!(data["external_id"][0].as_str().map(str::len), Some(64));
    assert_ne!(
        data["external_id"],
        event_with(
            sha256(),
            r#""type":"page","userId":"U-1","context":{"ip":"1.2.3.4"}"#
        )["user_data"]["external_id"]
    );
    for (field, raw) in [
        ("client_ip_address", "1.2.3.4"),
        ("client_user_agent", "UA"),
        ("click_id", "C"),
        ("partner_id", "P"),
    ] {
        assert_eq!(data[field], raw, "never hashed");
    }
}

#[test]
fn match_keys() {
    let dead = |options: Options, members: &str| {
        let line = format!(r#"{{"messageId":"m","type":"page",{members}}}"#);
        transform(options)
            .payload(line.as_bytes(), AT, None, &|_| false)
            .err()
    };
    let no_agent = || Options {
        default_user_agent: String::new(),
        ..Options::default()
    };
    let missing = |missing| Some(Dead::NoMatchKey { missing });
    assert_eq!(
        dead(
            Options::default(),
            r#""userId":"u","properties":{"phone":"1"}"#
        ),
        missing("client_ip_address")
    );
    assert_eq!(
        dead(Options::default(), r#""context":{"ip":"0.0.0.0"}"#),
        missing("client_ip_address")
    );
    assert_eq!(
        dead(no_agent(), r#""context":{"ip":"1.2.3.4"}"#),
        missing("client_user_agent")
    );
    assert_eq!(
        dead(no_agent(), r#""userId":"u""#),
        missing("client_ip_address and client_user_agent")
    );
    assert_eq!(dead(no_agent(), r#""properties":{"email":"e"}"#), None);
    assert_eq!(
        dead(Options::default(), r#""context":{"ip":"1.2.3.4"}"#),
        None
    );
    // A mapping can cure it.
    let cured = rules(&[("context.mail", "properties.email")]);
    assert_eq!(dead(cured, r#""context":{"mail":"e"}"#), None);
    let cured = rules(&[("context.mail", "properties.email")]);
    assert_eq!(
        dead(cured, r#""context":{"mail":true}"#),
        missing("client_ip_address")
    );
}

// ---- custom_data ----

#[test]
fn which_block_for_which_kind() {
    let all = r#"{"value":1,"currency":"EUR","order_id":"o","product_id":"p","quantity":1,"query":"q","title":"T"}"#;
    assert_eq!(
        custom_with(Options::default(), TRACK, all),
        r#"{"value":"1","currency":"EUR","order_id":"o","content_ids":["p"],"contents":[{"id":"p","quantity":1}],"num_items":1,"search_string":"q"}"#
    );
    assert_eq!(
        custom_with(Options::default(), PAGE, all),
        r#"{"content_ids":["p"]}"#
    );
    assert_eq!(custom_with(Options::default(), SCREEN, all), "");
    assert_eq!(custom_with(Options::default(), PAGE, "{}"), "");
    assert_eq!(track(""), r#"{"currency":"USD"}"#);
    for odd in ["null", "7", r#""x""#, "[]", r#"[{"value":1}]"#] {
        assert_eq!(
            custom_with(Options::default(), TRACK, odd),
            r#"{"currency":"USD"}"#
        );
    }
}

#[test]
fn values() {
    let of = |properties: &str| field("value", properties);
    assert_eq!(
        of(r#""value":1,"price":2,"revenue":3,"products":[{"price":4}]"#),
        "1"
    );
    assert_eq!(of(r#""price":2,"revenue":3,"products":[{"price":4}]"#), "2");
    assert_eq!(of(r#""revenue":3,"products":[{"price":4}]"#), "3");
    assert_eq!(of(r#""products":[{"price":4}]"#), "4");
    for absent in [
        "null",
        r#""$12""#,
        "-1",
        r#""-0.01""#,
        "true",
        "[1]",
        "1e12",
        "1e400",
        r#""""#,
        r#""NaN""#,
    ] {
        assert_eq!(
            of(&format!(r#""value":{absent},"price":"2.50""#)),
            "2.5",
            "{absent}"
        );
    }
    for (given, shown) in [
        ("0", "0"),
        ("-0", "0"),
        ("48.0", "48"),
        (r#"" 1e2 ""#, "100"),
        ("0.0000005", "0"),
        ("0.0000015", "0.000002"),
        ("-0.0000004", "0"),
        ("999999999999.999999", "999999999999.999999"),
        ("999999999999.9999999", "1000000000000"),
        ("19.990000000000002", "19.99"),
        (r#""+.5""#, "0.5"),
    ] {
        assert_eq!(of(&format!(r#""value":{given}"#)), shown, "{given}");
    }
    // The sum.
    assert_eq!(
        of(r#""products":[{"price":10.5,"quantity":2},{"price":"4"}]"#),
        "25"
    );
    assert_eq!(
        of(
            r#""products":[{"quantity":2},{"price":"4","quantity":-1},"x",7,null,{"price":"free"}]"#
        ),
        "4"
    );
    assert_eq!(
        of(r#""products":[{"price":3,"quantity":1.5},{"price":1,"quantity":0}]"#),
        "4.5"
    );
    assert_eq!(of(r#""products":[{"price":3,"quantity":0}]"#), "0");
    assert_eq!(of(r#""products":[{"price":0.1,"quantity":3}]"#), "0.3");
    assert_eq!(
        of(r#""products":[{"price":0.000001,"quantity":0.5},{"price":0.000001,"quantity":0.5}]"#),
        "0.000001"
    );
    assert_eq!(
        of(r#""products":[{"price":999999999999,"quantity":2}]"#),
        Value::Null
    );
    assert_eq!(of(r#""products":[{"price":999999999999}]"#), "999999999999");
    assert_eq!(of(r#""products":[{"quantity":2}]"#), Value::Null);
    assert_eq!(of(r#""products":{"price":2}"#), Value::Null);
}

#[test]
fn currencies() {
    let of = |properties: &str| field("currency", properties);
    let meta = r#""meta":{"i18n":{"currency":" gbp"}}"#;
    assert_eq!(of(&format!(r#""currency":" eur ",{meta}"#)), "EUR");
    assert_eq!(of(meta), "GBP");
    for absent in [
        r#""EU""#,
        r#""EURO""#,
        r#""€€€""#,
        r#""E R""#,
        r#""ÄÖÜ""#,
        r#""12X""#,
        "978",
        "null",
        r#"["EUR"]"#,
    ] {
        assert_eq!(
            of(&format!(r#""currency":{absent},{meta}"#)),
            "GBP",
            "{absent}"
        );
        assert_eq!(of(&format!(r#""currency":{absent}"#)), "USD", "{absent}");
    }
    let options = Options {
        default_currency: "chf".to_owned(),
        ..Options::default()
    };
    assert_eq!(custom_with(options, TRACK, "{}"), r#"{"currency":"CHF"}"#);
}

#[test]
fn orders_and_searches() {
    assert_eq!(
        field("order_id", r#""order_id":" o 1 ","cart_id":"c""#),
        "o 1"
    );
    assert_eq!(field("order_id", r#""order_id":[],"cart_id":7.10"#), "7.1");
    assert_eq!(
        field("order_id", r#""order_id":1e21"#),
        "1000000000000000000000"
    );
    assert_eq!(field("order_id", r#""order_id":-0"#), "0");
    assert_eq!(
        field("order_id", r#""order_id":1e40,"cart_id":true"#),
        Value::Null
    );
    assert_eq!(
        field("search_string", r#""query":" q ","search_term":"t""#),
        "q"
    );
    assert_eq!(
        field("search_string", r#""query":" ","search_term":5"#),
        "5"
    );
    assert_eq!(field("search_string", r#""search":"x""#), Value::Null);
}

#[test]
fn items_and_their_ids() {
    let ids = |properties: &str| field("content_ids", properties);
    let own = r#""product_id":"own","sku":"s""#;
    assert_eq!(
        ids(
            r#""products":[{"product_id":1,"sku":"a"},{"sku":" b "},{"product_id":true,"sku":"c"},{"name":"d"},"e",null]"#
        ),
        value(r#"["1","b","c"]"#)
    );
    // Objects in products settle it, even without an id.
    assert_eq!(ids(&format!(r#"{own},"products":[{{}}]"#)), Value::Null);
    for none in [
        "null",
        "[]",
        r#""p""#,
        "7",
        r#"{"product_id":"p"}"#,
        r#"["p",1,null,[{}]]"#,
    ] {
        assert_eq!(
            ids(&format!(r#"{own},"products":{none}"#)),
            value(r#"["own"]"#),
            "{none}"
        );
    }
    assert_eq!(ids(r#""product_id":"","sku":5"#), value(r#"["5"]"#));
    assert_eq!(ids(r#""name":"x","price":3"#), Value::Null);
    assert_eq!(field("contents", r#""name":"x","price":3"#), Value::Null);
    assert_eq!(ids(r#""title":"T""#), Value::Null, "a title is for pages");
}

#[test]
fn a_page_goes_by_its_title() {
    let of = |properties: &str, title: &str| {
        event(&format!(r#"{PAGE},"properties":{properties},"context":{{"ip":"1.2.3.4","page":{{"title":{title}}}}}"#))["custom_data"]["content_ids"].clone()
    };
    assert_eq!(of(r#"{"title":" P "}"#, r#""C""#), value(r#"["P"]"#));
    assert_eq!(of(r#"{"title":["P"]}"#, r#"" C""#), value(r#"["C"]"#));
    assert_eq!(of(r#"{"title":12.0}"#, r#""C""#), value(r#"["12"]"#));
    assert_eq!(
        of(r#"{"title":"P","sku":"s"}"#, r#""C""#),
        value(r#"["s"]"#)
    );
    assert_eq!(
        of(
            r#"{"title":"P","products":[{"sku":"s"},{"product_id":"t"}]}"#,
            r#""C""#
        ),
        value(r#"["s","t"]"#)
    );
    assert_eq!(
        of(r#"{"title":"P","products":[{"name":"no id"}]}"#, r#""C""#),
        value(r#"["P"]"#)
    );
    assert_eq!(of("{}", "null"), Value::Null);
}

#[test]
fn contents_and_counts() {
    let contents = |properties: &str| field("contents", properties);
    assert_eq!(
        contents(
            r#""products":[{"product_id":" p ","price":"1.10","quantity":"2.0","name":3,"category":"c","brand":" b","color":"red"},
            {"price":-1,"quantity":1.5,"name":"","category":null,"brand":[]},{"brand":"z"},{}]"#
        ),
        value(
            r#"[{"id":"p","item_price":"1.1","quantity":2,"item_name":"3","item_category":"c","item_brand":"b"},{"item_brand":"z"}]"#
        )
    );
    assert_eq!(contents(r#""products":[{},{"x":1}]"#), Value::Null);
    // Pinterest's own keys do not count in an event.
    assert_eq!(
        contents(r#""products":[{"id":"i","item_price":1,"item_name":"n"}]"#),
        Value::Null
    );
    assert_eq!(
        contents(r#""sku":"s","price":2,"quantity":3,"name":"n","category":"c","brand":"b""#),
        value(
            r#"[{"id":"s","item_price":"2","quantity":3,"item_name":"n","item_category":"c","item_brand":"b"}]"#
        )
    );
    assert!(
        track(r#""products":[{"quantity":2.0}]"#).contains(r#""quantity":2}"#),
        "an integer on the wire"
    );

    let count = |properties: &str| field("num_items", properties);
    assert_eq!(
        count(r#""quantity":"3","products":[{"quantity":5}]"#),
        value("3")
    );
    assert_eq!(
        count(
            r#""quantity":1.5,"products":[{"quantity":5},{"quantity":2.0},{"quantity":"x"},{},{"quantity":0.5},9]"#
        ),
        value("7")
    );
    assert_eq!(count(r#""quantity":0"#), value("0"));
    assert_eq!(count(r#""products":[{"quantity":0}]"#), value("0"));
    assert_eq!(count(r#""products":[{},{"quantity":-1}]"#), Value::Null);
    assert_eq!(
        count(r#""products":[{"quantity":2147483647}]"#),
        value("2147483647")
    );
    assert_eq!(
        count(r#""products":[{"quantity":2147483647},{"quantity":1}]"#),
        Value::Null
    );
    assert_eq!(count(r#""quantity":2147483648"#), Value::Null);
}

// ---- Custom properties ----

#[test]
fn only_what_is_configured_flows() {
    assert_eq!(
        track(r#""loyalty_tier":"gold","content_name":"n""#),
        r#"{"currency":"USD"}"#
    );
    let tier = || rules(&[("properties.loyalty_tier", "properties.loyalty_tier")]);
    let with =
        |kind: &str, v: &str| custom_with(tier(), kind, &format!(r#"{{"loyalty_tier":{v}}}"#));
    for kept in [
        r#""gold""#,
        r#""""#,
        r#"" a ""#,
        "false",
        "true",
        "[]",
        "{}",
        "0",
        "-0",
        "1.50",
        "1e-400",
        "123456789012345678901234567890",
        r#"{"a":[1,null,{"b":"\u0001\"é"}]}"#,
        r#"{"$serde_json::private::Number":"1"}"#,
    ] {
        assert_eq!(with(PAGE, kept), format!(r#"{{"loyalty_tier":{kept}}}"#));
        assert_eq!(with(SCREEN, kept), format!(r#"{{"loyalty_tier":{kept}}}"#));
        assert_eq!(
            with(TRACK, kept),
            format!(r#"{{"currency":"USD","loyalty_tier":{kept}}}"#)
        );
    }
    assert_eq!(with(PAGE, "null"), "");
    // Of a repeated key the last one counts, in what is forwarded too.
    assert_eq!(
        with(PAGE, r#"{"a":1,"b":2,"a":3}"#),
        r#"{"loyalty_tier":{"b":2,"a":3}}"#
    );
    let many: Vec<String> = (0..40).map(|i| format!(r#""k{}":{i}"#, i % 20)).collect();
    let expected: Vec<String> = (20..40).map(|i| format!(r#""k{}":{i}"#, i % 20)).collect();
    assert_eq!(
        with(PAGE, &format!("{{{}}}", many.join(","))),
        format!(r#"{{"loyalty_tier":{{{}}}}}"#, expected.join(","))
    );
}

#[test]
fn paths() {
    let of = |source: &str| {
        custom_with(
            rules(&[(source, "properties.x")]),
            PAGE,
            r#"{"a":{"b":[{"c":1},[5,6]],"2":"two"},"":"e"}"#,
        )
    };
    assert_eq!(of("properties.a.b.0.c"), r#"{"x":1}"#);
    assert_eq!(of("properties.a.b.1.1"), r#"{"x":6}"#);
    assert_eq!(of("properties.a.2"), r#"{"x":"two"}"#);
    assert_eq!(of("messageId"), r#"{"x":"m"}"#);
    for none in [
        "properties.a.b.2",
        "properties.a.b.-1",
        "properties.a.b.+0",
        "properties.a.b.c",
        "properties.A",
        "a.b",
        "properties.a.b.0.c.d",
        "properties.a.b.99999999999999999999999",
        "messageId.0",
    ] {
        assert_eq!(of(none), "", "{none}");
    }
}

#[test]
fn the_last_usable_mapping_wins() {
    let options = || {
        rules(&[
            ("properties.a", "properties.value"),
            ("properties.b", "properties.value"),
            ("properties.c", "properties.x"),
            ("properties.d", "properties.x"),
        ])
    };
    let of = |properties: &str| {
        let line = format!(
            r#"{{"messageId":"m",{TRACK},"properties":{properties},"context":{{"ip":"1.2.3.4"}}}}"#
        );
        let sent = payload(&transform(options()), &line);
        let json = value(std::str::from_utf8(&sent.json).unwrap());
        (
            json["custom_data"]["value"].clone(),
            json["custom_data"]["x"].clone(),
            sent.unusable,
        )
    };
    assert_eq!(
        of(r#"{"value":9,"a":1,"b":2,"c":"c","d":"d"}"#),
        ("2".into(), "d".into(), 0)
    );
    assert_eq!(
        of(r#"{"value":9,"a":1,"b":"$2","c":"c","d":null}"#),
        ("1".into(), "c".into(), 1)
    );
    assert_eq!(
        of(r#"{"value":9,"a":-1,"b":[]}"#),
        ("9".into(), Value::Null, 2)
    );
    assert_eq!(of(r#"{"value":9,"b":null}"#), ("9".into(), Value::Null, 0));
}

#[test]
fn schema_fields_are_brought_to_their_type() {
    let of = |destination: &str, v: &str| {
        let destination = format!("properties.{destination}");
        let options = rules(&[("properties.src", &destination)]);
        let line = format!(
            r#"{{"messageId":"m",{SCREEN},"properties":{{"src":{v}}},"context":{{"ip":"1.2.3.4"}}}}"#
        );
        let sent = payload(&transform(options), &line);
        let json = value(std::str::from_utf8(&sent.json).unwrap());
        assert!(
            sent.custom_keys.is_empty(),
            "a schema field is no custom key"
        );
        match json["custom_data"].as_object() {
            Some(data) => {
                assert_eq!((data.len(), sent.unusable), (1, 0));
                data.values().next().unwrap().to_string()
            }
            None => format!("{} unusable", sent.unusable),
        }
    };
    for (destination, given, sent) in [
        ("value", r#"" 12.50 ""#, r#""12.5""#),
        ("value", "0", r#""0""#),
        ("num_items", r#""2""#, "2"),
        ("num_items", "4.0", "4"),
        ("currency", r#"" eur""#, r#""EUR""#),
        ("order_id", "991.0", r#""991""#),
        ("search_string", r#"" q ""#, r#""q""#),
        ("content_ids", "7", r#"["7"]"#),
        ("content_ids", r#"["a",null,2.50]"#, r#"["a","2.5"]"#),
        ("content_name", " 5.0", r#""5""#),
        ("content_category", r#"" c ""#, r#""c""#),
        ("content_brand", r#""b""#, r#""b""#),
        ("opt_out_type", r#""LDP""#, r#""LDP""#),
        ("predicted_ltv", "1e3", r#""1000""#),
    ] {
        assert_eq!(of(destination, given), sent, "{destination} {given}");
    }
    for (destination, given) in [
        ("value", "-1"),
        ("value", r#""$1""#),
        ("value", "[1]"),
        ("value", "1e12"),
        ("num_items", "1.5"),
        ("num_items", "-1"),
        ("num_items", "2147483648"),
        ("currency", r#""euro""#),
        ("order_id", "true"),
        ("order_id", r#"" ""#),
        ("search_string", "{}"),
        ("content_ids", "[]"),
        ("content_ids", "{}"),
        ("content_ids", "[[1]]"),
        ("contents", r#"{"id":"a"}"#),
        ("contents", "[]"),
        ("contents", r#"["a",1,null]"#),
        ("contents", r#"[{"color":"red"}]"#),
        ("contents", r#""a""#),
        ("content_name", "false"),
        ("predicted_ltv", "1e400"),
    ] {
        assert_eq!(
            of(destination, given),
            "1 unusable",
            "{destination} {given}"
        );
    }
    assert_eq!(of("value", "null"), "0 unusable");

    let contents = |v: &str| value(&of("contents", v));
    assert_eq!(
        contents(
            r#"[{"id":"i","item_price":"2","quantity":"3","item_name":"n","item_category":"c","item_brand":"b","x":1},{"y":2},"z"]"#
        ),
        value(
            r#"[{"id":"i","item_price":"2","quantity":3,"item_name":"n","item_category":"c","item_brand":"b"}]"#
        )
    );
    // The product's key wins; one that is of no use passes the turn.
    assert_eq!(
        contents(
            r#"[{"id":"i","sku":"s","item_price":1,"price":2,"item_name":"in","name":"n","item_category":"ic","category":"c","item_brand":"ib","brand":"b"}]"#
        ),
        value(
            r#"[{"id":"s","item_price":"2","item_name":"n","item_category":"c","item_brand":"b"}]"#
        )
    );
    assert_eq!(
        contents(r#"[{"id":"i","sku":null,"product_id":"","item_price":1,"price":-2}]"#),
        value(r#"[{"id":"i","item_price":"1"}]"#)
    );
}

#[test]
fn a_mapping_overrides_what_was_computed() {
    let total = || rules(&[("properties.total", "properties.value")]);
    assert_eq!(
        custom_with(total(), TRACK, r#"{"value":1,"total":"48.0"}"#),
        r#"{"value":"48","currency":"USD"}"#
    );
    assert_eq!(
        custom_with(total(), TRACK, r#"{"value":1,"total":"x"}"#),
        r#"{"value":"1","currency":"USD"}"#
    );
    assert_eq!(
        custom_with(total(), PAGE, r#"{"total":5}"#),
        r#"{"value":"5"}"#
    );
    // A source reads the event as received, not what another rule made of it.
    let chain = rules(&[
        ("properties.total", "properties.value"),
        ("properties.value", "properties.order_id"),
    ]);
    assert_eq!(
        custom_with(chain, TRACK, r#"{"value":1,"total":2}"#),
        r#"{"value":"2","currency":"USD","order_id":"1"}"#
    );
}

#[test]
fn personal_fields_feed_user_data_alone() {
    for (destination, wire, own, in_traits) in [
        ("email", "em", "email", "email"),
        ("phone", "ph", "phone", "phone"),
        ("first_name", "fn", "first_name", "firstName"),
        ("last_name", "ln", "last_name", "lastName"),
    ] {
        let of = |src: &str, own_value: &str| {
            let options = rules(&[("context.src", &format!("properties.{destination}"))]);
            let line = format!(
                r#"{{"messageId":"m",{SCREEN},"properties":{{"{own}":{own_value}}},
                    "context":{{"ip":"1.2.3.4","src":{src},"traits":{{"{in_traits}":"T"}}}}}}"#
            );
            let sent = payload(&transform(options), &line);
            let json = value(std::str::from_utf8(&sent.json).unwrap());
            assert_eq!(json["custom_data"], Value::Null);
            assert!(sent.custom_keys.is_empty());
            (json["user_data"][wire].to_string(), sent.unusable)
        };
        let is = |text: &str, unusable| (text.to_owned(), unusable);
        assert_eq!(of(r#"" S ""#, r#""P""#), is(r#"["S"]"#, 0));
        assert_eq!(of(r#"["a",7]"#, r#""P""#), is(r#"["a","7"]"#, 0));
        assert_eq!(of("{}", r#""P""#), is(r#"["P"]"#, 1));
        assert_eq!(of("null", r#""P""#), is(r#"["P"]"#, 0));
        assert_eq!(of(r#""""#, "null"), is(r#"["T"]"#, 1));
    }
}

#[test]
fn custom_keys_can_be_left_out() {
    let t = transform(rules(&[
        ("properties.z", "properties.zeta"),
        ("properties.a", "properties.alpha"),
        ("properties.a", "properties.zeta"),
        ("properties.gone", "properties.gone"),
        ("properties.a", "properties.content_name"),
    ]));
    let line = format!(
        r#"{{"messageId":"m",{PAGE},"properties":{{"z":1,"a":2}},"context":{{"ip":"1.2.3.4"}}}}"#
    );
    let without = |key: &str| {
        let sent = t.payload(line.as_bytes(), AT, None, &|k| k == key).unwrap();
        let json = String::from_utf8(sent.json).unwrap();
        let keys: Vec<String> = sent.custom_keys.iter().map(|k| k.to_string()).collect();
        (
            json.split_once(r#""custom_data":"#).unwrap().1.to_owned(),
            keys,
        )
    };
    let is = |data: &str, keys: &[&str]| {
        (
            data.to_owned(),
            keys.iter().map(|k| (*k).to_owned()).collect(),
        )
    };
    assert_eq!(
        without(""),
        is(
            r#"{"content_name":"2","alpha":2,"zeta":2}}"#,
            &["alpha", "zeta"]
        )
    );
    assert_eq!(
        without("zeta"),
        is(r#"{"content_name":"2","alpha":2}}"#, &["alpha"])
    );
    assert_eq!(without("content_name"), without(""), "a schema field stays");
}

// ---- The config ----

fn refusal(options: Options) -> String {
    match Transform::new(options) {
        Ok(_) => panic!("taken"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn destinations_that_are_refused() {
    for (key, instead) in [
        ("np", "partner_name"),
        ("external_measurement_id", "leave it out"),
        ("revenue", "properties.value"),
        ("price", "properties.value"),
        ("products", "properties.contents"),
        ("product_id", "properties.content_ids"),
        ("sku", "properties.content_ids"),
        ("quantity", "properties.num_items"),
        ("query", "properties.search_string"),
        ("search_term", "properties.search_string"),
        ("cart_id", "properties.order_id"),
        ("address", "user_data"),
        ("meta", "properties.currency"),
        ("title", "properties.content_ids"),
        ("name", "properties.content_name"),
        ("category", "properties.content_category"),
        ("brand", "properties.content_brand"),
        ("partner_id", "partner_id"),
        ("action_source", "action_source"),
    ] {
        let destination = format!("properties.{key}");
        let text = refusal(rules(&[
            ("properties.a", "properties.b"),
            ("properties.x", &destination),
        ]));
        assert!(
            text.contains(&format!("mappings[2].destination = \"{destination}\"")),
            "{text}"
        );
        assert!(text.contains(instead), "{text}");
    }
    for bad in [
        "",
        "value",
        "properties",
        "properties.",
        "properties. ",
        "properties.a.b",
        "context.a",
        "Properties.a",
        "custom_data.value",
    ] {
        let text = refusal(rules(&[("properties.x", bad)]));
        assert!(text.contains("properties.<key>"), "{text}");
    }
    for bad in ["", ".", "properties.", ".a", "properties..a"] {
        let text = refusal(rules(&[(bad, "properties.x")]));
        assert!(text.contains("mappings[1].source"), "{text}");
    }
    // Near misses are custom keys like any other.
    for fine in [
        "npx",
        "Price",
        "external_measurement",
        "names",
        "opt_out",
        "custom key",
    ] {
        assert!(
            Transform::new(rules(&[("properties.x", &format!("properties.{fine}"))])).is_ok(),
            "{fine}"
        );
    }
}

#[test]
fn other_options_that_are_refused() {
    for bad in ["", "Web", "ios"] {
        let options = Options {
            default_action_source: bad.to_owned(),
            ..Options::default()
        };
        assert!(refusal(options).contains("web, app_android, app_ios, offline"));
    }
    for bad in ["", "US", "DOLLAR", "U$D"] {
        let options = Options {
            default_currency: bad.to_owned(),
            ..Options::default()
        };
        assert!(refusal(options).contains("pinterest.default_currency"));
    }
    let names = |pairs: &[(&str, &str)]| Options {
        event_names: pairs
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect(),
        ..Options::default()
    };
    assert_eq!(
        Transform::new(names(&[("Signed Up", "a"), ("SIGNED UP ", "b")])).err(),
        Some(OptionsError::SameEvent {
            first: "Signed Up".into(),
            second: "SIGNED UP ".into()
        })
    );
    assert!(refusal(names(&[("Signed Up", " ")])).contains("\"Signed Up\""));
    assert_eq!(
        Transform::new(names(&[(" ", "a")])).err(),
        Some(OptionsError::EmptyEventKey)
    );
}

#[test]
fn personal_data_under_a_custom_key_is_warned_of() {
    let warnings =
        |source: &str, destination: &str| transform(rules(&[(source, destination)])).warnings();
    for source in [
        "properties.email",
        "context.traits.phone",
        "properties.first_name",
        "context.traits.lastName",
        "context.traits.address",
        "properties.address.city",
        "context.traits",
        "properties.customer.Email",
    ] {
        let told = warnings(source, "properties.x");
        assert_eq!(told.len(), 1, "{source}");
        assert!(
            told[0].contains(source) && told[0].contains("properties.x"),
            "{}",
            told[0]
        );
        assert!(
            warnings(source, "properties.email").is_empty(),
            "user_data is the place for it"
        );
        assert!(warnings(source, "properties.order_id").is_empty());
    }
    for source in [
        "properties.loyalty_tier",
        "properties.email_opt_in",
        "context.page.title",
    ] {
        assert!(warnings(source, "properties.x").is_empty(), "{source}");
    }
}
