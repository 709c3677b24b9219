//! What holds of consent and filters.

use std::sync::OnceLock;

use serde_json::Value;

use crate::event;
use crate::policy::{
    Action, Consent, Filter, Missing, Options, Policy, Reason, Refusal, Scalar, Test, Where,
};

/// Whatever the line, an event goes only where each required category is `true`, as a plain reading
/// of the JSON finds it; the same line is judged alike twice.
///
/// The first byte chooses the config; the rest is the line.
pub fn consent(data: &[u8]) {
    let [choice, line @ ..] = data else { return };
    let missing = if choice & 1 == 0 {
        Missing::Deny
    } else {
        Missing::Allow
    };
    let require = match choice & 2 {
        0 => vec!["marketing"],
        _ => vec!["Marketing", "sale_of_data"],
    };
    let policy = Policy::new(&Options {
        consent: Consent {
            require: require.iter().map(|name| (*name).to_owned()).collect(),
            missing,
        },
        filters: Vec::new(),
    });
    let policy = policy.expect("a config as the reference describes it");
    let Some(judged) = judged(&policy, line) else {
        return;
    };
    let Some(event) = value(line) else { return };
    let levels = [
        &["context"][..],
        &["context", "consent"],
        &["context", "consent", "categoryPreferences"],
    ]
    .map(|path| {
        path.iter()
            .try_fold(&event, |at, key| at.get(*key))
            .unwrap_or(&Value::Null)
    });
    let said = levels.map(|value| (value.is_null(), value.is_object()));
    // The outermost that is no object decides.
    let first = said.iter().find(|(_, is_object)| !is_object);
    let broken = first.is_some_and(|(is_null, _)| !is_null);
    let silent = first.is_some_and(|(is_null, _)| *is_null);
    let granted = |category: &str| {
        let members = levels[2].as_object().into_iter().flatten();
        let named =
            members.filter(|(name, _)| name.trim().to_lowercase() == category.to_lowercase());
        let named: Vec<_> = named.map(|(_, value)| value).collect();
        !named.is_empty() && named.iter().all(|value| **value == Value::Bool(true))
    };
    let goes = match (broken, silent) {
        (true, _) => false,
        (false, true) => missing == Missing::Allow,
        (false, false) => require.iter().all(|category| granted(category)),
    };
    assert_eq!(judged.is_ok(), goes, "{judged:?}");
    if let Err(refusal) = judged {
        assert_eq!(refusal.reason, Reason::Consent);
        assert!(refusal.rule.starts_with("consent["));
    }
}

/// Whatever the line, the first filter that means an event decides, as a plain reading of the JSON
/// finds it.
///
/// The first byte chooses which filters there are; the rest is the line.
pub fn filters(data: &[u8]) {
    let [choice, line @ ..] = data else { return };
    let some = all()
        .iter()
        .zip(0..)
        .filter(|(_, at)| choice & (1 << at) != 0);
    let some: Vec<_> = some.map(|(filter, _)| filter.clone()).collect();
    let policy = Policy::new(&Options {
        filters: some.clone(),
        ..Options::default()
    });
    let policy = policy.expect("a config as the reference describes it");
    let Some(judged) = judged(&policy, line) else {
        return;
    };
    let (Some(event), Ok(call)) = (value(line), event::check(line)) else {
        return;
    };
    let at = |path: &str| {
        let step = |at: &'_ Value, key: &str| match at {
            Value::Array(list) => key.parse::<usize>().ok().and_then(|i| list.get(i)).cloned(),
            other => other.get(key).cloned(),
        };
        path.split('.')
            .try_fold(event.clone(), |value, key| step(&value, key))
    };
    let is_there = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => true,
    };
    let is = |value: &Value, wanted: &Scalar| match wanted {
        Scalar::Text(text) => value.as_str() == Some(text),
        Scalar::Flag(flag) => value.as_bool() == Some(*flag),
        Scalar::Number(digits) => value.is_number() && value.as_f64() == digits.parse().ok(),
    };
    let holds = |of: &Where| match &of.test {
        Test::Exists(exists) => at(&of.path).is_some_and(|value| is_there(&value)) == *exists,
        Test::In(values) => {
            at(&of.path).is_some_and(|value| values.iter().any(|one| is(&value, one)))
        }
    };
    let means = |filter: &Filter| {
        let name = event["event"]
            .as_str()
            .unwrap_or_default()
            .trim()
            .to_lowercase();
        let is_named = call.kind == event::Kind::Track
            && filter
                .events
                .iter()
                .any(|event| event.trim().to_lowercase() == name);
        (filter.events.is_empty() || is_named)
            && (filter.kinds.is_empty() || filter.kinds.contains(&call.kind))
            && filter.conditions.iter().all(holds)
    };
    let decides = some.iter().find(|filter| means(filter));
    let goes = decides.is_none_or(|filter| filter.action == Action::Keep);
    assert_eq!(judged.is_ok(), goes, "{judged:?}");
    if let (Err(refusal), Some(filter)) = (judged, decides) {
        assert_eq!(Some(&*refusal.rule), filter.name.as_deref());
    }
}

/// What becomes of a line that the socket takes.
fn judged(policy: &Policy, line: &[u8]) -> Option<Result<(), Refusal>> {
    let call = event::check(line)
        .ok()
        .filter(|call| call.kind.ignored().is_none())?;
    let judge = || policy.judge(call.kind, line, &|| false, &mut |_| ());
    let judged = judge();
    assert_eq!(judged, judge(), "the same line, the same verdict");
    Some(judged)
}

/// The line as `serde_json` reads it. It takes its own key for a number, and a number for a double.
fn value(line: &[u8]) -> Option<Value> {
    let is_odd = String::from_utf8_lossy(line).contains("private");
    (!is_odd)
        .then(|| serde_json::from_slice(line).ok())
        .flatten()
}

fn all() -> &'static [Filter] {
    static ALL: OnceLock<Vec<Filter>> = OnceLock::new();
    ALL.get_or_init(|| {
        let bare = |name: &str, action| Filter {
            name: Some(name.to_owned()),
            events: Vec::new(),
            kinds: Vec::new(),
            conditions: Vec::new(),
            bots: false,
            action,
        };
        let at = |path: &str, test| Where {
            path: path.to_owned(),
            test,
        };
        vec![
            Filter {
                events: vec!["Product Clicked".to_owned(), " other".to_owned()],
                ..bare("names", Action::Drop)
            },
            Filter {
                kinds: vec![event::Kind::Page],
                conditions: vec![at("properties.a", Test::Exists(false))],
                ..bare("pages", Action::Keep)
            },
            Filter {
                conditions: vec![at(
                    "properties.a",
                    Test::In(vec![
                        Scalar::Text("x".to_owned()),
                        Scalar::Number("10".to_owned()),
                        Scalar::Flag(true),
                    ]),
                )],
                ..bare("values", Action::Drop)
            },
            Filter {
                conditions: vec![
                    at("properties.products.0.sku", Test::Exists(true)),
                    at(
                        "context.ip",
                        Test::In(vec![Scalar::Text("10.0.0.1".to_owned())]),
                    ),
                ],
                ..bare("both", Action::Drop)
            },
        ]
    })
}
