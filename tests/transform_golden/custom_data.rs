//! custom_data as computed.

use super::*;

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
    for missing in ["null", r#""""#, r#"" ""#, "[]", "{}"] {
        assert_eq!(
            of(&format!(r#""value":{missing},"price":"2.50""#)),
            "2.5",
            "{missing}"
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
        of(r#""products":[{"quantity":2},{"price":"4"},null,{"price":" ","quantity":"x"}]"#),
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

/// For money nothing stands in for what is there: half an order is not its value.
#[test]
fn what_cannot_be_read_ends_the_value() {
    let of = |properties: &str| {
        let notes = track_notes(properties).into_iter();
        let of_value: Vec<_> = notes.filter(|note| note.starts_with("value ")).collect();
        (field("value", properties), of_value.join(", "))
    };
    let none = |note: &str| (Value::Null, note.to_owned());
    for (there, word) in [
        (r#""$12""#, "unreadable"),
        (r#""1,299""#, "unreadable"),
        (r#""EUR 120""#, "unreadable"),
        (r#""null""#, "unreadable"),
        ("-1", "negative"),
        (r#""-0.01""#, "negative"),
        ("true", "unreadable"),
        ("[1]", "unreadable"),
        (r#"{"amount":1}"#, "unreadable"),
        ("1e12", "unreadable"),
        ("1e400", "unreadable"),
        (r#""NaN""#, "unreadable"),
    ] {
        for key in ["value", "price", "revenue"] {
            let properties = format!(r#""{key}":{there},"products":[{{"price":4}}]"#);
            assert_eq!(
                of(&properties),
                none(&format!("value properties.{key} {word}"))
            );
        }
    }
    assert_eq!(
        of(r#""value":"EUR 120","price":12"#),
        none("value properties.value unreadable")
    );
    // The same within the sum, at the first that cannot be read.
    for (products, note) in [
        (
            r#"[{"price":"80,00"},{"price":10}]"#,
            "value properties.products.0.price unreadable",
        ),
        (
            r#"[{"price":1},{"price":1,"quantity":"x"},{"price":"x"}]"#,
            "value properties.products.1.quantity unreadable",
        ),
        (
            r#"{"a":{"price":"x"}}"#,
            "value properties.products.*.price unreadable",
        ),
        (r#"[{"price":1},"p",{"price":"x"}]"#, ""),
        (r#""p""#, ""),
    ] {
        assert_eq!(
            of(&format!(r#""products":{products}"#)),
            none(note),
            "{products}"
        );
    }
    // What is behind the one that won is not looked at.
    assert_eq!(of(r#""value":5,"price":"x""#), ("5".into(), String::new()));
}

/// A discount and a returned item are lines as well.
#[test]
fn the_sum_has_signs() {
    let of = |products: &str| {
        let properties = format!(r#""products":{products}"#);
        let notes = track_notes(&properties).into_iter();
        let of_value: Vec<_> = notes.filter(|note| note.starts_with("value ")).collect();
        (field("value", &properties), of_value.join(", "))
    };
    let sum = |text: &str| (Value::from(text), String::new());
    assert_eq!(
        of(r#"[{"price":50,"quantity":1},{"price":20,"quantity":-1}]"#),
        sum("30")
    );
    assert_eq!(of(r#"[{"price":50},{"price":-5.5}]"#), sum("44.5"));
    assert_eq!(of(r#"[{"price":-5,"quantity":-2}]"#), sum("10"));
    assert_eq!(of(r#"[{"price":5},{"price":-5}]"#), sum("0"));
    let negative = "value properties.products negative".to_owned();
    assert_eq!(
        of(r#"[{"price":5,"quantity":-1}]"#),
        (Value::Null, negative)
    );
    let partial = "value properties.products partial".to_owned();
    assert_eq!(of(r#"[{"price":5},{"quantity":2}]"#), ("5".into(), partial));
    assert_eq!(of(r#"[{"quantity":2}]"#), (Value::Null, String::new()));
    let huge = "value properties.products unreadable".to_owned();
    assert_eq!(
        of(r#"[{"price":999999999999,"quantity":2}]"#),
        (Value::Null, huge)
    );
}

#[test]
fn currencies() {
    let of = |properties: &str| field("currency", properties);
    let meta = r#""meta":{"i18n":{"currency":" gbp"}}"#;
    assert_eq!(of(&format!(r#""currency":" eur ",{meta}"#)), "EUR");
    assert_eq!(of(meta), "GBP");
    for missing in ["null", r#"" ""#, "[]", "{}"] {
        assert_eq!(
            of(&format!(r#""currency":{missing},{meta}"#)),
            "GBP",
            "{missing}"
        );
        assert_eq!(of(&format!(r#""currency":{missing}"#)), "USD", "{missing}");
    }
    let options = Options {
        default_currency: "chf".to_owned(),
        ..Options::default()
    };
    assert_eq!(custom_with(options, TRACK, "{}"), r#"{"currency":"CHF"}"#);
}

/// Yen must not become dollars.
#[test]
fn currency_that_cannot_be_read() {
    let meta = r#""meta":{"i18n":{"currency":" gbp"}}"#;
    for there in [
        r#""EU""#,
        r#""EURO""#,
        r#""¥""#,
        r#""€€€""#,
        r#""E R""#,
        r#""ÄÖÜ""#,
        r#""12X""#,
        r#""none""#,
        "978",
        r#"["EUR"]"#,
    ] {
        let properties = format!(r#""value":5,"currency":{there},{meta}"#);
        assert_eq!(track(&properties), r#"{"value":"5"}"#, "{there}");
        assert_eq!(
            track_notes(&properties),
            ["currency properties.currency unreadable"]
        );
    }
    let properties = r#""meta":{"i18n":{"currency":"dollars"}}"#;
    assert_eq!(track(properties), "");
    assert_eq!(
        track_notes(properties),
        ["currency properties.meta.i18n.currency unreadable"]
    );
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
        r#"{"0":{"product_id":"p"},"1":null}"#,
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

/// How PHP writes a list with a gap.
#[test]
fn items_from_an_object() {
    let gap =
        r#""products":{"0":{"product_id":"a","price":3},"2":{"sku":"b","price":4,"quantity":2}}"#;
    assert_eq!(
        track(gap),
        r#"{"value":"11","currency":"USD","content_ids":["a","b"],"contents":[{"id":"a","item_price":"3"},{"id":"b","item_price":"4","quantity":2}],"num_items":2}"#
    );
    assert_eq!(track_notes(gap), ["items properties.products list"]);
    // Of a repeated key the last one counts.
    let twice = r#""products":{"a":7,"a":{"sku":"s"}}"#;
    assert_eq!(field("content_ids", twice), value(r#"["s"]"#));
    for (products, notes) in [
        (
            r#"{"0":{"sku":"a"},"1":5}"#,
            vec!["items properties.products unreadable"],
        ),
        (r#""p""#, vec!["items properties.products unreadable"]),
        (
            r#"["p",null]"#,
            vec!["items properties.products unreadable"],
        ),
        (
            r#"[{"sku":"a"},"p",null,""]"#,
            vec!["items properties.products.1 unreadable"],
        ),
        ("[]", vec![]),
        ("{}", vec![]),
    ] {
        assert_eq!(
            track_notes(&format!(r#""products":{products}"#)),
            notes,
            "{products}"
        );
    }
    // The event's own product, whose ids are there and no ids.
    assert_eq!(
        track_notes(r#""product_id":"null","sku":true"#),
        [
            "items properties.product_id placeholder",
            "items properties.sku unreadable"
        ]
    );
    assert_eq!(
        track_notes(r#""product_id":"null","sku":"s""#),
        ["contents properties.product_id placeholder"]
    );
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
