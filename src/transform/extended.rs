//! What an event tells of app and device, where `user_data.sources` is extended: fields of their
//! own, and on screens and in apps the objects app_info and device_info, which take nothing that
//! they do not know and no text that is too long.

use serde::Serialize;

use super::notes::{Fault, Notes, Place, Read};
use super::scalar::{Text, id_text, same_without_case, scalar_text, value_at};
use crate::event::{Kind, Node};

/// Characters that most texts of the two objects may have.
const MOST: usize = 100;
const MOST_OF_A_NAME: usize = 200;
const MOST_OF_A_LOCALE: usize = 35;
const MOST_OF_A_ZONE: usize = 40;

/// The largest side of a screen, in pixels.
const MOST_PIXELS: u32 = 30_720;
const MOST_DENSITY: u32 = 100_000;

pub(super) const LOCALE: &str = "context.locale";
pub(super) const WIFI: &str = "context.network.wifi";
pub(super) const OS_NAME: &str = "context.os.name";
pub(super) const TIMEZONE: &str = "context.timezone";

/// Fields that are one text each, and where it stands, in the order of the payload.
pub(super) const TEXTS: [(&str, &str); 8] = [
    ("app_id", "context.app.namespace"),
    ("app_name", "context.app.name"),
    ("app_version", "context.app.version"),
    ("device_brand", "context.device.manufacturer"),
    ("device_carrier", "context.network.carrier"),
    ("device_model", "context.device.model"),
    ("device_type", "context.device.type"),
    ("os_version", "context.os.version"),
];

/// Of device_info, and what they may be at most.
const SCREEN: [(&str, u32); 3] = [
    ("context.screen.width", MOST_PIXELS),
    ("context.screen.height", MOST_PIXELS),
    ("context.screen.density", MOST_DENSITY),
];

/// Everything of this beside the four sources above.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    let named = [LOCALE, WIFI, OS_NAME, TIMEZONE].into_iter();
    let texts = TEXTS.into_iter().map(|(_, path)| path);
    named
        .chain(texts)
        .chain(SCREEN.into_iter().map(|(path, _)| path))
}

/// The fields at the top of the event.
#[derive(Serialize)]
pub(super) struct Extended<'t> {
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_id: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_name: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_version: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_brand: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_carrier: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_model: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_type: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os_version: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wifi: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_info: Option<AppInfo<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_info: Option<DeviceInfo<'t>>,
}

#[derive(Serialize, Default, PartialEq)]
struct AppInfo<'t> {
    #[serde(skip_serializing_if = "Option::is_none")]
    app_id: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_name: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_package_name: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_version: Option<Text<'t>>,
}

#[derive(Serialize, Default, PartialEq)]
struct DeviceInfo<'t> {
    #[serde(skip_serializing_if = "Option::is_none")]
    brand: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    carrier: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<Text<'t>>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os_family: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os_name: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os_version: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locale: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timezone: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    screen_width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    screen_height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    screen_density: Option<u32>,
}

/// The fields of an event of this kind and action_source.
pub(super) fn read<'t>(
    root: &'t Node<'t>,
    kind: Kind,
    action_source: &str,
    notes: &Notes,
) -> Box<Extended<'t>> {
    let [
        app_id,
        app_name,
        app_version,
        device_brand,
        device_carrier,
        device_model,
        device_type,
        os_version,
    ] = TEXTS
        .map(|(field, path)| notes.take(field, Place::at(path), id_text(value_at(root, path))));
    let take = |field, path: &'static str, read: fn(&'t Node<'t>) -> Read<Text<'t>>| {
        notes.take(field, Place::at(path), read(value_at(root, path)))
    };
    let language = language(value_at(root, LOCALE));
    let language = notes.take("language", Place::at(LOCALE), language);
    let wifi = notes.take("wifi", Place::at(WIFI), yes_or_no(value_at(root, WIFI)));
    let in_app = kind == Kind::Screen || action_source.starts_with("app_");
    let app_info = || {
        let short = |text: &Option<Text<'t>>, path, most| {
            short_enough(text.clone(), most, "app_info", path, notes)
        };
        AppInfo {
            app_id: short(&app_id, TEXTS[0].1, MOST_OF_A_NAME),
            app_name: short(&app_name, TEXTS[1].1, MOST_OF_A_NAME),
            // Told once of app_id, which is the same.
            app_package_name: app_id.clone().filter(|text| is_short(text, MOST)),
            app_version: short(&app_version, TEXTS[2].1, MOST),
        }
    };
    let device_info = || {
        let short = |text: Option<Text<'t>>, path, most| {
            short_enough(text, most, "device_info", path, notes)
        };
        let os_name = take("device_info", OS_NAME, id_text);
        let [width, height, density] = SCREEN.map(|(path, most)| {
            let number = up_to(value_at(root, path), most);
            notes.take("device_info", Place::at(path), number)
        });
        // Not a text at all was told of language.
        let locale = scalar_text(value_at(root, LOCALE)).ok().flatten();
        DeviceInfo {
            brand: short(device_brand.clone(), TEXTS[3].1, MOST),
            carrier: short(device_carrier.clone(), TEXTS[4].1, MOST),
            model: short(device_model.clone(), TEXTS[5].1, MOST),
            kind: short(device_type.clone(), TEXTS[6].1, MOST),
            os_family: os_name.as_deref().map(os_family),
            os_name: short(os_name, OS_NAME, MOST),
            os_version: short(os_version.clone(), TEXTS[7].1, MOST),
            network_type: (wifi == Some(true)).then_some("wifi"),
            locale: short(locale, LOCALE, MOST_OF_A_LOCALE),
            timezone: short(
                take("device_info", TIMEZONE, id_text),
                TIMEZONE,
                MOST_OF_A_ZONE,
            ),
            screen_width: width,
            screen_height: height,
            screen_density: density,
        }
    };
    let app_info = in_app
        .then(app_info)
        .filter(|info| *info != AppInfo::default());
    let device_info = in_app
        .then(device_info)
        .filter(|info| *info != DeviceInfo::default());
    Box::new(Extended {
        language,
        app_id,
        app_name,
        app_version,
        device_brand,
        device_carrier,
        device_model,
        device_type,
        os_version,
        wifi,
        app_info,
        device_info,
    })
}

fn is_short(text: &str, most: usize) -> bool {
    text.chars().take(most + 1).count() <= most
}

fn short_enough<'t>(
    text: Option<Text<'t>>,
    most: usize,
    field: &'static str,
    path: &'static str,
    notes: &Notes,
) -> Option<Text<'t>> {
    let text = text?;
    if is_short(&text, most) {
        return Some(text);
    }
    let reason = "is longer than the field there may be, which is left out";
    notes.add(field, Place::at(path), Fault::unreadable(reason));
    None
}

/// The language of a locale: its first part, in lower case.
pub(super) fn language(node: &Node<'_>) -> Read<String> {
    let Some(text) = id_text(node)? else {
        return Ok(None);
    };
    let first = text.split(['-', '_']).next().unwrap_or_default();
    match (2..=3).contains(&first.len()) && first.bytes().all(|b| b.is_ascii_alphabetic()) {
        true => Ok(Some(first.to_ascii_lowercase())),
        false => Err(Fault::unreadable("begins with no language, as en-US does")),
    }
}

pub(super) fn yes_or_no(node: &Node<'_>) -> Read<bool> {
    match node {
        Node::Bool(is) => Ok(Some(*is)),
        node if node.is_missing() => Ok(None),
        _ => Err(Fault::unreadable("is neither true nor false")),
    }
}

fn up_to(node: &Node<'_>, most: u32) -> Read<u32> {
    match super::money::integer(node)? {
        Some(number) if number > most => {
            Err(Fault::unreadable("is more than Pinterest takes there"))
        }
        number => Ok(number),
    }
}

/// Pinterest's word for an operating system.
fn os_family(name: &str) -> &'static str {
    let is = |names: &[&str]| names.iter().any(|known| same_without_case(name, known));
    match () {
        () if is(&["ios", "ipados", "iphone os"]) => "ios",
        () if is(&["android"]) => "android",
        () if is(&["macos", "mac os", "mac os x", "os x"]) => "macos",
        () if is(&["windows"]) => "windows",
        () if is(&["linux"]) => "linux",
        () => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Arena, parse};

    /// What is sent, and what is told, as `field path word`.
    fn read_of(json: &str, kind: Kind, source: &str) -> (serde_json::Value, Vec<String>) {
        let (arena, notes) = (Arena::default(), Notes::default());
        let root = parse(&arena, json.as_bytes()).ok().unwrap();
        let read = read(&root, kind, source, &notes);
        let sent = serde_json::to_value(&read).unwrap();
        let told = notes.finish().into_iter();
        let told = told.map(|note| format!("{} {} {}", note.field, note.path, note.word.name()));
        (sent, told.collect())
    }

    const APP: &str = r#"{"context":{"locale":"en-US","timezone":"Europe/Berlin",
        "app":{"namespace":"com.shop","name":"Shop","version":"3.1"},
        "device":{"manufacturer":"Apple","model":"iPhone15,2","type":"ios"},
        "os":{"name":"iPadOS","version":"17.4"},"network":{"carrier":"T","wifi":true},
        "screen":{"width":390,"height":844.0,"density":3}}}"#;

    #[test]
    fn an_app_tells_all_of_it_and_the_web_only_the_fields() {
        let flat = serde_json::json!({
            "language": "en", "app_id": "com.shop", "app_name": "Shop", "app_version": "3.1",
            "device_brand": "Apple", "device_model": "iPhone15,2", "device_type": "ios",
            "device_carrier": "T", "os_version": "17.4", "wifi": true,
        });
        let (sent, told) = read_of(APP, Kind::Track, "web");
        assert_eq!((sent, told), (flat.clone(), vec![]));
        let mut all = flat;
        all["app_info"] = serde_json::json!({
            "app_id": "com.shop", "app_name": "Shop", "app_package_name": "com.shop",
            "app_version": "3.1",
        });
        all["device_info"] = serde_json::json!({
            "brand": "Apple", "carrier": "T", "model": "iPhone15,2", "type": "ios",
            "os_family": "ios", "os_name": "iPadOS", "os_version": "17.4", "network_type": "wifi",
            "locale": "en-US", "timezone": "Europe/Berlin",
            "screen_width": 390, "screen_height": 844, "screen_density": 3,
        });
        assert_eq!(read_of(APP, Kind::Track, "app_ios"), (all.clone(), vec![]));
        assert_eq!(read_of(APP, Kind::Screen, "web"), (all, vec![]));
        assert_eq!(read_of("{}", Kind::Screen, "web").0, serde_json::json!({}));
    }

    #[test]
    fn what_the_objects_cannot_take_is_left_out_and_told() {
        let long = "x".repeat(101);
        let json = format!(
            r#"{{"context":{{"locale":"?","app":{{"name":{{"a":1}},"version":"{long}"}},
                "device":{{"model":"null"}},"os":{{"name":"Plan 9"}},"network":{{"wifi":"yes"}},
                "screen":{{"width":30721,"height":-1,"density":"x"}}}}}}"#
        );
        let (sent, told) = read_of(&json, Kind::Screen, "web");
        assert_eq!(
            sent,
            serde_json::json!({
                "app_version": long,
                "device_info": {"os_family": "other", "os_name": "Plan 9", "locale": "?"},
            })
        );
        assert_eq!(
            told,
            [
                "language context.locale unreadable",
                "app_name context.app.name unreadable",
                "device_model context.device.model placeholder",
                "wifi context.network.wifi unreadable",
                "app_info context.app.version unreadable",
                "device_info context.screen.width unreadable",
                "device_info context.screen.height negative",
                "device_info context.screen.density unreadable",
            ]
        );
    }
}
