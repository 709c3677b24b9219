//! What would mend what is missing, in sentences that can be checked: how many events, what they
//! carry, and the line of the config.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::data::{Advice, NameQuality, QualityReport};
use crate::admin::report::Report;
use crate::admin::report::human::count;
use crate::admin::state::Settings;
use crate::coverage::{Cure, FIELDS, Prospect, place};
use crate::observe::Looked;

/// Fewer events than this share are worth no word, per cent.
const FEW: f64 = 5.0;
/// A filter that has meant nothing for so long is told, milliseconds.
const IDLE: i64 = 86_400_000;
/// Names that are named in a sentence.
const NAMES: usize = 3;
/// Looks before it is said that something was never found.
const ENOUGH: u64 = 20;

/// Fields that tell of a purchase or a cart, and the names that should have them.
const WITH_MONEY: [&str; 3] = ["checkout", "add_to_cart", "initiate_checkout"];

/// What a producer has to do for a field that no setting brings: none of it is in the event.
const SENDERS: [(&str, &str); 5] = [
    (
        "em",
        "send the customer's address as properties.email or context.traits.email, plain or as SHA-256",
    ),
    (
        "client_ip_address",
        "send the customer's address as context.ip; over HTTP, http_trust_forwarded takes it from the proxy",
    ),
    (
        "client_user_agent",
        "send the browser's user agent as context.userAgent: the default matches nobody",
    ),
    ("external_id", "send userId, or at least anonymousId"),
    (
        "click_id",
        "keep the epik parameter of the landing page, and send it in context.page.url or context.page.search",
    ),
];

/// What is advised, the most events first.
pub(super) fn advice(
    report: &QualityReport,
    looks: &BTreeMap<Arc<str>, Looked>,
    settings: &Settings,
    status: &Report,
) -> Vec<Advice> {
    let mut advice = Vec::new();
    for name in &report.names {
        let looked = looks
            .get(name.event_name.as_str())
            .cloned()
            .unwrap_or_default();
        advice.extend(
            looked
                .prospects
                .iter()
                .map(|(prospect, found)| of_prospect(name, prospect, *found, &looked, settings)),
        );
        advice.extend(of_producer(name, &looked));
        advice.extend(late(name));
        advice.extend(worth(name.zero_value, name).then(|| Advice {
            event_name: Some(name.event_name.clone()),
            field: Some("value".into()),
            text: format!(
                "value: {} of {} {} have a value of 0, which Pinterest advises against",
                count(name.zero_value),
                count(name.events),
                name.event_name
            ),
            line: None,
            weight: name.zero_value,
        }));
    }
    advice.extend(unused_ids(looks, settings));
    advice.extend(of_tag(report, settings));
    advice.extend(of_rules(status));
    advice.extend(of_notes(report));
    advice.sort_by(|a, b| b.weight.cmp(&a.weight).then_with(|| a.text.cmp(&b.text)));
    advice
}

/// What no setting brings, by what the last events lack: the counts may be of a config before.
fn of_producer(name: &NameQuality, looked: &Looked) -> Vec<Advice> {
    let missing = |field: &str| {
        let place = place(field)?;
        let missing = looked.events - looked.fields[place].min(looked.events);
        let is_found = looked.prospects.keys().any(|of| of.field == field);
        let is_much = super::data::percent(missing, looked.events) >= FEW;
        (is_much && !is_found).then_some(missing)
    };
    let is_of_money = WITH_MONEY.contains(&name.event_name.as_str());
    let value = (
        "value",
        "send it as properties.value, or map the property that holds it",
    );
    let asked = SENDERS.into_iter().chain(is_of_money.then_some(value));
    let told = asked.filter_map(|(field, what)| {
        let missing = missing(field)?;
        Some(Advice {
            event_name: Some(name.event_name.clone()),
            field: Some(field.to_owned()),
            text: format!(
                "{}; of {} looked at {} have none: {what}",
                lacking(name, field),
                count(looked.events),
                count(missing)
            ),
            line: None,
            weight: name.events * missing / looked.events.max(1),
        })
    });
    told.collect()
}

fn worth(missing: u64, name: &NameQuality) -> bool {
    missing > 0 && super::data::percent(missing, name.events) >= FEW
}

/// `ct: 0 of 4,120 checkout`.
fn lacking(name: &NameQuality, field: &str) -> String {
    let (with, all) = (count(name.with(field)), count(name.events));
    let component = FIELDS.iter().find(|(known, _)| *known == field);
    let scored = component.and_then(|(_, component)| *component);
    let scored = scored.filter(|scored| *scored != field);
    let scored = scored.map_or(String::new(), |scored| format!(" ({scored})"));
    format!("{field}{scored}: {with} of {all} {}", name.event_name)
}

fn of_prospect(
    name: &NameQuality,
    prospect: &Prospect,
    found: u64,
    looked: &Looked,
    settings: &Settings,
) -> Advice {
    let looked_at = looked.events;
    let line = match &prospect.cure {
        Cure::Sources => "[user_data]\nsources = \"extended\"".to_owned(),
        Cure::Codes => "[user_data]\ncodes = true".to_owned(),
        Cure::ContentId(key) => content_id_line(key, looked, settings),
        Cure::Mapping(destination) => format!(
            "[[mappings]]\nsource = {:?}\ndestination = {destination:?}",
            prospect.source
        ),
    };
    let (field, source) = (prospect.field, &prospect.source);
    let (found_in, of) = (count(found), count(looked_at));
    let text = match prospect.cure {
        Cure::Codes => format!(
            "{field}: of {of} {} looked at {found_in} have a name at {source}, where Pinterest matches \
             codes",
            name.event_name
        ),
        Cure::Mapping("user_data.em") => format!(
            "{}; of {of} looked at {found_in} carry {source}: if that is the customer's address",
            lacking(name, field)
        ),
        Cure::Mapping(_) => format!(
            "{}; of {of} looked at {found_in} carry {source}: if it means the same in every event that \
             has it, for a mapping stands over their own",
            lacking(name, field)
        ),
        Cure::Sources | Cure::ContentId(_) => format!(
            "{}; of {of} looked at {found_in} carry {source}",
            lacking(name, field)
        ),
    };
    let share = found as f64 / looked_at.max(1) as f64;
    Advice {
        event_name: Some(name.event_name.clone()),
        field: Some(field.to_owned()),
        text,
        line: Some(line),
        weight: (name.events as f64 * share) as u64,
    }
}

/// The ids with one more key: behind those that products have, so that no id changes.
fn content_id_line(key: &str, looked: &Looked, settings: &Settings) -> String {
    let own = settings
        .content_ids
        .iter()
        .map(String::as_str)
        .filter(|own| *own != key);
    let keys: Vec<&str> = match looked.ids.iter().any(|found| *found > 0) {
        true => own.chain([key]).collect(),
        false => [key].into_iter().chain(own).collect(),
    };
    content_ids(&keys)
}

fn content_ids(keys: &[&str]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| format!("{key:?}")).collect();
    format!("[catalog]\ncontent_id = [{}]", keys.join(", "))
}

/// Keys of the catalogue's ids that no product of any event has. The default's are there for those who
/// say nothing.
fn unused_ids(looks: &BTreeMap<Arc<str>, Looked>, settings: &Settings) -> Vec<Advice> {
    let with_products: u64 = looks.values().map(|looked| looked.with_products).sum();
    let found = |place: usize| -> u64 {
        let found = looks.values().filter_map(|looked| looked.ids.get(place));
        found.sum()
    };
    let keys = settings.content_ids.iter().enumerate();
    let keys = keys.filter(|(_, key)| !["product_id", "sku"].contains(&key.as_str()));
    let unused = keys.filter(|(place, _)| with_products >= ENOUGH && found(*place) == 0);
    let told = unused.map(|(_, key)| Advice {
        field: Some("content_ids".into()),
        text: format!(
            "catalog.content_id names {key:?}, and none of {} events about products that were looked at \
             has a product with it: mend the key, or take it out",
            count(with_products)
        ),
        line: Some(content_ids(
            &(settings.content_ids.iter())
                .map(String::as_str)
                .filter(|own| *own != key.as_str())
                .collect::<Vec<_>>(),
        )),
        weight: with_products,
        ..Advice::default()
    });
    told.collect()
}

fn late(name: &NameQuality) -> Option<Advice> {
    worth(name.late, name).then(|| Advice {
        event_name: Some(name.event_name.clone()),
        field: None,
        text: format!(
            "{} of {} {} left later than delivery.late_after: Pinterest reports them as offline, and \
             does not deduplicate them against the Tag; look when the producer sends",
            count(name.late),
            count(name.events),
            name.event_name
        ),
        line: None,
        weight: name.late,
    })
}

/// What the Tag names otherwise, of what was delivered.
fn of_tag(report: &QualityReport, settings: &Settings) -> Vec<Advice> {
    let told = settings.unlike_tag.iter().filter_map(|unlike| {
        let name = report
            .names
            .iter()
            .find(|name| name.event_name == unlike.here)?;
        let costly = match unlike.is_costly {
            true => format!(
                " (a custom event then; better, have the Tag send {})",
                unlike.here
            ),
            false => String::new(),
        };
        Some(Advice {
            event_name: Some(unlike.here.clone()),
            field: None,
            text: format!(
                "{} {} are {:?} in the Tag: Pinterest counts each twice where both send it{costly}",
                count(name.events),
                unlike.here,
                unlike.tag
            ),
            line: Some(format!("[event_names]\n{}", unlike.cure)),
            weight: name.events,
        })
    });
    told.collect()
}

/// Filters that mean nothing, and consent that has another shape.
fn of_rules(status: &Report) -> Vec<Advice> {
    let in_effect = status.rules.iter().filter(|rule| rule.in_effect);
    let told = in_effect.filter_map(|rule| {
        let is_filter = !rule.rule.starts_with("consent[");
        let last = rule.last_matched.unwrap_or(rule.since).max(rule.since);
        let is_idle = is_filter && rule.judged > 0 && status.now - last >= IDLE;
        let is_odd = rule.rule == "consent[unreadable]" && rule.kept_back > 0;
        let text = match (is_idle, is_odd) {
            (true, _) => format!(
                "the filter {} has meant no event for a day or longer ({} of {} judged before that): look at \
                 its event, its type and the path of its where",
                rule.rule,
                count(rule.matched),
                count(rule.judged)
            ),
            (_, true) => format!(
                "{} events were kept back because their consent cannot be read: \
                 context.consent.categoryPreferences has to be an object of names, each true or false",
                count(rule.kept_back)
            ),
            _ => return None,
        };
        Some(Advice {
            text,
            weight: rule.kept_back,
            ..Advice::default()
        })
    });
    told.collect()
}

/// Notes of money, time and match keys.
fn of_notes(report: &QualityReport) -> Vec<Advice> {
    let matters = ["value", "currency", "event_time", "em", "client_ip_address"];
    let notes = report
        .notes
        .iter()
        .filter(|note| matters.contains(&note.field.as_str()));
    let told = notes.take(NAMES).map(|note| Advice {
        field: Some(note.field.clone()),
        text: format!(
            "{}: {} notes {} in the last hour; mend the producer, `pinrelay tail --notes` names the \
             path",
            note.field,
            count(note.count),
            note.word
        ),
        weight: note.count,
        ..Advice::default()
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::report::{NoteCount, RuleCount};
    use crate::admin::state::UnlikeTag;
    use crate::coverage::{Coverage, Look};
    use crate::observe::{Quality, Span};

    const NOW: i64 = 1_800_000_000_000;

    /// So many checkouts with nothing but their ids, each looked at with this result.
    fn counted(events: u64, look: &Look) -> (QualityReport, BTreeMap<Arc<str>, Looked>) {
        let quality = Quality::default();
        quality.begin(None, NOW);
        let mut tally = crate::observe::Tally::default();
        for _ in 0..events {
            tally.count(Coverage::default(), false, false);
            quality.looked(NOW, "checkout", look.clone());
        }
        quality.delivered(NOW, [("checkout", tally)].into_iter());
        let report = QualityReport::new(Span::Hour, &quality.window(Span::Hour, NOW), NOW);
        (report, quality.looks(NOW))
    }

    fn texts(advice: &[Advice]) -> Vec<&str> {
        advice.iter().map(|of| of.text.as_str()).collect()
    }

    #[test]
    fn a_filter_that_means_nothing_for_a_day_and_consent_of_another_shape_are_told() {
        let (report, looks) = counted(0, &Look::default());
        let rule = |rule: &str, since, kept_back, matched| RuleCount {
            rule: rule.to_owned(),
            reason: Some("filtered".to_owned()),
            kept_back,
            matched,
            last_matched: (matched > 0).then_some(since + matched as i64),
            judged: 1_204,
            since,
            in_effect: true,
        };
        let old = NOW - IDLE;
        let gone = RuleCount {
            in_effect: false,
            ..rule("gone", old, 0, 0)
        };
        let status = Report {
            now: NOW,
            rules: vec![
                rule("staff", old, 0, 0),
                rule("young", old + 1, 0, 0),
                rule("used", old, 0, 3),
                rule("consent[unreadable]", old, 7, 0),
                rule("consent[marketing]", old, 0, 0),
                gone,
            ],
            ..Report::default()
        };
        let advice = advice(&report, &looks, &Settings::default(), &status);
        let told = texts(&advice);
        assert_eq!(told.len(), 2, "{told:#?}");
        assert!(
            told[0].starts_with("7 events were kept back because their consent cannot be read")
        );
        assert!(
            told[1]
                .starts_with("the filter staff has meant no event for a day or longer (0 of 1,204")
        );
    }

    #[test]
    fn a_key_that_no_product_has_is_told_unless_it_is_the_defaults() {
        let look = Look {
            ids: Some(vec![false, true, false]),
            ..Look::default()
        };
        let (report, looks) = counted(ENOUGH, &look);
        let settings = Settings {
            content_ids: vec!["varient_id".into(), "product_id".into(), "sku".into()],
            ..Settings::default()
        };
        let told = advice(&report, &looks, &settings, &Report::default());
        let told = texts(&told);
        let unused: Vec<_> = told
            .iter()
            .filter(|text| text.contains("content_id names"))
            .collect();
        assert_eq!(unused.len(), 1, "{told:#?}");
        assert!(unused[0].contains("\"varient_id\""));
    }

    #[test]
    fn what_is_found_stands_with_its_line_and_is_not_asked_of_the_producer_as_well() {
        let look = Look {
            prospects: vec![Prospect {
                field: "em",
                source: "properties.customer.mail".to_owned(),
                cure: Cure::Mapping("user_data.em"),
            }],
            ids: None,
            ..Look::default()
        };
        let (report, looks) = counted(40, &look);
        let told = advice(&report, &looks, &Settings::default(), &Report::default());
        let em: Vec<_> = told
            .iter()
            .filter(|of| of.field.as_deref() == Some("em"))
            .collect();
        assert_eq!(em.len(), 1, "{told:#?}");
        assert_eq!(
            em[0].text,
            "em (hashed_email): 0 of 40 checkout; of 40 looked at 40 carry properties.customer.mail: if \
             that is the customer's address"
        );
        assert_eq!(
            em[0].line.as_deref(),
            Some(
                "[[mappings]]\nsource = \"properties.customer.mail\"\ndestination = \"user_data.em\""
            )
        );
        let value = told.iter().find(|of| of.field.as_deref() == Some("value"));
        assert!(value.is_some_and(|of| of.line.is_none()), "{told:#?}");
    }

    #[test]
    fn the_tags_other_name_and_notes_of_money_are_told() {
        let (mut report, looks) = counted(3, &Look::default());
        report.notes = vec![NoteCount {
            field: "currency".into(),
            word: "unreadable".into(),
            count: 12,
        }];
        let settings = Settings {
            unlike_tag: vec![UnlikeTag {
                event: "Order Completed".into(),
                here: "checkout".into(),
                tag: "Sale".into(),
                cure: "\"Order Completed\" = \"Sale\"".into(),
                is_costly: true,
            }],
            ..Settings::default()
        };
        let told = advice(&report, &looks, &settings, &Report::default());
        let tag = told
            .iter()
            .find(|of| of.text.contains("in the Tag"))
            .expect("the Tag");
        assert!(
            tag.text.starts_with("3 checkout are \"Sale\" in the Tag"),
            "{}",
            tag.text
        );
        assert_eq!(
            tag.line.as_deref(),
            Some("[event_names]\n\"Order Completed\" = \"Sale\"")
        );
        let notes = told
            .iter()
            .find(|of| of.text.starts_with("currency: 12 notes unreadable"));
        assert!(notes.is_some(), "{told:#?}");
    }
}
