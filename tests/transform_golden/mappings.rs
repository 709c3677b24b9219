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
