//! user_data: sources, hashing, match keys.

use super::*;

#[test]
fn who() {
    for (wire, property, in_traits, [p, t, b, a]) in [
        ("em", "email", "email", ["p@x", "t@x", "b@x", "a@x"]),
        ("ph", "phone", "phone", ["P1", "T1", "b1", "a1"]),
        ("fn", "first_name", "firstName", ["P", "T", "b", "a"]),
        ("ln", "last_name", "lastName", ["P", "T", "b", "a"]),
    ] {
        let own = format!(r#""{property}":" {p} ""#);
        let traits = format!(r#""{in_traits}":"{t}""#);
        assert_eq!(user(wire, &own, &traits), value(&format!(r#"["{p}"]"#)));
        assert_eq!(user(wire, "", &traits), value(&format!(r#"["{t}"]"#)));
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
            assert_eq!(
                user(wire, &own, &traits),
                value(&format!(r#"["{t}"]"#)),
                "{absent}"
            );
            assert_eq!(user(wire, &own, ""), Value::Null, "{absent}");
        }
        let list = format!(r#""{property}":["{b}",null,"{a} ","{b}",["c"],{{"d":1}},false]"#);
        let expected = value(&format!(r#"["{b}","{a}","{b}"]"#));
        assert_eq!(user(wire, &list, &traits), expected);
    }
    assert_eq!(user("fn", r#""first_name":5.50"#, ""), value(r#"["5.5"]"#));
    // Neither spelling counts in the other place.
    assert_eq!(
        user("fn", r#""firstName":"a""#, r#""first_name":"b""#),
        Value::Null
    );
}

/// A text of another kind would only look like a match key.
#[test]
fn emails_and_phones() {
    let hash = "AbCdEf0123456789AbCdEf0123456789AbCdEf0123456789AbCdEf0123456789";
    for good in ["a@b", "a@b@c", "@a@b", "x y@z", hash] {
        let own = format!(r#""email":"{good}""#);
        assert_eq!(user("em", &own, ""), value(&format!(r#"["{good}"]"#)));
    }
    for bad in ["ada", "@b", "a@", "a@@b", "@", &hash[1..], "12"] {
        let own = format!(r#""email":"{bad}""#);
        assert_eq!(
            user("em", &own, r#""email":"t@x""#),
            value(r#"["t@x"]"#),
            "{bad}"
        );
        assert_eq!(
            track_notes(&own),
            ["em properties.email unreadable"],
            "{bad}"
        );
    }
    assert_eq!(
        user("ph", r#""phone":"call me""#, r#""phone":7"#),
        value(r#"["7"]"#)
    );
    assert_eq!(
        user("ph", r#""phone":["\u0663","ext 5"]"#, ""),
        value(r#"["ext 5"]"#)
    );
}

/// People are called Null; orders, cities and devices are not.
#[test]
fn placeholders() {
    let words = [
        "null",
        " UNDEFINED ",
        "None",
        "nan",
        "N/A",
        "[object Object]",
    ];
    for word in words {
        let own = format!(r#""email":"{word}","phone":"{word}","first_name":"{word}""#);
        assert_eq!(user("em", &own, r#""email":"t@x""#), value(r#"["t@x"]"#));
        assert_eq!(user("ph", &own, r#""phone":"1""#), value(r#"["1"]"#));
        assert_eq!(
            user("fn", &own, ""),
            value(&format!(r#"["{}"]"#, word.trim()))
        );
        let place = format!(r#""address":{{"city":"{word}","postalCode":["{word}","1"]}}"#);
        assert_eq!(user("ct", &place, ""), Value::Null);
        assert_eq!(user("zp", &place, ""), value(r#"["1"]"#));
        let order = format!(r#""order_id":"{word}","cart_id":"c""#);
        assert_eq!(field("order_id", &order), "c");
        let product =
            format!(r#""products":[{{"product_id":"{word}","sku":"s","name":"{word}"}}]"#);
        assert_eq!(field("content_ids", &product), value(r#"["s"]"#));
        assert_eq!(field("contents", &product)[0]["item_name"], word.trim());
        let page = format!(r#","userAgent":"{word}","page":{{"url":"?epik={word}&epik=e"}}"#);
        let data = &page_in(&page)["user_data"];
        assert_eq!(
            (&data["client_user_agent"], &data["click_id"]),
            (&Value::from("Mozilla/5.0"), &Value::from("e"))
        );
        assert_eq!(
            field("search_string", &format!(r#""query":"{word}""#)),
            word.trim()
        );
    }
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
    for absent in [r#""""#, "null", "true", r#"["u"]"#, "{}", "0", r#""none""#] {
        assert_eq!(
            of(&format!(r#","userId":{absent},"anonymousId":7"#)),
            value(r#"["7"]"#),
            "{absent}"
        );
    }
    assert_eq!(of(""), Value::Null);
}

/// 0 is what shops write for nobody.
#[test]
fn guests_have_no_external_id() {
    for guest in ["0", r#""0""#, "0.0", "-0", r#"" 0 ""#] {
        let members = format!(
            r#"{PAGE},"userId":{guest},"anonymousId":"a","context":{{"ip":"203.0.113.7"}}"#
        );
        assert_eq!(
            event(&members)["user_data"]["external_id"],
            value(r#"["a"]"#)
        );
        let notes = notes_with(Options::default(), &members);
        assert_eq!(notes, ["external_id userId placeholder"], "{guest}");
    }
    let members = format!(r#"{PAGE},"userId":"00","context":{{"ip":"203.0.113.7"}}"#);
    assert_eq!(
        event(&members)["user_data"]["external_id"],
        value(r#"["00"]"#)
    );
}

/// As proxies write them; none that matches nobody.
#[test]
fn addresses() {
    let of = |ip: &str| {
        let members = format!(r#"{PAGE},"properties":{{"email":"e@x"}},"context":{{"ip":{ip}}}"#);
        let sent = event(&members)["user_data"]["client_ip_address"].clone();
        (sent, notes_with(Options::default(), &members))
    };
    for (given, sent) in [
        (r#"" 203.0.113.7\n""#, "203.0.113.7"),
        (r#""2001:DB8:0::1""#, "2001:DB8:0::1"),
        (r#""::ffff:203.0.113.7""#, "203.0.113.7"),
        (r#""::FFFF:cb00:7107""#, "203.0.113.7"),
        (r#""203.0.113.7:51234""#, "203.0.113.7"),
        (r#""[2001:db8::1]:443""#, "2001:db8::1"),
        (r#""2001:db8::1%en0""#, "2001:db8::1"),
        (
            r#""10.0.0.3, 203.0.113.7:51234 ,198.51.100.1""#,
            "203.0.113.7",
        ),
        (r#"["unknown",7,"203.0.113.7"]"#, "203.0.113.7"),
    ] {
        assert_eq!(of(given), (Value::from(sent), vec![]), "{given}");
    }
    for missing in ["null", r#"" ""#, "[]", "{}"] {
        assert_eq!(of(missing), (Value::Null, vec![]), "{missing}");
    }
    for unreadable in [
        r#""0.0.0.0""#,
        r#""::""#,
        r#""0:0:0:0:0:FFFF:0:0""#,
        r#""10.1.2.3""#,
        r#""172.16.0.1""#,
        r#""192.168.0.1""#,
        r#""100.64.0.1""#,
        r#""127.0.0.1""#,
        r#""169.254.0.1""#,
        r#""::1""#,
        r#""fe80::1%eth0""#,
        r#""fd00::1""#,
        r#""1.2.3.4:80000""#,
        r#""1.2.3""#,
        r#""1.2.3.256""#,
        r#""01.2.3.4""#,
        r#""1.2.3.4/32""#,
        r#""localhost""#,
        r#"",""#,
        "1234",
        "true",
        r#"{"v4":"1.2.3.4"}"#,
    ] {
        let note = "client_ip_address context.ip unreadable".to_owned();
        assert_eq!(of(unreadable), (Value::Null, vec![note]), "{unreadable}");
    }
}

#[test]
fn address_and_agent() {
    let of = |field: &str, context: &str| {
        event(&format!(
            r#""type":"page","properties":{{"email":"e@x"}},"context":{{{context}}}"#
        ))["user_data"][field]
            .clone()
    };
    let ip = |ip: &str| of("client_ip_address", &format!(r#""ip":{ip}"#));
    assert_eq!(ip(r#""203.0.113.7""#), "203.0.113.7");
    assert_eq!(ip("1234"), Value::Null);

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
        user_with(options, "client_user_agent", r#""email":"e@x""#, "")
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
        user_with(sha256(), field, properties, r#""email":"t@x","phone":"1""#)
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
    assert_eq!(of("ph", r#""phone":"00""#), Value::Null);
    assert_eq!(
        of("ph", r#""phone":["x","00","1"]"#)
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
        r#""type":"page","userId":"u-1","properties":{"email":"e@x","partner_id":"P"},
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
        unsendable(options, &line).map(|unsendable| unsendable.why)
    };
    let no_agent = || Options {
        default_user_agent: String::new(),
        ..Options::default()
    };
    let missing = |missing| {
        Some(Dead::NoMatchKey {
            missing,
            unreadable: String::new(),
        })
    };
    let there = |missing, unreadable: &str| {
        Some(Dead::NoMatchKey {
            missing,
            unreadable: format!("; {unreadable}"),
        })
    };
    assert_eq!(
        dead(
            Options::default(),
            r#""userId":"u","properties":{"phone":"1"}"#
        ),
        missing("client_ip_address")
    );
    // What is there and cannot be read is told from what is missing.
    assert_eq!(
        dead(Options::default(), r#""context":{"ip":"somewhere"}"#),
        there(
            "client_ip_address",
            "context.ip is there, but is no address"
        )
    );
    assert_eq!(
        dead(
            Options::default(),
            r#""properties":{"email":"n/a"},"context":{"ip":"10.0.0.1"}"#
        ),
        there(
            "client_ip_address",
            "properties.email is there, but is only a word for nothing, and context.ip is there, \
             but is a private or local address, which matches nobody"
        )
    );
    assert_eq!(
        dead(no_agent(), r#""context":{"ip":"1.2.3.4"}"#),
        missing("client_user_agent")
    );
    assert_eq!(
        dead(no_agent(), r#""userId":"u""#),
        missing("client_ip_address and client_user_agent")
    );
    assert_eq!(dead(no_agent(), r#""properties":{"email":"e@x"}"#), None);
    assert_eq!(
        dead(Options::default(), r#""context":{"ip":"1.2.3.4"}"#),
        None
    );
    // A time that cannot be told is the lesser trouble.
    assert!(matches!(
        dead(Options::default(), r#""timestamp":"x""#),
        Some(Dead::NoMatchKey { .. })
    ));
    // A mapping can cure it.
    let cured = || rules(&[("context.mail", "properties.email")]);
    assert_eq!(dead(cured(), r#""context":{"mail":"e@x"}"#), None);
    assert!(matches!(
        dead(cured(), r#""context":{"mail":true}"#),
        Some(Dead::NoMatchKey { .. })
    ));
}
