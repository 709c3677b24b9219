//! What the config may not say, and what is warned of.

use super::*;

fn refusal(options: Options) -> String {
    match Transform::new(options) {
        Ok(_) => panic!("taken"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn destinations_that_are_refused() {
    for (key, instead) in [
        ("np", "partner_name"),
        ("external_measurement_id", "leave it out"),
        ("revenue", "properties.value"),
        ("price", "properties.value"),
        ("products", "properties.contents"),
        ("product_id", "properties.content_ids"),
        ("sku", "properties.content_ids"),
        ("quantity", "properties.num_items"),
        ("query", "properties.search_string"),
        ("search_term", "properties.search_string"),
        ("cart_id", "properties.order_id"),
        ("address", "user_data"),
        ("meta", "properties.currency"),
        ("title", "properties.content_ids"),
        ("name", "properties.content_name"),
        ("category", "properties.content_category"),
        ("brand", "properties.content_brand"),
        ("partner_id", "partner_id"),
        ("action_source", "action_source"),
    ] {
        let destination = format!("properties.{key}");
        let text = refusal(rules(&[
            ("properties.a", "properties.b"),
            ("properties.x", &destination),
        ]));
        assert!(
            text.contains(&format!("mappings[2].destination = \"{destination}\"")),
            "{text}"
        );
        assert!(text.contains(instead), "{text}");
    }
    for bad in [
        "",
        "value",
        "properties",
        "properties.",
        "properties. ",
        "properties.a.b",
        "context.a",
        "Properties.a",
        "custom_data.value",
    ] {
        let text = refusal(rules(&[("properties.x", bad)]));
        assert!(text.contains("properties.<key>"), "{text}");
    }
    for bad in ["", ".", "properties.", ".a", "properties..a"] {
        let text = refusal(rules(&[(bad, "properties.x")]));
        assert!(text.contains("mappings[1].source"), "{text}");
    }
    // Near misses are custom keys like any other.
    for fine in [
        "npx",
        "Price",
        "external_measurement",
        "names",
        "opt_out",
        "custom key",
    ] {
        assert!(
            Transform::new(rules(&[("properties.x", &format!("properties.{fine}"))])).is_ok(),
            "{fine}"
        );
    }
}

#[test]
fn other_options_that_are_refused() {
    for bad in ["", "Web", "ios"] {
        let options = Options {
            default_action_source: bad.to_owned(),
            ..Options::default()
        };
        assert!(refusal(options).contains("web, app_android, app_ios, offline"));
    }
    for bad in ["", "US", "DOLLAR", "U$D"] {
        let options = Options {
            default_currency: bad.to_owned(),
            ..Options::default()
        };
        assert!(refusal(options).contains("pinterest.default_currency"));
    }
    let names = |pairs: &[(&str, &str)]| Options {
        event_names: pairs
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect(),
        ..Options::default()
    };
    assert_eq!(
        Transform::new(names(&[("Signed Up", "a"), ("SIGNED UP ", "b")])).err(),
        Some(OptionsError::SameEvent {
            first: "Signed Up".into(),
            second: "SIGNED UP ".into()
        })
    );
    assert!(refusal(names(&[("Signed Up", " ")])).contains("\"Signed Up\""));
    assert_eq!(
        Transform::new(names(&[(" ", "a")])).err(),
        Some(OptionsError::EmptyEventKey)
    );
}

#[test]
fn personal_data_under_a_custom_key_is_warned_of() {
    let warnings =
        |source: &str, destination: &str| transform(rules(&[(source, destination)])).warnings();
    for source in [
        "properties.email",
        "context.traits.phone",
        "properties.first_name",
        "context.traits.lastName",
        "context.traits.address",
        "properties.address.city",
        "context.traits",
        "properties.customer.Email",
        "properties.shipping_city",
        "properties.shippingState",
        "properties.zipCode",
        "properties.postal_code",
        "properties.street1",
        "properties.date_of_birth",
        "properties.Gender",
        "properties.email_opt_in",
    ] {
        let told = warnings(source, "properties.x");
        assert_eq!(told.len(), 1, "{source}");
        assert!(
            told[0].contains(source) && told[0].contains("properties.x"),
            "{}",
            told[0]
        );
        assert!(
            warnings(source, "properties.email").is_empty(),
            "user_data is the place for it"
        );
        assert!(warnings(source, "properties.order_id").is_empty());
    }
    for source in [
        "properties.loyalty_tier",
        "properties.tier",
        "context.page.title",
    ] {
        assert!(warnings(source, "properties.x").is_empty(), "{source}");
    }
}
