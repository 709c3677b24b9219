//! The settings that are off by default against a second reading of what they say, over random
//! events: written from the description alone, slowly and plainly, on `serde_json` values. What goes
//! out and what is noted (field and word) has to agree.
//!
//! `PINRELAY_ORACLE_EVENTS` sets how many events are drawn; 4000 without it.

use std::collections::BTreeSet;

use pinrelay::transform::{Fixed, MappingRule, Options, Transform};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

const HASH: &str = "AbCdEf0123456789AbCdEf0123456789AbCdEf0123456789AbCdEf0123456789";

type Told = BTreeSet<(String, &'static str)>;
/// Nothing, something, or the word for why it cannot be read.
type Read<T> = Result<Option<T>, &'static str>;
type Reader = fn(&Value) -> Read<String>;

/// Values of every kind that a shop may put anywhere, and those that mean something there.
fn draw(rng: &mut StdRng, own: &[Value]) -> Option<Value> {
    let odd = [
        json!(null),
        json!(""),
        json!(" \t"),
        json!([]),
        json!({}),
        json!("null"),
        json!("N/A"),
        json!(7),
        json!(true),
        json!({"a": 1}),
        json!([null, "undefined", 7]),
        json!(HASH),
    ];
    match rng.random_range(0..10) {
        0..3 => None,
        3..8 => own.choose(rng).cloned(),
        8 => odd.choose(rng).cloned(),
        _ => {
            let many = (0..rng.random_range(1..4)).filter_map(|_| own.choose(rng).cloned());
            Some(Value::from(many.collect::<Vec<_>>()))
        }
    }
}

fn set(event: &mut Value, path: &str, value: Option<Value>) {
    let Some(value) = value else { return };
    let mut at = event;
    for key in path.split('.') {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[key];
    }
    *at = value;
}

fn event(rng: &mut StdRng) -> Value {
    let kind = *["track", "track", "page", "screen"].choose(rng).unwrap();
    let mut event = json!({"type": kind, "messageId": "m", "event": "Order Completed"});
    let texts = |values: &[&str]| values.iter().map(|v| json!(v)).collect::<Vec<_>>();
    let states = texts(&[
        "California",
        "CA",
        "us-ny",
        "Ontario",
        "New South Wales",
        "Bayern",
        "WA",
    ]);
    let countries = texts(&[
        "United States",
        "usa",
        "US",
        "Canada",
        "Australia",
        "Germany",
        "Atlantis",
    ]);
    let places = texts(&["Portland", " São Paulo ", "東京"]);
    let zips = texts(&["97201", "SW1A 1AA"]);
    let emails = texts(&["a@b.example", "no address", "@", " C@D.example"]);
    let names = texts(&["Ada", "Null"]);
    let phones = texts(&["+1 503", "call me"]);
    let urls = texts(&[
        "https://s.example/?epik=dj0",
        "https://s.example/",
        "/?a=1&epik=%20&epik=x",
    ]);
    let words = texts(&["com.shop", "3.1", "x"]);
    let flags = [
        json!(true),
        json!(false),
        json!("returning"),
        json!("NEW"),
        json!("yes"),
    ];
    for (path, own) in [
        ("context.ip", texts(&["203.0.113.7"])),
        ("context.userAgent", texts(&["Mozilla/5.0 (X)"])),
        ("properties.email", emails.clone()),
        ("context.traits.email", emails.clone()),
        ("traits.email", emails),
        ("properties.phone", phones.clone()),
        ("traits.phone", phones),
        ("traits.firstName", names.clone()),
        ("traits.lastName", names),
        ("context.traits.address.city", places.clone()),
        ("properties.shipping_city", places.clone()),
        ("properties.ship_address.city", places),
        ("properties.address.state", states.clone()),
        ("properties.shipping_state", states.clone()),
        ("properties.address.state_name", states.clone()),
        ("properties.ship_address.state_name", states),
        ("properties.shipping_zipcode", zips.clone()),
        ("properties.address.zipcode", zips.clone()),
        ("properties.address.zip", zips.clone()),
        ("properties.ship_address.zipcode", zips),
        ("properties.address.country", countries.clone()),
        ("properties.shipping_country", countries.clone()),
        ("properties.ship_address.country", countries),
        ("properties.click_id", words.clone()),
        ("properties.epik", words.clone()),
        ("context.page.url", urls.clone()),
        ("properties.url", urls),
        ("properties.repeat", flags.to_vec()),
        ("context.locale", texts(&["en-US", "de", "pt_BR", "?"])),
        ("context.app.namespace", words.clone()),
        ("context.device.model", words.clone()),
        ("context.os.version", words.clone()),
        (
            "context.network.wifi",
            vec![json!(true), json!(false), json!("yes")],
        ),
        (
            "properties.loyal",
            texts(&["f", "M", "19900131", "19901332", "x"]),
        ),
        ("userId", words),
    ] {
        if rng.random_bool(0.5) {
            let value = draw(rng, &own);
            set(&mut event, path, value);
        }
    }
    if rng.random_bool(0.7) {
        let product = |rng: &mut StdRng| {
            let mut product = json!({});
            let ids = [json!("p-1"), json!(12), json!(" v ")];
            for key in ["product_id", "sku", "variant_id"] {
                set(&mut product, key, draw(rng, &ids));
            }
            let brands = [json!("b"), json!("b".repeat(65)), json!("é".repeat(64))];
            set(&mut product, "brand_id", draw(rng, &brands));
            product
        };
        let count = rng.random_range(1..4);
        let products: Vec<_> = (0..count).map(|_| product(rng)).collect();
        set(&mut event, "properties.products", Some(products.into()));
    } else {
        set(
            &mut event,
            "properties.variant_id",
            draw(rng, &[json!("own")]),
        );
        set(&mut event, "properties.sku", draw(rng, &[json!("own-sku")]));
    }
    event
}

/// What is set, as somebody reads a config.
#[derive(Clone, Debug)]
struct Settings {
    extended: bool,
    codes: bool,
    ids: Vec<&'static str>,
    mappings: Vec<(&'static str, &'static str)>,
}

fn settings(rng: &mut StdRng) -> Settings {
    let ids = [
        vec!["product_id", "sku"],
        vec!["variant_id", "product_id"],
        vec!["sku"],
    ];
    let mappings = [
        ("properties.products.*.variant_id", "properties.content_ids"),
        ("properties.loyal", "user_data.ge"),
        ("properties.loyal", "user_data.db"),
        ("properties.loyal", "user_data.em"),
        ("properties.shipping_state", "user_data.st"),
        ("properties.products.*.sku", "user_data.hashed_maids"),
        ("properties.click_id", "user_data.external_id"),
        ("properties.epik", "user_data.click_id"),
        ("properties.repeat", "user_data.customer_type"),
        ("context.app.namespace", "user_data.partner_id"),
    ];
    let chosen = mappings
        .into_iter()
        .filter(|_| rng.random_bool(0.2))
        .collect();
    Settings {
        extended: rng.random(),
        codes: rng.random(),
        ids: ids.choose(rng).unwrap().clone(),
        mappings: chosen,
    }
}

fn at<'v>(event: &'v Value, path: &str) -> &'v Value {
    path.split('.')
        .fold(event, |value, key| value.get(key).unwrap_or(&Value::Null))
}

fn is_missing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

fn text(value: &Value) -> Read<String> {
    match value {
        _ if is_missing(value) => Ok(None),
        Value::String(text) => Ok(Some(text.trim().to_owned())),
        Value::Number(number) => Ok(Some(number.to_string())),
        _ => Err("unreadable"),
    }
}

fn is_slip(text: &str) -> bool {
    let slips = ["null", "undefined", "none", "nan", "n/a", "[object object]"];
    slips.contains(&text.to_lowercase().as_str())
}

fn id(value: &Value) -> Read<String> {
    match text(value)? {
        Some(text) if is_slip(&text) => Err("placeholder"),
        text => Ok(text),
    }
}

fn email(text: String) -> Result<String, &'static str> {
    let around = text.split_once('@');
    let good = around.is_some_and(|(before, after)| !before.is_empty() && !after.is_empty());
    match () {
        () if is_slip(&text) => Err("placeholder"),
        () if good || text.len() == 64 => Ok(text),
        () => Err("unreadable"),
    }
}

fn phone(text: String) -> Result<String, &'static str> {
    match () {
        () if is_slip(&text) => Err("placeholder"),
        () if text.contains(|c: char| c.is_ascii_digit()) => Ok(text),
        () => Err("unreadable"),
    }
}

fn real(text: String) -> Result<String, &'static str> {
    if is_slip(&text) {
        Err("placeholder")
    } else {
        Ok(text)
    }
}

fn day(text: String) -> Result<String, &'static str> {
    let good = ["19900131"].contains(&text.as_str()) || text.len() == 64;
    if good { Ok(text) } else { Err("unreadable") }
}

fn gender(text: String) -> Result<String, &'static str> {
    match text.to_lowercase().as_str() {
        letter @ ("f" | "m" | "n") => Ok(letter.to_owned()),
        _ if text.len() == 64 => Ok(text),
        _ => Err("unreadable"),
    }
}

fn kind_of_customer(value: &Value) -> Read<String> {
    match value {
        Value::Bool(true) => Ok(Some("returning".into())),
        Value::Bool(false) => Ok(Some("new".into())),
        Value::String(text)
            if ["returning", "new"].contains(&text.trim().to_lowercase().as_str()) =>
        {
            Ok(Some(text.trim().to_lowercase()))
        }
        value if is_missing(value) => Ok(None),
        _ => Err("unreadable"),
    }
}

fn epik(url: &Value) -> Read<String> {
    let Some((_, query)) = url.as_str().and_then(|url| url.split_once('?')) else {
        return Ok(None);
    };
    let mut values = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("epik="));
    Ok(values.find(|value| *value != "%20").map(str::to_owned))
}

fn country(text: &str) -> Option<&'static str> {
    Some(match text.to_lowercase().as_str() {
        "united states" | "usa" | "us" => "us",
        "canada" => "ca",
        "australia" => "au",
        "germany" => "de",
        _ => return None,
    })
}

/// A state's code in this country, or in any; `None`: nobody knows it.
fn state(text: &str, country: Option<&str>) -> Option<&'static str> {
    let (own, code) = match text.to_lowercase().as_str() {
        "california" | "ca" => (vec!["us"], "ca"),
        "us-ny" => (vec!["us"], "ny"),
        "ontario" => (vec!["ca"], "on"),
        "new south wales" => (vec!["au"], "nsw"),
        "wa" => (vec!["us", "au"], "wa"),
        _ => return None,
    };
    country
        .is_none_or(|country| own.contains(&country))
        .then_some(code)
}

struct Oracle<'e> {
    event: &'e Value,
    settings: &'e Settings,
    told: Told,
}

impl Oracle<'_> {
    fn take<T>(&mut self, field: &str, read: Read<T>) -> Option<T> {
        read.unwrap_or_else(|word| {
            self.told.insert((field.to_owned(), word));
            None
        })
    }

    /// What a mapping's source is: with a star a list of what is there.
    fn source(&self, path: &str) -> Value {
        let Some((list, rest)) = path.split_once(".*.") else {
            return at(self.event, path).clone();
        };
        let entries = at(self.event, list).as_array().cloned().unwrap_or_default();
        let found = entries.iter().filter_map(|entry| entry.get(rest)).cloned();
        let found: Vec<_> = found.collect();
        match found.iter().all(Value::is_null) {
            true => Value::Null,
            false => found.into(),
        }
    }

    fn list(
        &mut self,
        field: &str,
        value: &Value,
        rule: fn(String) -> Result<String, &'static str>,
    ) -> Option<Vec<String>> {
        let alone = std::slice::from_ref(value);
        let mut all = Vec::new();
        for entry in value.as_array().map_or(alone, Vec::as_slice) {
            let read = text(entry).and_then(|text| text.map(rule).transpose());
            all.extend(self.take(field, read));
        }
        (!all.is_empty()).then_some(all)
    }

    fn texts(
        &mut self,
        field: &str,
        document: &[&str],
        extended: &[&str],
        rule: fn(String) -> Result<String, &'static str>,
    ) -> Option<Vec<String>> {
        let mut found = None;
        for (source, destination) in self.settings.mappings.clone() {
            if destination == format!("user_data.{field}") {
                let value = self.source(source);
                found = self.list(field, &value, rule).or(found);
            }
        }
        let more = if self.settings.extended {
            extended
        } else {
            &[]
        };
        for path in document.iter().chain(more) {
            if found.is_none() {
                let value = at(self.event, path).clone();
                found = self.list(field, &value, rule);
            }
        }
        found
    }

    fn one(
        &mut self,
        field: &str,
        sources: &[(&str, Reader)],
        of_mapping: Reader,
    ) -> Option<String> {
        let mut found = None;
        for (source, destination) in self.settings.mappings.clone() {
            if destination == format!("user_data.{field}") {
                let value = self.source(source);
                found = self.take(field, of_mapping(&value)).or(found);
            }
        }
        for (path, read) in sources {
            if found.is_none() {
                let value = at(self.event, path).clone();
                found = self.take(field, read(&value));
            }
        }
        found
    }

    fn payload(&mut self) -> Map<String, Value> {
        let mut sent = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                sent.insert(key.to_owned(), value);
            }
        };
        let is_extended = self.settings.extended;
        let city = ["context.traits.address.city", "properties.address.city"];
        let more_city = ["properties.shipping_city", "properties.ship_address.city"];
        let em = ["properties.email", "context.traits.email"];
        put(
            "em",
            self.texts("em", &em, &["traits.email"], email)
                .map(Value::from),
        );
        let ph = ["properties.phone", "context.traits.phone"];
        put(
            "ph",
            self.texts("ph", &ph, &["traits.phone"], phone)
                .map(Value::from),
        );
        put(
            "fn",
            self.texts("fn", &[], &["traits.firstName"], Ok)
                .map(Value::from),
        );
        put(
            "ln",
            self.texts("ln", &[], &["traits.lastName"], Ok)
                .map(Value::from),
        );
        put(
            "ct",
            self.texts("ct", &city, &more_city, real).map(Value::from),
        );
        let zips = [
            "properties.shipping_zipcode",
            "properties.address.zipcode",
            "properties.address.zip",
            "properties.ship_address.zipcode",
        ];
        put("zp", self.texts("zp", &[], &zips, real).map(Value::from));
        let countries = [
            "properties.shipping_country",
            "properties.ship_address.country",
        ];
        let mut land = self.texts("country", &["properties.address.country"], &countries, real);
        let states = [
            "properties.shipping_state",
            "properties.address.state_name",
            "properties.ship_address.state_name",
        ];
        let mut st = self.texts("st", &["properties.address.state"], &states, real);
        if self.settings.codes {
            for name in land.iter_mut().flatten().filter(|name| name.len() != 64) {
                match country(name) {
                    Some(code) => code.clone_into(name),
                    None => drop(self.told.insert(("country".into(), "no_code"))),
                }
            }
            let first = land.iter().flatten().next().cloned();
            // Neither of a country that is none of these, nor of one that nobody knows.
            let elsewhere = first
                .as_deref()
                .is_some_and(|code| !["us", "ca", "au"].contains(&code));
            for name in st
                .iter_mut()
                .flatten()
                .filter(|name| name.len() != 64 && !elsewhere)
            {
                match state(name, first.as_deref()) {
                    Some(code) => code.clone_into(name),
                    None => drop(self.told.insert(("st".into(), "no_code"))),
                }
            }
        }
        put("country", land.map(Value::from));
        put("st", st.map(Value::from));
        put("ge", self.texts("ge", &[], &[], gender).map(Value::from));
        put("db", self.texts("db", &[], &[], day).map(Value::from));
        let maids = self.texts("hashed_maids", &[], &[], real);
        let hashed = |text: String| match text.len() {
            64 => text.to_lowercase(),
            _ => Sha256::digest(text.to_lowercase())
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect(),
        };
        put(
            "hashed_maids",
            maids.map(|maids| maids.into_iter().map(hashed).collect::<Vec<_>>().into()),
        );
        let external = self.one("external_id", &[("userId", id)], id);
        put("external_id", external.map(|external| json!([external])));
        let epiks: &[(&str, Reader)] = &[
            ("context.page.url", epik),
            ("properties.click_id", id),
            ("properties.epik", id),
            ("properties.url", epik),
        ];
        let epiks = if is_extended { epiks } else { &epiks[..1] };
        put("click_id", self.one("click_id", epiks, id).map(Value::from));
        let repeat: &[(&str, Reader)] = &[("properties.repeat", kind_of_customer)];
        let repeat = if is_extended { repeat } else { &[] };
        put(
            "customer_type",
            self.one("customer_type", repeat, kind_of_customer)
                .map(Value::from),
        );
        put(
            "partner_id",
            self.one("partner_id", &[], id).map(Value::from),
        );
        let url = |value: &Value| match value {
            Value::String(_) => text(value),
            value if is_missing(value) => Ok(None),
            _ => Err("unreadable"),
        };
        let mut urls: Vec<(&str, Reader)> = vec![("context.page.url", url)];
        urls.extend(is_extended.then_some(("properties.url", url as Reader)));
        put(
            "event_source_url",
            self.one("event_source_url", &urls, url).map(Value::from),
        );
        if is_extended {
            let language = |value: &Value| match id(value)? {
                Some(text) => {
                    let first = text
                        .split(['-', '_'])
                        .next()
                        .unwrap_or_default()
                        .to_lowercase();
                    let good = [2, 3].contains(&first.len())
                        && first.chars().all(|c| c.is_ascii_lowercase());
                    if good {
                        Ok(Some(first))
                    } else {
                        Err("unreadable")
                    }
                }
                None => Ok(None),
            };
            let wifi = match at(self.event, "context.network.wifi") {
                Value::Bool(wifi) => Ok(Some(Value::Bool(*wifi))),
                value if is_missing(value) => Ok(None),
                _ => Err("unreadable"),
            };
            put("wifi", self.take("wifi", wifi));
            for (field, path, read) in [
                ("language", "context.locale", language as Reader),
                ("app_id", "context.app.namespace", id),
                ("device_model", "context.device.model", id),
                ("os_version", "context.os.version", id),
            ] {
                put(
                    field,
                    self.one(field, &[(path, read)], read).map(Value::from),
                );
            }
        }
        sent
    }
}

/// The fields that the oracle speaks of, wherever they stand.
fn flat(payload: &Value) -> Map<String, Value> {
    let left_out = [
        "event_name",
        "action_source",
        "event_time",
        "event_id",
        "user_data",
        "custom_data",
        "app_info",
        "device_info",
        "client_ip_address",
        "client_user_agent",
    ];
    let top = payload.as_object().into_iter().flatten();
    let person = payload["user_data"].as_object().into_iter().flatten();
    let all = top
        .chain(person)
        .filter(|(key, _)| !left_out.contains(&key.as_str()));
    all.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The ids of the catalogue, of contents and of the brands.
fn products(event: &Value, settings: &Settings) -> (Value, Value, Value) {
    let own = at(event, "properties.products").as_array().cloned();
    let items = own.unwrap_or_else(|| vec![at(event, "properties").clone()]);
    let of = |item: &Value| {
        let mut ids = settings
            .ids
            .iter()
            .filter_map(|key| id(at(item, key)).ok().flatten());
        ids.next()
    };
    let ids: Vec<String> = items.iter().filter_map(of).collect();
    let mapped = settings
        .mappings
        .iter()
        .any(|(_, to)| *to == "properties.content_ids");
    let mapped_ids = items
        .iter()
        .filter_map(|item| id(at(item, "variant_id")).ok().flatten());
    let mapped_ids: Vec<String> = mapped_ids.collect();
    let has_list = at(event, "properties.products").is_array();
    let sent = match mapped && has_list && !mapped_ids.is_empty() {
        true => mapped_ids,
        false => ids.clone(),
    };
    let brand = |item: &Value| {
        let brand = text(at(item, "brand_id")).ok().flatten();
        brand.filter(|brand| settings.extended && brand.chars().count() <= 64)
    };
    let has = |item: &&Value| has_list || of(item).is_some();
    let brands: Vec<String> = items.iter().filter(has).filter_map(brand).collect();
    let list = |list: Vec<String>| {
        if list.is_empty() {
            Value::Null
        } else {
            list.into()
        }
    };
    (list(sent), list(ids), list(brands))
}

#[test]
fn what_is_off_by_default_does_what_it_says() {
    let count = std::env::var("PINRELAY_ORACLE_EVENTS").ok();
    let count: u64 = count.map_or(4_000, |count| count.parse().expect("a number of events"));
    let (mut sent_events, mut dead) = (0, 0);
    for seed in 0..count {
        let rng = &mut StdRng::seed_from_u64(seed);
        let (event, settings) = (event(rng), settings(rng));
        let rule = |(source, destination): &(&str, &str)| MappingRule {
            source: (*source).to_owned(),
            destination: (*destination).to_owned(),
        };
        let transform = Transform::new(Options {
            extended: settings.extended,
            codes: settings.codes,
            content_ids: settings.ids.iter().map(|id| (*id).to_owned()).collect(),
            mappings: settings.mappings.iter().map(rule).collect(),
            ..Options::default()
        });
        let fixed = Fixed {
            accepted_at: 1_700_000_000,
            event_time: 1_700_000_000,
        };
        let line = event.to_string();
        let made = transform
            .expect("a config")
            .payload(line.as_bytes(), fixed, None, &|_| false);
        let mut oracle = Oracle {
            event: &event,
            settings: &settings,
            told: Told::new(),
        };
        let expected = oracle.payload();
        let fields: BTreeSet<&str> = oracle
            .told
            .iter()
            .map(|(field, _)| field.as_str())
            .collect();
        let about = format!("seed {seed}: {line}\n{settings:?}");
        let notes = match &made {
            Ok(payload) => &payload.notes,
            Err(unsendable) => &unsendable.notes,
        };
        let left_out = [
            "client_ip_address",
            "client_user_agent",
            "items",
            "content_ids",
            "contents",
            "app_info",
            "device_info",
            "action_source",
            "value",
        ];
        let told = notes.iter().filter(|note| !left_out.contains(&note.field));
        let told: Told = told
            .map(|note| (note.field.to_owned(), note.word.name()))
            .collect();
        assert_eq!(told, oracle.told, "{fields:?} {about}");
        let Ok(payload) = made else {
            let keys = ["em", "hashed_maids"];
            assert!(
                keys.iter().all(|key| !expected.contains_key(*key)),
                "{about}"
            );
            dead += 1;
            continue;
        };
        sent_events += 1;
        let sent: Value = serde_json::from_slice(&payload.json).expect("JSON");
        assert_eq!(flat(&sent), expected, "{about}");
        if event["type"] != "track" {
            continue;
        }
        let (ids, of_contents, brands) = products(&event, &settings);
        assert_eq!(sent["custom_data"]["content_ids"], ids, "{about}");
        let contents = sent["custom_data"]["contents"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let each = |key: &str| {
            let all = contents.iter().filter_map(|content| content.get(key));
            let all: Vec<_> = all.cloned().collect();
            if all.is_empty() {
                Value::Null
            } else {
                all.into()
            }
        };
        assert_eq!(each("id"), of_contents, "{about}");
        assert_eq!(each("item_brand_id"), brands, "{about}");
    }
    assert!(
        sent_events > count / 4 && dead > count / 20,
        "{sent_events} sent, {dead} dead"
    );
}
