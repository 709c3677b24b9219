//! `pinrelay quality`: what it counts is what arrived, and what it advises closes the gap.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::support::{Site, StandIn, s};

/// The events of a shop that leaves much out, a gap of its own in each name: how many in a hundred
/// have what is missing in the others, and what the line of the config would be.
fn event(series: &str, n: usize) -> String {
    let share = |percent: usize| (n / 6) % 100 < percent;
    let product = json!({"sku": "s-1", "variant_id": "v-1", "price": 10.5});
    let (name, properties) = match n % 6 {
        // The address is in the order itself.
        0 => (
            "Order Completed",
            json!({
            "order_id": format!("o-{n}"), "value": 42.5, "email": format!("c{n}@mail.example"),
            "products": [product], "shipping_city": "Portland", "shipping_state": "Oregon",
            "shipping_zipcode": "97201", "shipping_country": "United States", "repeat": true}),
        ),
        // Another key for the product.
        1 => (
            "Product Added",
            json!({"value": 10.5, "products": [{"variant_id": "v-1", "price": 10.5}]}),
        ),
        // The address under a key of the shop's own.
        2 => (
            "Product Viewed",
            json!({"value": 1, "sku": "s-1", "customer": {"contact_mail": format!("c{n}@mail.example")}}),
        ),
        // The total under another name, in two of three.
        3 if share(66) => ("Checkout Started", json!({"total": 42.5, "sku": "s"})),
        3 => ("Checkout Started", json!({"value": 42.5, "sku": "s"})),
        // No user agent.
        4 => ("Products Searched", json!({"query": "mug", "value": 0})),
        _ => ("Lookbook Opened", json!({"sku": "s"})),
    };
    let mut event = json!({
        "messageId": format!("{series}-{n}"), "type": "track", "event": name,
        "timestamp": jiff::Timestamp::now().to_string(), "properties": properties,
        "context": {"ip": "203.0.113.7", "page": {"url": "https://shop.example/p"}},
    });
    if n % 6 != 4 {
        event["context"]["userAgent"] = "Mozilla/5.0 (iPhone)".into();
    }
    // A third of them says who it was.
    if share(34) {
        event["userId"] = format!("u-{n}").into();
    }
    event.to_string()
}

fn send(site: &Site, series: &str, count: usize) {
    let file = site.path("events");
    let lines: Vec<String> = (0..count).map(|n| event(series, n)).collect();
    fs::write(&file, lines.join("\n")).expect("a file");
    let out = site
        .command(&["send"])
        .arg(&file)
        .output()
        .expect("it runs");
    assert_eq!(out.status.code(), Some(0), "{out:?}");
}

fn quality(site: &Site, window: &str) -> Value {
    let out = site
        .command(&["quality", "--json", "--window", window])
        .output()
        .expect("it runs");
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    serde_json::from_slice(&out.stdout).expect("JSON")
}

fn of<'q>(quality: &'q Value, name: &str) -> &'q Value {
    let names = quality["names"].as_array().expect("names");
    let found = names.iter().find(|of| of["event_name"] == name);
    found.unwrap_or_else(|| panic!("{name}: {quality:#}"))
}

fn percent(name: &Value, field: &str) -> f64 {
    let fields = name["fields"].as_array().expect("fields");
    let found = fields
        .iter()
        .find(|of| of["field"] == field)
        .expect("the field");
    found["percent"].as_f64().expect("a number")
}

/// Where a field stands in a payload.
fn paths(field: &str) -> &'static [&'static str] {
    match field {
        "event_id" => &["event_id"],
        "event_source_url" => &["event_source_url"],
        "order_id" => &["custom_data.order_id"],
        "value" => &["custom_data.value"],
        "content_ids" => &["custom_data.content_ids"],
        "currency" => &["custom_data.currency"],
        "em" => &["user_data.em"],
        "hashed_maids" => &["user_data.hashed_maids"],
        "client_ip_address" => &["user_data.client_ip_address"],
        "click_id" => &["user_data.click_id"],
        "external_id" => &["user_data.external_id"],
        "ph" => &["user_data.ph"],
        "fn" => &["user_data.fn"],
        "ln" => &["user_data.ln"],
        "ct" => &["user_data.ct"],
        "st" => &["user_data.st"],
        "zp" => &["user_data.zp"],
        "country" => &["user_data.country"],
        "customer_type" => &["user_data.customer_type"],
        "partner_id" => &["user_data.partner_id"],
        // Its own and the default are counted apart.
        "client_user_agent" => &[],
        other => panic!("{other} is counted, and nobody says where it stands"),
    }
}

#[test]
fn it_says_what_arrived_and_its_advice_closes_each_gap() {
    let count = std::env::var("PINRELAY_QUALITY_EVENTS").map_or(12_000, |n| n.parse().expect("n"));
    let stand_in = StandIn::with(&["--count-fields"]);
    let site = Site::new(&stand_in);
    let daemon = site.start();
    send(&site, "before", count);
    stand_in.takes(count as u64, s(120));
    daemon.shows(s(20), "all is delivered", |status| {
        status["ledger"]["delivered"] == count
    });
    let before = quality(&site, "start");
    let arrived: BTreeMap<String, BTreeMap<String, u64>> =
        serde_json::from_value(stand_in.fields()).expect("fields");
    assert_eq!(arrived.len(), 6);
    for (name, counts) in &arrived {
        let told = of(&before, name);
        assert_eq!(told["events"], counts["event"], "{name}");
        for field in told["fields"].as_array().expect("fields") {
            let field = field["field"].as_str().expect("a name");
            for path in paths(field) {
                let there = counts.get(*path).copied().unwrap_or_default();
                let right = there as f64 * 100.0 / counts["event"] as f64;
                assert!(
                    (percent(told, field) - right).abs() < 1.0,
                    "{name} {field}: {right}"
                );
            }
        }
    }
    assert_eq!(percent(of(&before, "search"), "client_user_agent"), 0.0);
    assert_eq!(
        of(&before, "search")["default_user_agent"],
        of(&before, "search")["events"]
    );
    assert_eq!(
        of(&before, "search")["zero_value"],
        of(&before, "search")["events"]
    );
    let who = percent(of(&before, "checkout"), "external_id");
    assert!((who - 34.0).abs() < 1.0, "{who}");

    // Each planted gap is named, with the line that closes it.
    let advice = before["advice"].as_array().expect("advice").clone();
    let named = |name: &str, field: &str| -> Value {
        let is = |of: &&Value| of["event_name"] == name && of["field"] == field;
        let found = advice.iter().find(is);
        found
            .unwrap_or_else(|| panic!("{name} {field}: {advice:#?}"))
            .clone()
    };
    let extended = "[user_data]\nsources = \"extended\"";
    for (name, field, line) in [
        ("checkout", "ct", extended),
        ("checkout", "st", extended),
        ("checkout", "zp", extended),
        ("checkout", "country", extended),
        ("checkout", "customer_type", extended),
        (
            "add_to_cart",
            "content_ids",
            "[catalog]\ncontent_id = [\"variant_id\", \"product_id\", \"sku\"]",
        ),
        (
            "view_content",
            "em",
            "[[mappings]]\nsource = \"properties.customer.contact_mail\"\ndestination = \"user_data.em\"",
        ),
        (
            "initiate_checkout",
            "value",
            "[[mappings]]\nsource = \"properties.total\"\ndestination = \"properties.value\"",
        ),
    ] {
        assert_eq!(named(name, field)["line"], line, "{name} {field}");
    }
    let text = named("checkout", "ct")["text"]
        .as_str()
        .expect("a text")
        .to_owned();
    assert!(
        text.starts_with("ct: 0 of ") && text.ends_with("properties.shipping_city"),
        "{text}"
    );
    for (name, field, words) in [
        ("search", "client_user_agent", "context.userAgent"),
        ("checkout", "external_id", "userId"),
        ("checkout", "click_id", "epik"),
        ("search", "value", "a value of 0"),
    ] {
        let said = named(name, field);
        assert!(
            said["line"].is_null() && said["text"].as_str().expect("a text").contains(words),
            "{said}"
        );
    }
    let shown = site
        .command(&["quality", "--window", "1h"])
        .output()
        .expect("it runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("hashed_email") && shown.contains("sources = \"extended\""),
        "{shown}"
    );
    assert!(
        shown
            .lines()
            .filter(|line| !line.starts_with("  "))
            .all(|l| l.chars().count() <= 80),
        "{shown}"
    );

    // The lines as they are told, in a config.
    let mut lines: Vec<String> = Vec::new();
    for line in advice.iter().filter_map(|of| of["line"].as_str()) {
        let text = format!("{line}\n");
        if !lines.contains(&text) {
            lines.push(text);
        }
    }
    // Of one section both keys.
    let (user_data, others): (Vec<_>, Vec<_>) = lines
        .into_iter()
        .partition(|line| line.starts_with("[user_data]"));
    let user_data: String = user_data
        .iter()
        .map(|line| &line["[user_data]\n".len()..])
        .collect();
    site.config(&format!("[user_data]\n{user_data}{}", others.concat()));
    assert_eq!(daemon.stop(s(30)).code, Some(0));
    let daemon = site.start();
    send(&site, "after", count);
    daemon.shows(s(60), "all is delivered", |status| {
        status["ledger"]["delivered"] == 2 * count
    });
    let after = quality(&site, "start");
    let again = after["advice"].as_array().expect("advice");
    for (name, field) in [
        ("checkout", "ct"),
        ("checkout", "st"),
        ("checkout", "zp"),
        ("checkout", "country"),
        ("checkout", "customer_type"),
        ("add_to_cart", "content_ids"),
        ("view_content", "em"),
        ("initiate_checkout", "value"),
    ] {
        assert_eq!(percent(of(&after, name), field), 100.0, "{name} {field}");
        let line = &named(name, field)["line"];
        assert!(
            !again.iter().any(|of| of["line"] == *line),
            "{line}: {again:#?}"
        );
    }
    // Only now is there a state to have a code.
    let codes = again
        .iter()
        .find(|of| of["line"] == "[user_data]\ncodes = true");
    assert!(
        codes.is_some_and(|of| of["event_name"] == "checkout"),
        "{again:#?}"
    );
    let said = |of: &Value| of["text"].as_str().unwrap_or_default().to_owned();
    let is_unused = |of: &Value| said(of).contains("catalog.content_id names");
    assert!(!again.iter().any(is_unused), "{again:#?}");
    // The hours outlive the restart: both halves are in the last of them.
    let both = quality(&site, "1h");
    let city = percent(of(&both, "checkout"), "ct");
    assert!((city - 50.0).abs() < 1.0, "{city}");
    assert_eq!(of(&both, "checkout")["events"], 2 * (count / 6));
}

#[test]
fn a_file_of_counts_that_cannot_be_read_is_kept_and_told_and_counting_begins_anew() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let file = site.path("queue.quality");
    fs::write(&file, "{\"version\":1,").expect("a file");
    let daemon = site.start();
    assert!(
        daemon
            .log()
            .contains("the counts of match quality cannot be read")
    );
    assert!(site.path("queue.quality.unreadable").exists());
    send(&site, "anew", 12);
    stand_in.takes(12, s(20));
    daemon.shows(s(20), "all is delivered", |status| {
        status["ledger"]["delivered"] == 12
    });
    assert_eq!(of(&quality(&site, "24h"), "checkout")["events"], 2);
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    let kept = fs::read_to_string(&file).expect("written at the stop");
    assert!(
        kept.contains("\"checkout\"") && !kept.contains('@'),
        "{kept}"
    );
}

#[test]
fn what_the_tag_names_otherwise_is_told_with_how_many() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in).set("pinterest", "tag", "chord");
    let daemon = site.start();
    send(&site, "tag", 60);
    daemon.shows(s(20), "all is delivered", |status| {
        status["ledger"]["delivered"] == 60
    });
    let told = quality(&site, "1h");
    let advice = told["advice"].as_array().expect("advice");
    let of_tag: Vec<_> = advice
        .iter()
        .filter(|of| {
            of["line"]
                .as_str()
                .is_some_and(|l| l.starts_with("[event_names]\n"))
        })
        .collect();
    assert_eq!(of_tag.len(), 2, "{advice:#?}");
    let viewed = of_tag
        .iter()
        .find(|of| of["event_name"] == "view_content")
        .expect("it was sent");
    assert_eq!(
        viewed["line"],
        "[event_names]\n\"Product Viewed\" = \"Product Viewed\""
    );
    assert!(
        viewed["text"]
            .as_str()
            .expect("a text")
            .starts_with("10 view_content"),
        "{viewed}"
    );
}
