//! The published request schema as a pure function: what Pinterest refuses with a 400 for the
//! whole request, and what it fails event by event.

use serde_json::{Map, Value};

use super::switches::{CustomKeys, Names, Switches};

/// Most events one request may carry.
pub const MAX_EVENTS: usize = 1000;

/// The names Pinterest gives to conversion events.
pub const STANDARD_NAMES: [&str; 22] = [
    "add_payment_info",
    "add_to_cart",
    "add_to_wishlist",
    "app_install",
    "app_open",
    "checkout",
    "contact",
    "custom",
    "customize_product",
    "find_location",
    "initiate_checkout",
    "lead",
    "page_visit",
    "schedule",
    "search",
    "signup",
    "start_trial",
    "submit_application",
    "subscribe",
    "view_category",
    "view_content",
    "watch_video",
];

const ACTION_SOURCES: [&str; 4] = ["web", "app_android", "app_ios", "offline"];

/// Seconds that an `event_time` may lie back.
const MAX_AGE_SECONDS: i64 = 7 * 86_400;

/// The JSON type that a field must have.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    TextOrNull,
    Integer,
    Bool,
    TextList,
    ActionSource,
    UserData,
    CustomData,
    Contents,
    AppInfo,
    DeviceInfo,
    /// A text of at most so many characters.
    TextUpTo(usize),
    /// A number from 0 to this.
    NumberUpTo(u32),
    /// One of these.
    OneOf(&'static [&'static str]),
}

struct Fields {
    known: &'static [(&'static str, Kind)],
    required: &'static [&'static str],
}

const EVENT: Fields = Fields {
    known: &[
        ("event_name", Kind::Text),
        ("action_source", Kind::ActionSource),
        ("event_time", Kind::Integer),
        ("event_id", Kind::Text),
        ("user_data", Kind::UserData),
        ("custom_data", Kind::CustomData),
        ("event_source_url", Kind::TextOrNull),
        ("partner_name", Kind::TextOrNull),
        ("language", Kind::TextOrNull),
        ("app_id", Kind::TextOrNull),
        ("app_name", Kind::TextOrNull),
        ("app_version", Kind::TextOrNull),
        ("device_brand", Kind::TextOrNull),
        ("device_carrier", Kind::TextOrNull),
        ("device_model", Kind::TextOrNull),
        ("device_type", Kind::TextOrNull),
        ("os_version", Kind::TextOrNull),
        ("opt_out", Kind::Bool),
        ("wifi", Kind::Bool),
        ("app_info", Kind::AppInfo),
        ("device_info", Kind::DeviceInfo),
    ],
    required: &[
        "event_name",
        "action_source",
        "event_time",
        "event_id",
        "user_data",
    ],
};

const USER_DATA: Fields = Fields {
    known: &[
        ("em", Kind::TextList),
        ("ph", Kind::TextList),
        ("fn", Kind::TextList),
        ("ln", Kind::TextList),
        ("ct", Kind::TextList),
        ("st", Kind::TextList),
        ("zp", Kind::TextList),
        ("country", Kind::TextList),
        ("db", Kind::TextList),
        ("ge", Kind::TextList),
        ("external_id", Kind::TextList),
        ("hashed_maids", Kind::TextList),
        ("client_ip_address", Kind::Text),
        ("client_user_agent", Kind::Text),
        ("click_id", Kind::Text),
        ("partner_id", Kind::Text),
        ("customer_type", Kind::OneOf(&["new", "returning"])),
    ],
    required: &[],
};

const PIXELS: Kind = Kind::NumberUpTo(30_720);

const APP_INFO: Fields = Fields {
    known: &[
        ("app_id", Kind::TextUpTo(200)),
        ("app_name", Kind::TextUpTo(200)),
        ("app_package_name", Kind::TextUpTo(100)),
        ("app_store", Kind::TextUpTo(100)),
        ("app_version", Kind::TextUpTo(100)),
        ("install_time", Kind::Integer),
        ("user_agent", Kind::TextUpTo(16_384)),
        ("window_height", PIXELS),
        ("window_width", PIXELS),
    ],
    required: &[],
};

const GIGABYTES: Kind = Kind::NumberUpTo(u32::MAX);

const DEVICE_INFO: Fields = Fields {
    known: &[
        ("brand", Kind::TextUpTo(100)),
        ("carrier", Kind::TextUpTo(100)),
        ("model", Kind::TextUpTo(100)),
        ("type", Kind::TextUpTo(100)),
        ("kernel_version", Kind::TextUpTo(100)),
        ("os_name", Kind::TextUpTo(100)),
        ("os_release_name", Kind::TextUpTo(100)),
        ("os_version", Kind::TextUpTo(100)),
        (
            "form_factor",
            Kind::OneOf(&[
                "desktop",
                "laptop",
                "cellphone",
                "tablet",
                "smartwatch",
                "tv",
                "vr",
                "console",
                "other",
            ]),
        ),
        (
            "network_type",
            Kind::OneOf(&[
                "wifi",
                "cellular_2g",
                "cellular_3g",
                "cellular_4g",
                "cellular_5g",
                "cellular_6g",
                "ethernet",
                "unknown",
            ]),
        ),
        (
            "os_family",
            Kind::OneOf(&[
                "ios", "android", "macos", "windows", "linux", "bsd", "other",
            ]),
        ),
        ("locale", Kind::TextUpTo(35)),
        ("languages", Kind::TextList),
        ("timezone", Kind::TextUpTo(40)),
        ("timezone_abbr", Kind::TextUpTo(5)),
        ("battery_level", Kind::NumberUpTo(100)),
        ("cpu_cores", Kind::NumberUpTo(1152)),
        ("screen_height", PIXELS),
        ("screen_width", PIXELS),
        ("screen_density", Kind::NumberUpTo(100_000)),
        ("storage_size", GIGABYTES),
        ("storage_free_space", GIGABYTES),
        ("external_storage_size", GIGABYTES),
        ("external_storage_free_space", GIGABYTES),
    ],
    required: &[],
};

const CUSTOM_DATA: Fields = Fields {
    known: &[
        ("value", Kind::Text),
        ("currency", Kind::Text),
        ("order_id", Kind::Text),
        ("search_string", Kind::Text),
        ("num_items", Kind::Integer),
        ("content_ids", Kind::TextList),
        ("contents", Kind::Contents),
        ("content_name", Kind::Text),
        ("content_brand", Kind::Text),
        ("content_category", Kind::Text),
        ("opt_out_type", Kind::Text),
        ("predicted_ltv", Kind::Text),
    ],
    required: &[],
};

const CONTENT: Fields = Fields {
    known: &[
        ("id", Kind::Text),
        ("item_name", Kind::Text),
        ("item_category", Kind::Text),
        ("item_brand", Kind::Text),
        ("item_brand_id", Kind::TextUpTo(64)),
        ("item_price", Kind::Text),
        ("quantity", Kind::Integer),
    ],
    required: &[],
};

/// Checks a whole body against the schema and gives its events.
///
/// # Errors
/// The message of the 400 that refuses the request: the path of the first offending object
/// and what is wrong there. Values are never quoted, only keys.
pub fn events(body: &Value, custom_keys: CustomKeys) -> Result<&[Value], String> {
    let body = object(body, "body")?;
    if let Some(key) = body.keys().find(|k| *k != "data") {
        return Err(unexpected("body", &[key]));
    }
    let data = body
        .get("data")
        .ok_or_else(|| "body: 'data' is a required property".to_owned())?;
    let Value::Array(events) = data else {
        return Err(wrong_type("data", "array"));
    };
    if events.is_empty() {
        return Err("data: an empty array is too short".into());
    }
    if events.len() > MAX_EVENTS {
        return Err(format!(
            "data: an array of {} is too long, at most {MAX_EVENTS}",
            events.len()
        ));
    }
    for (i, event) in events.iter().enumerate() {
        let path = format!("data.{i}");
        check_fields(object(event, &path)?, &path, &EVENT, true, custom_keys)?;
    }
    Ok(events)
}

fn check_fields(
    object: &Map<String, Value>,
    path: &str,
    fields: &Fields,
    closed: bool,
    custom_keys: CustomKeys,
) -> Result<(), String> {
    for required in fields.required {
        if !object.contains_key(*required) {
            return Err(format!("{path}: '{required}' is a required property"));
        }
    }
    let mut unknown = Vec::new();
    for (key, value) in object {
        match fields.known.iter().find(|(known, _)| known == key) {
            Some((_, kind)) => check_value(value, *kind, &format!("{path}.{key}"), custom_keys)?,
            None => unknown.push(key.as_str()),
        }
    }
    if closed && !unknown.is_empty() {
        return Err(unexpected(path, &unknown));
    }
    Ok(())
}

fn check_value(
    value: &Value,
    kind: Kind,
    path: &str,
    custom_keys: CustomKeys,
) -> Result<(), String> {
    let expected = match (kind, value) {
        (Kind::Text, Value::String(_)) => return Ok(()),
        (Kind::TextOrNull, Value::String(_) | Value::Null) => return Ok(()),
        (Kind::Bool, Value::Bool(_)) => return Ok(()),
        (Kind::Integer, Value::Number(n)) if plain_integer(n.as_str()) => return Ok(()),
        (Kind::TextList, Value::Array(list)) => {
            return match list.iter().all(Value::is_string) {
                true => Ok(()),
                false => Err(format!("{path}: an item is not of type 'string'")),
            };
        }
        (Kind::ActionSource, Value::String(s)) => {
            return match ACTION_SOURCES.contains(&s.as_str()) {
                true => Ok(()),
                false => Err(format!("{path}: not one of {ACTION_SOURCES:?}")),
            };
        }
        (Kind::UserData, Value::Object(user)) => {
            check_fields(user, path, &USER_DATA, false, custom_keys)?;
            return match has_match_key(user) {
                true => Ok(()),
                false => Err(format!(
                    "{path}: not valid under any of the given schemas (one of 'em', \
                     'hashed_maids', or 'client_ip_address' with 'client_user_agent')"
                )),
            };
        }
        (Kind::CustomData, Value::Object(custom)) => {
            let closed = custom_keys == CustomKeys::Refuse;
            return check_fields(custom, path, &CUSTOM_DATA, closed, custom_keys);
        }
        (Kind::Contents, Value::Array(contents)) => {
            for (i, content) in contents.iter().enumerate() {
                let path = format!("{path}.{i}");
                check_fields(object(content, &path)?, &path, &CONTENT, true, custom_keys)?;
            }
            return Ok(());
        }
        (Kind::AppInfo, Value::Object(app)) => {
            return check_fields(app, path, &APP_INFO, true, custom_keys);
        }
        (Kind::DeviceInfo, Value::Object(device)) => {
            return check_fields(device, path, &DEVICE_INFO, true, custom_keys);
        }
        (Kind::TextUpTo(most), Value::String(text)) => {
            return match text.chars().count() <= most {
                true => Ok(()),
                false => Err(format!("{path}: is too long, at most {most}")),
            };
        }
        (Kind::NumberUpTo(most), Value::Number(number)) => {
            return match number
                .as_f64()
                .is_some_and(|n| (0.0..=f64::from(most)).contains(&n))
            {
                true => Ok(()),
                false => Err(format!("{path}: is not from 0 to {most}")),
            };
        }
        (Kind::OneOf(names), Value::String(text)) => {
            return match names.contains(&text.as_str()) {
                true => Ok(()),
                false => Err(format!("{path}: not one of {names:?}")),
            };
        }
        (
            Kind::Text | Kind::TextOrNull | Kind::ActionSource | Kind::TextUpTo(_) | Kind::OneOf(_),
            _,
        ) => "string",
        (Kind::NumberUpTo(_), _) => "number",
        (Kind::Bool, _) => "boolean",
        (Kind::Integer, _) => "integer",
        (Kind::TextList | Kind::Contents, _) => "array",
        (Kind::UserData | Kind::CustomData | Kind::AppInfo | Kind::DeviceInfo, _) => "object",
    };
    Err(wrong_type(path, expected))
}

/// `2` and `-2`, but neither `2.0` nor `2e0`: the wire form is held to, not only the value.
fn plain_integer(digits: &str) -> bool {
    digits
        .strip_prefix('-')
        .unwrap_or(digits)
        .bytes()
        .all(|b| b.is_ascii_digit())
}

fn has_match_key(user: &Map<String, Value>) -> bool {
    let list = |key| matches!(user.get(key), Some(Value::Array(list)) if !list.is_empty());
    list("em")
        || list("hashed_maids")
        || (user.contains_key("client_ip_address") && user.contains_key("client_user_agent"))
}

fn object<'a>(value: &'a Value, path: &str) -> Result<&'a Map<String, Value>, String> {
    value.as_object().ok_or_else(|| wrong_type(path, "object"))
}

fn wrong_type(path: &str, expected: &str) -> String {
    format!("{path}: not of type '{expected}'")
}

fn unexpected(path: &str, keys: &[&str]) -> String {
    let quoted: Vec<String> = keys.iter().map(|k| format!("'{k}'")).collect();
    let verb = if keys.len() == 1 { "was" } else { "were" };
    format!(
        "{path}: Additional properties are not allowed ({} {verb} unexpected)",
        quoted.join(", ")
    )
}

/// What happens to one event of a request that holds to the schema.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Taken; the warnings may be empty.
    Processed {
        /// Joined by `"; "`.
        warning: String,
    },
    /// Refused alone.
    Failed {
        /// The `error_message`.
        error: String,
    },
}

/// Judges one event that passed [`events`]. `now` in Unix seconds.
pub fn judge(event: &Value, switches: &Switches, now: i64) -> Verdict {
    let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
    let user = |key: &str| event.get("user_data").and_then(|u| u.get(key));
    let time = event.get("event_time").and_then(Value::as_i64);
    let fail = |error: String| Verdict::Failed { error };

    let Some(time) = time else {
        return fail("event_time is out of range".into());
    };
    if time < now - MAX_AGE_SECONDS {
        return fail("Given timestamp is in the past".into());
    }
    if switches
        .max_ahead_seconds
        .is_some_and(|ahead| time > now.saturating_add_unsigned(ahead))
    {
        return fail("Given timestamp is in the future".into());
    }
    if let Some(ip) = user("client_ip_address").and_then(Value::as_str)
        && !ip
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| !ip.is_unspecified())
    {
        return fail("Invalid client_ip_address".into());
    }
    let mut warnings = Vec::new();
    let name = text("event_name");
    if !STANDARD_NAMES.contains(&name) {
        match switches.nonstandard_names {
            Names::Failed => {
                return fail(format!(
                    "Invalid event_name: {name}. Use a supported conversion event_name"
                ));
            }
            Names::Warning => warnings.push("event_name is a non-standard name"),
        }
    }
    if user("external_id").is_none() {
        warnings.push("external_id is missing");
    }
    if user("click_id").is_none() {
        warnings.push("click_id is missing");
    }
    Verdict::Processed {
        warning: warnings.join("; "),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn full() -> Value {
        json!({
            "event_name": "checkout", "action_source": "web", "event_time": NOW - 5,
            "event_id": "m1", "event_source_url": null, "partner_name": "ss-x",
            "opt_out": true,
            "user_data": {"em": ["a"], "client_ip_address": "1.2.3.4",
                          "client_user_agent": "x", "whatever": 1,
                          "external_id": ["u"], "click_id": "c"},
            "custom_data": {"value": "1.5", "num_items": 2, "content_ids": ["a"],
                            "contents": [{"id": "a", "item_price": "1", "quantity": 1}]},
        })
    }

    fn refusal(change: impl Fn(&mut Value)) -> String {
        let mut event = full();
        change(&mut event);
        let body = json!({"data": [full(), event]});
        events(&body, CustomKeys::Refuse).expect_err("refused")
    }

    #[test]
    fn a_full_event_passes() {
        assert_eq!(
            events(&json!({"data": [full()]}), CustomKeys::Refuse).map(<[_]>::len),
            Ok(1)
        );
        let judged = judge(&full(), &Switches::default(), NOW);
        assert_eq!(
            judged,
            Verdict::Processed {
                warning: String::new()
            }
        );
    }

    #[test]
    fn what_later_releases_added_is_held_to_its_type() {
        let with = |pointer: &str, value: Value| {
            let mut event = full();
            event["app_info"] = json!({"app_id": "a", "install_time": 5, "window_width": 30720});
            event["device_info"] = json!({"form_factor": "tv", "languages": ["en"],
                                          "battery_level": 7.5, "locale": "pt-BR"});
            event["user_data"]["customer_type"] = json!("new");
            event["custom_data"]["contents"][0]["item_brand_id"] = json!("b-7");
            if let Some(place) = event.pointer_mut(pointer) {
                *place = value;
            }
            events(&json!({"data": [event]}), CustomKeys::Refuse).err()
        };
        assert_eq!(with("/nowhere", json!(1)), None);
        for (pointer, value) in [
            ("/app_info", json!({"advertiser_tracking_enabled": true})),
            ("/app_info/window_width", json!(30721)),
            ("/app_info/install_time", json!("5")),
            ("/device_info/form_factor", json!("fridge")),
            ("/device_info/locale", json!("x".repeat(36))),
            ("/device_info/battery_level", json!(-1)),
            ("/user_data/customer_type", json!("old")),
            (
                "/custom_data/contents/0/item_brand_id",
                json!("x".repeat(65)),
            ),
        ] {
            assert!(with(pointer, value).is_some(), "{pointer}");
        }
    }

    #[test]
    fn the_body_is_data_of_1_to_1000_and_nothing_else() {
        let refused = |body: Value| events(&body, CustomKeys::Refuse).is_err();
        assert!(refused(json!([])));
        assert!(refused(json!({})));
        assert!(refused(json!({"data": []})));
        assert!(refused(json!({"data": {}})));
        assert!(refused(json!({"data": [full()], "test": true})));
        assert!(refused(json!({"data": vec![full(); 1001]})));
        assert!(!refused(json!({"data": vec![full(); 1000]})));
    }

    #[test]
    fn every_required_field_is_required() {
        for key in EVENT.required {
            let said = refusal(|e| {
                e.as_object_mut().map(|e| e.remove(*key));
            });
            assert_eq!(said, format!("data.1: '{key}' is a required property"));
        }
    }

    #[test]
    fn unknown_keys_are_refused_with_the_documented_words() {
        assert!(
            refusal(|e| e["x"] = json!(1))
                .ends_with("data.1: Additional properties are not allowed ('x' was unexpected)")
        );
        let two = refusal(|e| {
            e["custom_data"]["x"] = json!(1);
            e["custom_data"]["y"] = json!(1);
        });
        assert!(two.ends_with(
            "custom_data: Additional properties are not allowed ('x', 'y' were unexpected)"
        ));
        assert!(refusal(|e| e["custom_data"]["contents"][0]["z"] = json!(1)).contains("'z' was"));
        let mut custom = full();
        custom["custom_data"]["x"] = json!({"deep": []});
        assert!(events(&json!({"data": [custom]}), CustomKeys::Accept).is_ok());
    }

    #[test]
    fn types_are_the_wire_types() {
        let wrong: &[(&str, &str, &str)] = &[
            ("/event_time", "1.0", "integer"),
            ("/event_time", "\"1\"", "integer"),
            ("/event_id", "7", "string"),
            ("/event_id", "null", "string"),
            ("/action_source", "\"Web\"", "not one of"),
            ("/opt_out", "null", "boolean"),
            ("/partner_name", "1", "string"),
            ("/user_data/em", "\"a\"", "array"),
            ("/user_data/em", "null", "array"),
            ("/user_data/em/0", "7", "string"),
            ("/user_data/click_id", "null", "string"),
            ("/custom_data/value", "1.5", "string"),
            ("/custom_data/num_items", "2.0", "integer"),
            ("/custom_data/num_items", "2e0", "integer"),
            ("/custom_data/num_items", "null", "integer"),
            ("/custom_data/content_ids", "[1]", "string"),
            ("/custom_data/contents", "{}", "array"),
            ("/custom_data/contents/0/quantity", "1.0", "integer"),
            ("/custom_data/contents/0/item_price", "1", "string"),
            ("/custom_data/contents/0", "[]", "object"),
            ("/custom_data", "null", "object"),
        ];
        for (at, value, expected) in wrong {
            let mut body = json!({"data": [full()]});
            let value: Value = serde_json::from_str(value).expect(at);
            *body
                .pointer_mut(&format!("/data/0{at}"))
                .unwrap_or_else(|| panic!("{at}")) = value;
            let said = events(&body, CustomKeys::Refuse).expect_err(at);
            assert!(said.contains(expected), "{at}: {said}");
        }
    }

    #[test]
    fn a_match_key_is_required_and_a_phone_is_none() {
        for (user, valid) in [
            (json!({}), false),
            (json!({"ph": ["1"]}), false),
            (json!({"em": []}), false),
            (json!({"client_ip_address": "1.1.1.1"}), false),
            (json!({"client_user_agent": "x"}), false),
            (
                json!({"client_ip_address": "1.1.1.1", "client_user_agent": "x"}),
                true,
            ),
            (json!({"em": ["a"]}), true),
            (json!({"hashed_maids": ["a"]}), true),
        ] {
            let mut event = full();
            event["user_data"] = user.clone();
            let passed = events(&json!({"data": [event]}), CustomKeys::Refuse).is_ok();
            assert_eq!(passed, valid, "{user}");
        }
    }

    fn error_of(change: impl Fn(&mut Value), switches: &Switches) -> Option<String> {
        let mut event = full();
        change(&mut event);
        match judge(&event, switches, NOW) {
            Verdict::Failed { error } => Some(error),
            Verdict::Processed { .. } => None,
        }
    }

    #[test]
    fn age_is_seven_days_to_the_second() {
        let s = Switches::default();
        let week = 7 * 86_400;
        assert_eq!(error_of(|e| e["event_time"] = json!(NOW - week), &s), None);
        let old = error_of(|e| e["event_time"] = json!(NOW - week - 1), &s);
        assert_eq!(old.as_deref(), Some("Given timestamp is in the past"));
        assert_eq!(error_of(|e| e["event_time"] = json!(NOW + week), &s), None);
        let ahead = Switches {
            max_ahead_seconds: Some(60),
            ..s
        };
        assert!(error_of(|e| e["event_time"] = json!(NOW + 61), &ahead).is_some());
        assert!(error_of(|e| e["event_time"] = json!(NOW + 60), &ahead).is_none());
    }

    #[test]
    fn addresses_names_and_warnings() {
        let s = Switches::default();
        for ip in ["0.0.0.0", "::", "1.2.3.4:80", "x"] {
            let said = error_of(|e| e["user_data"]["client_ip_address"] = json!(ip), &s);
            assert!(said.is_some(), "{ip}");
        }
        assert!(
            error_of(
                |e| e["user_data"]["client_ip_address"] = json!("2001:db8::1"),
                &s
            )
            .is_none()
        );
        let strict = Switches {
            nonstandard_names: Names::Failed,
            ..Switches::default()
        };
        let named = |e: &mut Value| e["event_name"] = json!("Signed Up");
        assert_eq!(
            error_of(named, &strict).as_deref(),
            Some("Invalid event_name: Signed Up. Use a supported conversion event_name")
        );
        let mut bare = full();
        bare["event_name"] = json!("Signed Up");
        bare["user_data"] = json!({"em": ["a"]});
        assert_eq!(
            judge(&bare, &s, NOW),
            Verdict::Processed {
                warning: "event_name is a non-standard name; external_id is missing; \
                          click_id is missing"
                    .into()
            }
        );
    }
}
