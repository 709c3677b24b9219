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
