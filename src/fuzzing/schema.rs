//! The published schema of one event, held to the wire form that the transform promises: no
//! empty list or object, numbers in plain digits.

use serde_json::{Map, Value};

type Check = Result<(), String>;

fn object<'v>(v: &'v Value, at: &str) -> Result<&'v Map<String, Value>, String> {
    v.as_object()
        .ok_or_else(|| format!("{at} is not an object"))
}

fn text(v: &Value) -> bool {
    v.is_string()
}

fn texts(v: &Value) -> bool {
    v.as_array()
        .is_some_and(|a| !a.is_empty() && a.iter().all(text))
}

fn short(v: &Value, most: usize) -> bool {
    v.as_str().is_some_and(|text| text.chars().count() <= most)
}

type Rule = fn(&str, &Value) -> Option<bool>;

fn app_info(key: &str, v: &Value) -> Option<bool> {
    Some(match key {
        "app_id" | "app_name" => short(v, 200),
        "app_package_name" | "app_version" => short(v, 100),
        _ => return None,
    })
}

fn device_info(key: &str, v: &Value) -> Option<bool> {
    let up_to = |most| integer(v) && v.as_u64().is_some_and(|n| n <= most);
    let families = ["ios", "android", "macos", "windows", "linux", "other"];
    Some(match key {
        "brand" | "carrier" | "model" | "type" | "os_name" | "os_version" => short(v, 100),
        "os_family" => families.iter().any(|s| v == s),
        "network_type" => v == "wifi",
        "locale" => short(v, 35),
        "timezone" => short(v, 40),
        "screen_width" | "screen_height" => up_to(30_720),
        "screen_density" => up_to(100_000),
        _ => return None,
    })
}

/// As written on the wire: digits alone, no `2.0` and no `2e0`.
fn integer(v: &Value) -> bool {
    v.is_number() && v.to_string().bytes().all(|b| b.is_ascii_digit())
}

fn decimal(v: &Value) -> bool {
    let plain = |s: &str| {
        let (whole, fraction) = s.split_once('.').unwrap_or((s, "1"));
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        digits(whole) && digits(fraction) && fraction.len() <= 6 && !fraction.ends_with('0')
    };
    v.as_str().is_some_and(plain)
}

fn each(v: &Value, at: &str, rule: impl Fn(&str, &Value) -> Option<bool>) -> Check {
    for (key, value) in object(v, at)? {
        match rule(key, value) {
            Some(true) => {}
            Some(false) => return Err(format!("{at}.{key} is of the wrong type: {value}")),
            None => return Err(format!("{at}.{key} is not in the schema")),
        }
    }
    Ok(())
}

/// Checks one event from which the custom keys were taken.
///
/// # Errors
/// The first field that is wrong.
pub fn check(event: &Value) -> Result<(), String> {
    each(event, "event", |key, v| {
        Some(match key {
            "event_name" | "event_id" | "event_source_url" | "partner_name" => text(v),
            "action_source" => ["web", "app_android", "app_ios", "offline"]
                .iter()
                .any(|s| v == s),
            "event_time" => integer(v),
            "opt_out" | "wifi" => v.is_boolean(),
            "language" | "app_id" | "app_name" | "app_version" | "device_brand"
            | "device_carrier" | "device_model" | "device_type" | "os_version" => text(v),
            "app_info" | "device_info" => v.as_object().is_some_and(|o| !o.is_empty()),
            "user_data" | "custom_data" => v.as_object().is_some_and(|o| !o.is_empty()),
            _ => return None,
        })
    })?;
    for required in [
        "event_name",
        "action_source",
        "event_time",
        "event_id",
        "user_data",
    ] {
        if event.get(required).is_none() {
            return Err(format!("{required} is missing"));
        }
    }
    for (name, rule) in [("app_info", app_info as Rule), ("device_info", device_info)] {
        if let Some(info) = event.get(name) {
            each(info, name, rule)?;
        }
    }
    let user = &event["user_data"];
    each(user, "user_data", |key, v| {
        Some(match key {
            "em" | "ph" | "fn" | "ln" | "ct" | "st" | "zp" | "country" | "external_id" | "db"
            | "ge" | "hashed_maids" => texts(v),
            "customer_type" => ["new", "returning"].iter().any(|s| v == s),
            "client_ip_address" | "client_user_agent" | "click_id" | "partner_id" => text(v),
            _ => return None,
        })
    })?;
    let both = user.get("client_ip_address").is_some() && user.get("client_user_agent").is_some();
    if user.get("em").is_none() && user.get("hashed_maids").is_none() && !both {
        return Err("no match key".to_owned());
    }
    let Some(custom) = event.get("custom_data") else {
        return Ok(());
    };
    each(custom, "custom_data", |key, v| {
        Some(match key {
            "value" => decimal(v),
            "currency" => v
                .as_str()
                .is_some_and(|s| s.len() == 3 && s.bytes().all(|b| b.is_ascii_uppercase())),
            "order_id" | "search_string" | "content_name" | "content_brand"
            | "content_category" | "opt_out_type" | "predicted_ltv" => text(v),
            "num_items" => integer(v),
            "content_ids" => texts(v),
            "contents" => v.as_array().is_some_and(|a| !a.is_empty()),
            _ => return None,
        })
    })?;
    for content in custom
        .get("contents")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        if object(content, "contents[]")?.is_empty() {
            return Err("an empty entry of contents".to_owned());
        }
        each(content, "contents[]", |key, v| {
            Some(match key {
                "id" | "item_name" | "item_category" | "item_brand" => text(v),
                "item_brand_id" => short(v, 64),
                "item_price" => decimal(v),
                "quantity" => integer(v),
                _ => return None,
            })
        })?;
    }
    Ok(())
}
