//! Whatever the event: the transform never panics, and what it makes passes Pinterest's
//! published schema.

use std::collections::BTreeSet;

use pinrelay::event::{Arena, check, parse};
use pinrelay::fuzzing::{destinations, schema};
use pinrelay::transform::{Fixed, Hashing, MappingRule, Options, Transform};
use proptest::prelude::*;
use serde_json::Value;

/// Keys that some rule reads, so that arbitrary values land where they hurt.
const KEYS: &[&str] = &[
    "email",
    "phone",
    "first_name",
    "firstName",
    "address",
    "city",
    "state",
    "postalCode",
    "country",
    "price",
    "value",
    "revenue",
    "quantity",
    "products",
    "product_id",
    "sku",
    "name",
    "category",
    "brand",
    "currency",
    "meta",
    "i18n",
    "order_id",
    "cart_id",
    "query",
    "search_term",
    "title",
    "action_source",
    "partner_id",
    "url",
    "search",
    "type",
    "adTrackingEnabled",
    "a",
    "b",
    "id",
    "item_price",
    "$serde_json::private::Number",
    // Of the extended sources.
    "shipping_city",
    "shipping_state",
    "shipping_zipcode",
    "shipping_country",
    "ship_address",
    "state_name",
    "zipcode",
    "zip",
    "click_id",
    "epik",
    "repeat",
    "brand_id",
    "variant_id",
    "namespace",
    "version",
    "manufacturer",
    "model",
    "carrier",
    "wifi",
    "width",
    "height",
    "density",
];

fn json() -> impl Strategy<Value = String> {
    let quoted = |s: String| serde_json::to_string(&s).unwrap();
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        "-?(0|[1-9][0-9]{0,14})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?",
        "\" ?[+-]?[0-9]{0,3}(\\.[0-9]{0,8})?(e[0-9])?\"",
        prop::sample::select(vec![
            "eur",
            "web",
            "android",
            "1.2.3.4",
            "::",
            "?epik=a&epik=%20"
        ])
        .prop_map(|s| format!("\"{s}\"")),
        any::<String>().prop_map(quoted),
    ];
    leaf.prop_recursive(4, 48, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|v| format!("[{}]", v.join(","))),
            object(inner),
        ]
    })
}

fn object(inner: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec((prop::sample::select(KEYS), inner), 0..12).prop_map(|members| {
        let members: Vec<_> = members
            .iter()
            .map(|(k, v)| format!("\"{k}\":{v}"))
            .collect();
        format!("{{{}}}", members.join(","))
    })
}

/// A line that the socket takes, with a match key most of the time.
fn line() -> impl Strategy<Value = String> {
    let product_list =
        prop::collection::vec(object(json()), 0..4).prop_map(|v| format!("[{}]", v.join(",")));
    let parts = (
        prop::sample::select(vec!["page", "screen", "track"]),
        prop::sample::select(vec!["Order Completed", "Other", " products SEARCHED "]),
        object(json()),
        product_list,
        (json(), json(), json(), json(), json()),
        (object(json()), object(json()), json(), json()),
        any::<bool>(),
    );
    parts.prop_map(|(kind, event, properties, products, (user, page, traits, device, agent), (app, own_traits, os, locale), ip)| {
        let ip = if ip { r#""1.2.3.4""# } else { "null" };
        let properties = match properties.strip_suffix('}') {
            Some("{") => format!(r#"{{"products":{products}}}"#),
            Some(rest) => format!(r#"{rest},"products":{products}}}"#),
            None => properties,
        };
        format!(
            r#"{{"type":"{kind}","event":"{event}","messageId":"m","userId":{user},"properties":{properties},
               "traits":{own_traits},
               "context":{{"ip":{ip},"page":{page},"traits":{traits},"device":{device},"userAgent":{agent},
               "app":{app},"network":{app},"screen":{app},"os":{os},"locale":{locale},"timezone":{locale}}}}}"#
        )
    })
}

const fn fixed(at: i64) -> Fixed {
    Fixed {
        accepted_at: at,
        event_time: at,
    }
}

/// What the config says beside its mappings.
fn settings() -> impl Strategy<Value = Options> {
    let ids = prop::sample::select(vec![
        vec!["product_id", "sku"],
        vec!["variant_id", "product_id"],
        vec!["id"],
    ]);
    let parts = (any::<bool>(), any::<bool>(), any::<bool>(), ids);
    parts.prop_map(|(hashed, extended, codes, ids)| Options {
        hashing: if hashed {
            Hashing::Sha256
        } else {
            Hashing::Raw
        },
        extended,
        codes,
        content_ids: ids.into_iter().map(str::to_owned).collect(),
        ..Options::default()
    })
}

/// Every destination that has a type, each fed by values of any kind, and one custom key.
fn mapped(settings: Options) -> Transform {
    let sources = [
        "a",
        "b",
        "products",
        "products.0",
        "value",
        "address.city",
        "products.*.id",
        "a.*",
    ];
    let destinations = destinations::typed().chain(["properties.custom".to_owned()]);
    let rule = |(i, destination): (usize, String)| MappingRule {
        source: format!("properties.{}", sources[i % sources.len()]),
        destination,
    };
    Transform::new(Options {
        mappings: destinations.enumerate().map(rule).collect(),
        ..settings
    })
    .unwrap()
}

/// Takes a dot path out; null if it is not there.
fn take(value: &mut Value, path: &str) -> Value {
    let (outer, key) = match path.rsplit_once('.') {
        Some((outer, key)) => (format!("/{}", outer.replace('.', "/")), key),
        None => (String::new(), path),
    };
    let object = value.pointer_mut(&outer).and_then(Value::as_object_mut);
    object
        .and_then(|members| members.remove(key))
        .unwrap_or_default()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_goes_out_passes_the_schema(line in line(), settings in settings(), time in 978_307_200i64..=4_133_980_799) {
        prop_assert!(check(line.as_bytes()).is_ok(), "{}", line);
        let t = mapped(settings);
        let plain = t.payload(line.as_bytes(), fixed(time), None, &|_| true);
        let full = t.payload(line.as_bytes(), fixed(time), None, &|_| false);
        prop_assert_eq!(plain.is_ok(), full.is_ok());
        let (Ok(plain), Ok(full)) = (plain, full) else { return Ok(()) };

        // A custom property may hold serde_json's own word for a number as a key; serde_json's
        // `Value`, which only this test reads the output with, takes that for a number.
        prop_assume!(!String::from_utf8_lossy(&full.json).contains("$serde_json::private::Number"));
        let mut event: Value = serde_json::from_slice(&full.json).unwrap();
        if let Some(data) = event.get_mut("custom_data").and_then(Value::as_object_mut) {
            for key in &full.custom_keys {
                prop_assert!(data.remove(&**key).is_some(), "told and not there");
            }
            if data.is_empty() {
                event.as_object_mut().unwrap().remove("custom_data");
            }
        }
        prop_assert_eq!(schema::check(&event), Ok(()));
        // Leaving the custom keys out changes nothing else.
        prop_assert!(plain.custom_keys.is_empty());
        prop_assert_eq!(serde_json::from_slice::<Value>(&plain.json).unwrap(), event.clone());
        prop_assert_eq!(event["event_time"].to_string(), time.to_string());
        // The same line gives the same bytes: a resend is what was sent.
        prop_assert_eq!(t.payload(line.as_bytes(), fixed(time), None, &|_| false).ok(), Some(full));
    }

    #[test]
    fn an_explanation_tells_every_field_and_names_a_source_for_each(line in line(), settings in settings(), is_mapped in any::<bool>()) {
        // serde_json's own word for a number would make `Value` read an object as one.
        let line = line.replace("$serde_json::private::Number", "token");
        let hashed = settings.hashing == Hashing::Sha256;
        let t = match is_mapped {
            true => mapped(settings),
            false => Transform::new(settings).unwrap(),
        };
        let told = t.explain(line.as_bytes(), fixed(1_700_000_000)).unwrap();
        let payload = t.payload(line.as_bytes(), fixed(1_700_000_000), None, &|_| false);
        prop_assert_eq!(told.dead.is_some(), payload.is_err());
        let Ok(payload) = payload else { return Ok(()) };
        let mut left: Value = serde_json::from_slice(&payload.json).unwrap();
        for field in &told.fields {
            let sent = take(&mut left, &field.field);
            prop_assert_eq!(&sent, &field.value, "{}", &field.field);
            let named = field.source.is_some() || field.mapping.is_some();
            // What is named and not sent was emptied by hashing, or says nothing to send.
            let quiet = field.field == "opt_out";
            let dropped = (hashed || quiet) && sent.is_null() && named;
            let ended = field.ended_by.is_some();
            prop_assert!(named != sent.is_null() || dropped || ended, "{:?}", field);
            if ended && field.field != "event_time" {
                prop_assert!(sent.is_null(), "{:?}", field);
            }
            prop_assert_eq!(field.omitted.is_some(), sent.is_null(), "{:?}", field);
        }
        for block in ["user_data", "custom_data"] {
            if left[block] == serde_json::json!({}) {
                take(&mut left, block);
            }
        }
        prop_assert_eq!(left, serde_json::json!({}), "fields that were not told");
        prop_assert_eq!(&told.notes, &payload.notes);
        for field in &told.fields {
            let bare = field.field.rsplit('.').next().unwrap();
            // Made of several sources.
            let products = ["content_ids", "contents", "app_info", "device_info"].contains(&bare);
            // What was tried and is unreadable is noted, with its path; and what is noted of a
            // source was tried.
            if field.mapping.is_none() && !products {
                for tried in &field.tried {
                    let Some(word) = tried.word else { continue };
                    let is_it = |path: &str| path == tried.source
                        || path.strip_prefix(&*tried.source).is_some_and(|rest| rest.starts_with('.'));
                    let noted = field.notes.iter().any(|n| n.word == word && is_it(&n.path.to_string()));
                    prop_assert!(noted, "{:?}", field);
                }
            }
            for note in field.notes.iter().filter(|_| !is_mapped) {
                let tried = field.tried.iter().any(|tried| tried.source == note.path.to_string());
                let won = field.source.as_ref().is_some_and(|won| note.path.to_string().starts_with(won.as_str()));
                let within = note.path.to_string().starts_with("properties.products")
                    || note.path.to_string().rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
                    || products;
                prop_assert!(tried || won || within, "{:?}", field);
            }
        }
        // What was tried in vain can go without changing anything, unless it ended the chain.
        if !is_mapped {
            for field in told.fields.iter().filter(|field| field.ended_by.is_none()) {
                let mut without: Value = serde_json::from_str(&line).unwrap();
                for tried in &field.tried {
                    take(&mut without, &tried.source);
                }
                let again = t.explain(without.to_string().as_bytes(), fixed(1_700_000_000)).unwrap();
                let same = again.fields.iter().find(|other| other.field == field.field);
                prop_assert_eq!(same.map(|f| &f.value), Some(&field.value), "{}", &field.field);
            }
        }
    }

    #[test]
    fn anything_at_all_is_answered_without_a_panic(json in json(), bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let t = mapped(Options { hashing: Hashing::Sha256, extended: true, codes: true, ..Options::default() });
        for body in [json.as_bytes(), &bytes] {
            let _ = t.payload(body, fixed(0), None, &|_| false);
        }
        // A tree written out is read back the same, repeated keys aside.
        let arena = Arena::default();
        let tree = parse(&arena, json.as_bytes()).unwrap();
        let written = serde_json::to_vec(&tree).unwrap();
        let again = serde_json::to_vec(&parse(&Arena::default(), &written).unwrap()).unwrap();
        prop_assert_eq!(written, again);
    }

    #[test]
    fn keys_are_told_in_order_and_once(keys in prop::collection::vec("[a-e]{1,2}", 1..8)) {
        let mappings = keys.iter().map(|k| MappingRule {
            source: "messageId".to_owned(),
            destination: format!("properties.{k}"),
        });
        let t = Transform::new(Options { mappings: mappings.collect(), ..Options::default() }).unwrap();
        let line = br#"{"messageId":"m","type":"page","properties":{"email":"e@x"}}"#;
        let told: Vec<String> = t.payload(line, fixed(1), None, &|_| false).unwrap()
            .custom_keys.iter().map(|k| k.to_string()).collect();
        let set: BTreeSet<String> = keys.into_iter().collect();
        prop_assert_eq!(told, set.into_iter().collect::<Vec<_>>());
    }
}
