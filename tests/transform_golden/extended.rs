//! What is off by default: further sources, codes, the catalogue's ids, mappings into user_data.

use super::*;

/// An order as Chord's servers send it, with the shipping address in the order itself.
const ORDER: &str = r#"{"type":"track","event":"Order Completed","messageId":"order-1","userId":"u-7","timestamp":"2026-01-31T10:00:00Z","properties":{"affiliation":"Shop","checkout_id":"c-1","currency":"USD","email":"ada@mail.example","order_id":"o-1","phone":"+1 503 555 0100","products":[{"brand":"Kiln","brand_id":"b-9","category":"Kitchen","name":"Stoneware mug","price":21.25,"product_id":"prod-1","quantity":2,"sku":"MUG-BLUE","variant_id":"var-7"}],"repeat":true,"revenue":42.5,"shipping_city":"Portland","shipping_country":"United States","shipping_state":"Oregon","shipping_zipcode":"97201","total":49.9},"context":{"ip":"203.0.113.7","userAgent":"Mozilla/5.0 (iPhone)","locale":"en-US"}}"#;

/// What went out for it before there was anything of this.
const BEFORE: &str = r#"{"event_name":"checkout","action_source":"web","event_time":1700000000,"event_id":"order-1","user_data":{"em":["ada@mail.example"],"ph":["+1 503 555 0100"],"external_id":["u-7"],"client_ip_address":"203.0.113.7","client_user_agent":"Mozilla/5.0 (iPhone)"},"custom_data":{"value":"42.5","currency":"USD","order_id":"o-1","content_ids":["prod-1"],"contents":[{"id":"prod-1","item_price":"21.25","quantity":2,"item_name":"Stoneware mug","item_category":"Kitchen","item_brand":"Kiln"}],"num_items":2}}"#;

fn extended() -> Options {
    Options {
        extended: true,
        ..Options::default()
    }
}

fn sent(options: Options, line: &str) -> Value {
    value(std::str::from_utf8(&payload(&transform(options), line).json).unwrap())
}

#[test]
fn by_default_an_order_goes_out_byte_for_byte_as_before() {
    let made = payload(&transform(Options::default()), ORDER);
    assert_eq!(std::str::from_utf8(&made.json).unwrap(), BEFORE);
}

#[test]
fn an_order_with_all_of_it() {
    let options = Options {
        codes: true,
        content_ids: vec!["variant_id".into(), "product_id".into()],
        ..extended()
    };
    let mut expected = value(BEFORE);
    expected["language"] = "en".into();
    for (field, text) in [
        ("ct", "Portland"),
        ("st", "or"),
        ("zp", "97201"),
        ("country", "us"),
    ] {
        expected["user_data"][field] = Value::from(vec![text]);
    }
    expected["user_data"]["customer_type"] = "returning".into();
    expected["custom_data"]["content_ids"] = Value::from(vec!["var-7"]);
    expected["custom_data"]["contents"][0]["id"] = "var-7".into();
    expected["custom_data"]["contents"][0]["item_brand_id"] = "b-9".into();
    assert_eq!(sent(options, ORDER), expected);
    // Without codes the places stay as they are written.
    let person = sent(extended(), ORDER)["user_data"].clone();
    assert_eq!(person["st"], value(r#"["Oregon"]"#));
    assert_eq!(person["country"], value(r#"["United States"]"#));
}

#[test]
fn codes_are_hashed_as_codes_and_what_has_none_is_told() {
    let hashed = Options {
        codes: true,
        hashing: Hashing::Sha256,
        ..extended()
    };
    let of = |text: &str| {
        use sha2::{Digest, Sha256};
        let hex = Sha256::digest(text)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect::<String>();
        Value::from(vec![hex])
    };
    let person = sent(hashed, ORDER)["user_data"].clone();
    assert_eq!((&person["st"], &person["country"]), (&of("or"), &of("us")));
    let coded = || Options {
        codes: true,
        ..Options::default()
    };
    let told = |address: &str| {
        let context =
            format!(r#""context":{{"ip":"203.0.113.7","traits":{{"address":{address}}}}}"#);
        notes_with(coded(), &format!(r#""type":"page",{context}"#))
    };
    assert_eq!(
        told(r#"{"state":"Atlantis","country":"Oz"}"#),
        ["country context.traits.address.country no_code"]
    );
    assert_eq!(told(r#"{"state":"Bayern","country":"Germany"}"#), [""; 0]);
    assert_eq!(
        told(r#"{"state":"Bayern"}"#),
        ["st context.traits.address.state no_code"]
    );
}

#[test]
fn an_app_tells_of_itself() {
    let line = r#"{"type":"track","event":"Product Viewed","messageId":"m","properties":{"action_source":"app_ios","sku":"s"},"context":{"ip":"203.0.113.7","app":{"namespace":"com.shop"},"os":{"name":"iOS"}}}"#;
    let told = sent(extended(), line);
    assert_eq!(told["app_id"], "com.shop");
    assert_eq!(
        told["app_info"],
        value(r#"{"app_id":"com.shop","app_package_name":"com.shop"}"#)
    );
    assert_eq!(
        told["device_info"],
        value(r#"{"os_family":"ios","os_name":"iOS"}"#)
    );
    let web = sent(extended(), &line.replace("app_ios", "web"));
    assert!(web["app_info"].is_null() && web["device_info"].is_null());
    let plain = sent(Options::default(), line);
    assert!(plain["app_id"].is_null() && plain["app_info"].is_null());
}

#[test]
fn mappings_fill_user_data_before_every_other_source() {
    let mapped = |field: &str, source: &str, properties: &str| {
        let options = Options {
            mappings: vec![MappingRule {
                source: source.to_owned(),
                destination: format!("user_data.{field}"),
            }],
            ..Options::default()
        };
        let line = format!(
            r#"{{"type":"track","event":"E","messageId":"m","userId":"u","properties":{properties},"context":{{"ip":"203.0.113.7"}}}}"#
        );
        sent(options, &line)["user_data"][field].to_string()
    };
    for (field, json, expected) in [
        ("em", r#""b@c.example""#, r#"["b@c.example"]"#),
        ("em", r#""nobody""#, r#"["a@b.example"]"#),
        ("external_id", "7", r#"["7"]"#),
        ("external_id", r#""0""#, r#"["u"]"#),
        ("click_id", r#""dj0""#, r#""dj0""#),
        ("partner_id", r#""N/A""#, "null"),
        ("db", r#""19900131""#, r#"["19900131"]"#),
        ("db", "19900131", r#"["19900131"]"#),
        ("db", r#""1990-01-31""#, "null"),
        ("db", r#""19900231""#, "null"),
        ("ge", r#""F""#, r#"["f"]"#),
        ("ge", r#""female""#, "null"),
        ("customer_type", "false", r#""new""#),
        ("customer_type", r#""Returning""#, r#""returning""#),
        ("customer_type", r#""yes""#, "null"),
    ] {
        let properties = format!(r#"{{"email":"a@b.example","x":{json}}}"#);
        assert_eq!(
            mapped(field, "properties.x", &properties),
            expected,
            "{field} {json}"
        );
    }
    let none = "00000000-0000-0000-0000-000000000000";
    let zeros = format!(r#"{{"ids":["{none}"]}}"#);
    assert_eq!(mapped("hashed_maids", "properties.ids", &zeros), "null");
    // Hashed always, and a match key of its own.
    let maid = "38400000-8cf0-11bd-b23e-10b96e40000d";
    let hash = "[\"\"]".len() + 64;
    let upper = format!(r#"{{"ids":["{}"]}}"#, maid.to_uppercase());
    let lower = format!(r#"{{"ids":["{maid}"]}}"#);
    let hashed = mapped("hashed_maids", "properties.ids", &upper);
    assert_eq!(hashed, mapped("hashed_maids", "properties.ids", &lower));
    assert_eq!(hashed.len(), hash);
}

#[test]
fn a_device_id_alone_is_a_match_key() {
    let options = Options {
        mappings: vec![MappingRule {
            source: "context.device.advertisingId".to_owned(),
            destination: "user_data.hashed_maids".to_owned(),
        }],
        default_user_agent: String::new(),
        ..Options::default()
    };
    let line = r#"{"type":"screen","messageId":"m","context":{"device":{"advertisingId":"a-1"}}}"#;
    assert!(unsendable(options.clone(), line).is_none());
    assert!(unsendable(options, &line.replace("a-1", "")).is_some());
}

#[test]
fn a_star_is_each_entry_of_a_list() {
    let rule = |source: &str, destination: &str| Options {
        mappings: vec![MappingRule {
            source: source.to_owned(),
            destination: destination.to_owned(),
        }],
        ..Options::default()
    };
    let ids = |source: &str, products: &str| {
        let options = rule(source, "properties.content_ids");
        let line = format!(
            r#"{{"type":"track","event":"E","messageId":"m","properties":{{"products":{products}}},"context":{{"ip":"203.0.113.7"}}}}"#
        );
        sent(options, &line)["custom_data"]["content_ids"].to_string()
    };
    let products = r#"[{"sku":"s1","variant_id":"v1"},{"sku":"s2"},7,{"variant_id":3}]"#;
    assert_eq!(
        ids("properties.products.*.variant_id", products),
        r#"["v1","3"]"#
    );
    assert_eq!(
        ids("properties.products.*.nothing", products),
        r#"["s1","s2"]"#
    );
    // An object that stands for a list, as the products themselves may.
    let object = r#"{"a":{"variant_id":"v1"},"b":{"variant_id":"v2"}}"#;
    assert_eq!(
        ids("properties.products.*.variant_id", object),
        r#"["v1","v2"]"#
    );
    for source in ["*", "*.a", "properties.*.a.*", "properties.products.*.*"] {
        let error = Transform::new(rule(source, "properties.content_ids")).err();
        assert!(
            matches!(error, Some(OptionsError::Each { .. })),
            "{source}: {error:?}"
        );
    }
}

#[test]
fn what_can_match_nothing_is_warned_of() {
    let warned = |source: &str, destination: &str| {
        let transform = transform(Options {
            mappings: vec![MappingRule {
                source: source.to_owned(),
                destination: destination.to_owned(),
            }],
            ..Options::default()
        });
        transform.warnings()
    };
    assert_eq!(
        warned("properties.products.*.id", "properties.content_ids"),
        [""; 0]
    );
    let star = warned("properties.products.*.id", "properties.order_id");
    assert!(star[0].contains("takes one value"), "{star:?}");
    let head = warned("propertis.tier", "properties.tier");
    assert!(head[0].contains("\"propertis\""), "{head:?}");
}

#[test]
fn keys_of_a_product_have_to_be_keys() {
    for keys in [&[][..], &[""], &["a.b"], &["sku", "sku"], &[" sku"]] {
        let options = Options {
            content_ids: keys.iter().map(|key| (*key).to_owned()).collect(),
            ..Options::default()
        };
        let error = Transform::new(options).err();
        assert!(
            matches!(error, Some(OptionsError::ContentId { .. })),
            "{keys:?}: {error:?}"
        );
    }
}

#[test]
fn the_fields_of_user_data_that_a_mapping_fills() {
    let error = Transform::new(Options {
        mappings: vec![MappingRule {
            source: "properties.x".to_owned(),
            destination: "user_data.client_ip_address".to_owned(),
        }],
        ..Options::default()
    });
    let said = error.err().unwrap().to_string();
    assert!(
        said.contains("mappings[1]") && said.contains("hashed_maids"),
        "{said}"
    );
}

#[test]
fn a_refused_sale_of_data_goes_with_its_limits() {
    let limited = |states: &[&str], requires_sale, consent: &str, state: &str| {
        let options = Options {
            limited_states: states.iter().map(|state| (*state).to_owned()).collect(),
            requires_sale,
            ..Options::default()
        };
        let line = format!(
            r#"{{"type":"page","messageId":"m","properties":{{"address":{{"state":"{state}"}}}},"context":{{"ip":"203.0.113.7","consent":{consent}}}}}"#
        );
        sent(options, &line)["custom_data"]["opt_out_type"] == "LDP"
    };
    let says = |value: &str| format!(r#"{{"categoryPreferences":{{"Sale_Of_Data":{value}}}}}"#);
    for (value, is_limited) in [
        ("false", true),
        (r#""false""#, true),
        ("0", true),
        ("null", true),
        ("true", false),
    ] {
        assert_eq!(
            limited(&["CA"], false, &says(value), "California"),
            is_limited,
            "{value}"
        );
    }
    assert!(limited(
        &["ca"],
        false,
        r#"{"categoryPreferences":"none"}"#,
        "CA"
    ));
    for (consent, state) in [
        (says("false"), "Oregon"),
        (says("false"), ""),
        ("{}".into(), "CA"),
    ] {
        assert!(
            !limited(&["CA"], false, &consent, state),
            "{consent} {state}"
        );
    }
    // Required, it came in for its limits alone: whatever became of the states since.
    assert!(limited(&[], true, &says("false"), "Oregon"));
    assert!(!limited(&[], true, &says("true"), "Oregon"));
    for states in [&["California"][..], &[""], &["QC"]] {
        let error = Transform::new(Options {
            limited_states: states.iter().map(|state| (*state).to_owned()).collect(),
            ..Options::default()
        });
        assert!(
            matches!(error.err(), Some(OptionsError::LimitedState { number: 1 })),
            "{states:?}"
        );
    }
}
