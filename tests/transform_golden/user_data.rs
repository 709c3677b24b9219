//! user_data: sources, hashing, match keys.

use super::*;

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
