//! What @chordcommerce/analytics makes of a shop's events, and what of it reaches Pinterest: by
//! default, and with the extended sources. The shop is made up, the events are the package's own.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

use serde_json::Value;

use super::installed;
use super::skipped;
use super::support::{PINRELAY, bare};

/// What every event of this shop is sent with: who it was, and where.
const EVERY: &str = "client_ip_address client_user_agent em event_source_url external_id";
/// And with the extended sources: how they speak there.
const EVERY_EXTENDED: &str = "language";

const CURRENCY: &str = "currency";
const CART: &str = "content_ids contents currency num_items order_id value";
const LIST: &str = "content_ids contents currency num_items value";
const ORDER: &str = "content_ids contents currency fn ln num_items order_id ph value";

/// Of each event: its name here, what is sent besides, and what the extended sources add to that.
const TABLE: [(&str, &str, &str); 26] = [
    ("Cart Viewed", CART, ""),
    ("initiate_checkout", CART, ""),
    ("Checkout Step Completed", CURRENCY, ""),
    ("Checkout Step Viewed", CURRENCY, ""),
    ("Coupon Applied", "currency order_id", ""),
    ("Coupon Denied", "currency order_id", ""),
    ("Coupon Entered", "currency order_id", ""),
    ("Coupon Removed", "currency order_id", ""),
    ("Email Captured", CURRENCY, ""),
    ("Login Started", CURRENCY, ""),
    ("Navigation Clicked", CURRENCY, ""),
    ("checkout", ORDER, "country ct customer_type st zp"),
    ("Payment Info Entered", CART, ""),
    ("add_to_cart", CART, ""),
    ("Product Clicked", CART, ""),
    ("Product List Filtered", CURRENCY, ""),
    ("Product List Viewed", LIST, ""),
    ("Product Removed", CART, ""),
    ("view_content", CART, ""),
    ("search", "currency search_string", ""),
    ("Signed In", CURRENCY, ""),
    ("Signed Out", CURRENCY, ""),
    ("Signed Up", CURRENCY, ""),
    // Its address has a city under the document's key, and the rest under Chord's.
    (
        "Subscription Cancelled",
        "content_ids contents ct currency num_items value",
        "st zp",
    ),
    ("Variant Clicked", CART, ""),
    ("page_visit", "content_ids", ""),
];

#[test]
fn each_commerce_event_of_chords_package_is_covered_as_the_table_says() {
    let mut shop = match installed::node("commerce.mjs") {
        Ok(shop) => shop,
        Err(missing) => return skipped(&missing),
    };
    let made = shop.stderr(Stdio::inherit()).output().expect("it runs");
    assert!(made.status.success(), "the shop ended with {}", made.status);
    let folder = tempfile::tempdir().expect("a folder");
    let events = folder.path().join("events");
    fs::write(&events, made.stdout).expect("a file");
    let transformed = |config: &str| -> Vec<Value> {
        let file = folder.path().join("pinrelay.toml");
        fs::write(&file, config).expect("a config");
        let mut command = bare(PINRELAY.as_ref());
        command
            .args(["transform", "--config"])
            .arg(&file)
            .arg(&events);
        let out = command.stderr(Stdio::inherit()).output().expect("it runs");
        assert!(out.status.success());
        let lines = out.stdout.split(|byte| *byte == b'\n');
        let lines = lines.filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_slice(line).expect("JSON"))
            .collect()
    };
    let by_default = transformed("");
    let extended = transformed(
        "[user_data]\nsources = \"extended\"\ncodes = true\n[catalog]\ncontent_id = [\"sku\"]\n",
    );
    assert_eq!(
        (by_default.len(), extended.len()),
        (TABLE.len(), TABLE.len())
    );
    for ((name, sent, added), (default, extended)) in
        TABLE.into_iter().zip(by_default.iter().zip(&extended))
    {
        for told in [default, extended] {
            assert_eq!(told["event"]["event_name"], name, "{told}");
            assert_eq!(told["notes"], Value::Null, "{told}");
        }
        let named = |parts: &[&str]| -> BTreeSet<String> {
            let fields = parts.iter().flat_map(|fields| fields.split_whitespace());
            fields.map(str::to_owned).collect()
        };
        assert_eq!(fields(default), named(&[EVERY, sent]), "{name}, by default");
        let all = named(&[EVERY, EVERY_EXTENDED, sent, added]);
        assert_eq!(fields(extended), all, "{name}, extended");
    }
    let order = |of: &[Value]| {
        let place = TABLE.iter().position(|(name, ..)| *name == "checkout");
        of[place.expect("an order")]["event"].clone()
    };
    let (plain, order) = (order(&by_default), order(&extended));
    assert_eq!(
        plain["custom_data"]["content_ids"],
        serde_json::json!(["prod-1"])
    );
    assert_eq!(
        order["custom_data"]["content_ids"],
        serde_json::json!(["MUG-BLUE"])
    );
    let person = &order["user_data"];
    let told = ["ct", "st", "zp", "country", "customer_type"].map(|field| person[field].clone());
    let right = serde_json::json!([["Portland"], ["or"], ["97201"], ["us"], "returning"]);
    assert_eq!(Value::from(told.to_vec()), right);
}

/// The fields that are sent, but for the four that are in every event of anybody.
fn fields(told: &Value) -> BTreeSet<String> {
    let event = told["event"].as_object().expect("an event");
    let own = ["event_name", "action_source", "event_time", "event_id"];
    let blocks = ["user_data", "custom_data"];
    let keys = |block: &str| -> Vec<String> {
        let block = event.get(block).and_then(Value::as_object);
        block
            .map(|block| block.keys().cloned().collect())
            .unwrap_or_default()
    };
    let top = event
        .keys()
        .filter(|key| !own.contains(&key.as_str()) && !blocks.contains(&key.as_str()));
    top.cloned()
        .chain(blocks.into_iter().flat_map(keys))
        .collect()
}
