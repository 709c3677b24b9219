//! Custom properties: what `[[mappings]]` do.

use super::*;

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
            sent.notes.len(),
        )
    };
    assert_eq!(
        of(r#"{"value":9,"a":1,"b":2,"c":"c","d":"d"}"#),
        ("2".into(), "d".into(), 0)
    );
    assert_eq!(
        of(r#"{"value":9,"a":1,"b":"","c":"c","d":null}"#),
        ("1".into(), "c".into(), 0)
    );
    assert_eq!(
        of(r#"{"value":9,"a":"$1","b":2}"#),
        ("2".into(), Value::Null, 1)
    );
    assert_eq!(of(r#"{"value":9,"b":null}"#), ("9".into(), Value::Null, 0));
}

/// What cannot be read leaves nothing to stand in for it, neither an earlier rule nor the event.
#[test]
fn money_that_cannot_be_read_ends_it() {
    let options = || {
        rules(&[
            ("properties.a", "properties.value"),
            ("properties.b", "properties.value"),
            ("properties.c", "properties.currency"),
        ])
    };
    let of = |properties: &str| {
        let members =
            format!(r#"{TRACK},"properties":{{{properties}}},"context":{{"ip":"1.2.3.4"}}"#);
        let data = event_with(options(), &members)["custom_data"].clone();
        let notes = notes_with(options(), &members).join(", ");
        (data["value"].clone(), data["currency"].clone(), notes)
    };
    let is = |value: &str, currency: &str, notes: &str| {
        let text = |text: &str| match text {
            "" => Value::Null,
            text => Value::from(text),
        };
        (text(value), text(currency), notes.to_owned())
    };
    assert_eq!(
        of(r#""value":9,"a":1,"b":"$2""#),
        is("", "USD", "value properties.b unreadable")
    );
    assert_eq!(
        of(r#""value":9,"a":-1"#),
        is("", "USD", "value properties.a negative")
    );
    assert_eq!(of(r#""value":"x","a":5"#), is("5", "USD", ""));
    assert_eq!(
        of(r#""value":9,"a":"x","b":3"#),
        is("3", "USD", "value properties.a unreadable")
    );
    assert_eq!(
        of(r#""value":9,"currency":"EUR","c":"euros""#),
        is("9", "", "currency properties.c unreadable")
    );
    assert_eq!(
        of(r#""value":9,"currency":"EUR","c":" ""#),
        is("9", "EUR", "")
    );
    // For other fields the computed value stays.
    let order = || rules(&[("properties.a", "properties.order_id")]);
    let members = format!(
        r#"{TRACK},"properties":{{"a":"n/a","order_id":"o"}},"context":{{"ip":"1.2.3.4"}}"#
    );
    assert_eq!(
        event_with(order(), &members)["custom_data"]["order_id"],
        "o"
    );
    assert_eq!(
        notes_with(order(), &members),
        ["order_id properties.a placeholder"]
    );
}

#[test]
fn places_feed_user_data() {
    for (destination, wire) in [
        ("city", "ct"),
        ("state", "st"),
        ("zip", "zp"),
        ("zipcode", "zp"),
        ("postal_code", "zp"),
        ("country", "country"),
    ] {
        let options = || rules(&[("properties.x", &format!("properties.{destination}"))]);
        let of = |x: &str| {
            let members = format!(
                r#"{TRACK},"properties":{{"x":{x},"address":{{"city":"A","state":"A","postalCode":"A","country":"A"}}}},"context":{{"ip":"1.2.3.4"}}"#
            );
            let sent = event_with(options(), &members);
            assert_eq!(sent["custom_data"], value(r#"{"currency":"USD"}"#));
            sent["user_data"][wire].clone()
        };
        assert_eq!(
            of(r#"" Fall River ""#),
            value(r#"["Fall River"]"#),
            "{destination}"
        );
        assert_eq!(of("[null]"), value(r#"["A"]"#));
        assert_eq!(of(r#""none""#), value(r#"["A"]"#));
    }
    // Of several the last usable one.
    let options = rules(&[
        ("properties.a", "properties.zip"),
        ("properties.b", "properties.postal_code"),
        ("properties.c", "properties.zipcode"),
    ]);
    let members = format!(
        r#"{TRACK},"properties":{{"a":"1","b":"2","c":{{"d":1}}}},"context":{{"ip":"1.2.3.4"}}"#
    );
    assert_eq!(
        event_with(options, &members)["user_data"]["zp"],
        value(r#"["2"]"#)
    );
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
                assert_eq!(data.len(), 1);
                data.values().next().unwrap().to_string()
            }
            None => format!("{} notes", sent.notes.len()),
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
        ("order_id", r#""undefined""#),
        ("search_string", "[1]"),
        ("content_ids", r#"{"a":1}"#),
        ("content_ids", "[[1]]"),
        ("contents", r#"{"id":"a"}"#),
        ("contents", r#"["a",null]"#),
        ("contents", r#"[{"color":"red"}]"#),
        ("contents", r#""a""#),
        ("content_name", "false"),
        ("predicted_ltv", "1e400"),
    ] {
        assert_eq!(of(destination, given), "1 notes", "{destination} {given}");
    }
    for (destination, missing) in [
        ("value", "null"),
        ("order_id", r#"" ""#),
        ("search_string", "{}"),
        ("content_ids", "[]"),
        ("content_ids", "{}"),
        ("content_ids", "[null,[]]"),
        ("contents", "[]"),
    ] {
        assert_eq!(
            of(destination, missing),
            "0 notes",
            "{destination} {missing}"
        );
    }

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
        contents(r#"[{"id":"i","sku":null,"product_id":"","item_price":1,"price":null}]"#),
        value(r#"[{"id":"i","item_price":"1"}]"#)
    );
    // A price that cannot be read is not replaced by another.
    assert_eq!(
        contents(r#"[{"id":"i","item_price":1,"price":-2}]"#),
        value(r#"[{"id":"i"}]"#)
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
        custom_with(total(), TRACK, r#"{"value":1,"total":""}"#),
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
    for (destination, wire, own, in_traits, [src, p, t]) in [
        ("email", "em", "email", "email", ["s@x", "p@x", "t@x"]),
        ("phone", "ph", "phone", "phone", ["1", "2", "3"]),
        (
            "first_name",
            "fn",
            "first_name",
            "firstName",
            ["S", "P", "T"],
        ),
        ("last_name", "ln", "last_name", "lastName", ["S", "P", "T"]),
    ] {
        let of = |given: &str, own_value: &str| {
            let options = rules(&[("context.src", &format!("properties.{destination}"))]);
            let line = format!(
                r#"{{"messageId":"m",{SCREEN},"properties":{{"{own}":{own_value}}},
                    "context":{{"ip":"1.2.3.4","src":{given},"traits":{{"{in_traits}":"{t}"}}}}}}"#
            );
            let sent = payload(&transform(options), &line);
            let json = value(std::str::from_utf8(&sent.json).unwrap());
            assert_eq!(json["custom_data"], Value::Null);
            assert!(sent.custom_keys.is_empty());
            (
                json["user_data"][wire].clone(),
                told(&sent.notes).join(", "),
            )
        };
        let is = |text: &str, notes: &str| (value(&format!(r#"["{text}"]"#)), notes.to_owned());
        let own_value = format!(r#""{p}""#);
        assert_eq!(of(&format!(r#"" {src} ""#), &own_value), is(src, ""));
        // What is behind it is not looked at.
        assert_eq!(of(&format!(r#"["{src}",null]"#), "true"), is(src, ""));
        let unreadable = format!("{wire} context.src unreadable");
        assert_eq!(of("true", &own_value), is(p, &unreadable));
        assert_eq!(of("null", &own_value), is(p, ""));
        assert_eq!(of(r#""""#, "null"), is(t, ""));
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
        let sent = t
            .payload(line.as_bytes(), FIXED, None, &|k| k == key)
            .unwrap();
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
