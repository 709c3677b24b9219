//! Consent and filters put together: whether an event goes, and which rule keeps it back.

use std::sync::Arc;

use super::consent::{Choice, PATH, SALE_OF_DATA, choice};
use super::filters::Rule;
use super::options::{Action, Filter, Missing, Options, PolicyError};
use crate::event::{Arena, Kind, Node, Wanted, is_member, parse_wanted};

/// Why an event is kept back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The customer has not granted what the config requires.
    Consent,
    /// A filter of the config means it.
    Filtered,
}

impl Reason {
    /// As it is written everywhere.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consent => "consent",
            Self::Filtered => "filtered",
        }
    }
}

/// What keeps an event back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// By which rule: `consent[marketing]` for a category that is not granted, `consent[missing]` and
    /// `consent[unreadable]`; a filter's name, or `filters[1]`.
    pub rule: Arc<str>,
}

/// Whether limited data processing is due where this line comes from: asked only where the sale of
/// data is refused.
pub type IsLimited<'a> = &'a dyn Fn() -> bool;

/// The rules under one config.
pub struct Policy {
    /// Each required category, and the rule that it is.
    require: Vec<(String, Arc<str>)>,
    missing: Missing,
    no_choices: Arc<str>,
    unreadable: Arc<str>,
    filters: Vec<(Rule, Arc<str>)>,
    /// As they are configured, in the same order.
    configured: Vec<Filter>,
    wanted: Wanted,
}

impl Policy {
    /// Takes the config's word for it, or says what is wrong with it.
    ///
    /// # Errors
    /// The first thing that is.
    pub fn new(options: &Options) -> Result<Self, PolicyError> {
        let mut wanted = Wanted::nothing();
        wanted.add(PATH[..2].iter().copied());
        for path in [&["event"][..], &["context", "userAgent"]] {
            wanted.add(path.iter().copied());
        }
        let mut filters: Vec<(Rule, Arc<str>)> = Vec::new();
        for (number, filter) in (1..).zip(&options.filters) {
            let rule = Rule::new(number, filter)?;
            rule.look_at(&mut wanted);
            let name = match &filter.name {
                Some(name) => name.as_str().into(),
                None => format!("filters[{number}]").into(),
            };
            if filters.iter().any(|(_, other)| *other == name) {
                let name = name.to_string();
                return Err(PolicyError::SameName { number, name });
            }
            filters.push((rule, name));
        }
        let require = options.consent.require.iter();
        let rule = |category: &String| (category.clone(), format!("consent[{category}]").into());
        Ok(Self {
            require: require.map(rule).collect(),
            missing: options.consent.missing,
            no_choices: "consent[missing]".into(),
            unreadable: "consent[unreadable]".into(),
            filters,
            configured: options.filters.clone(),
            wanted,
        })
    }

    /// Whether every event goes, unasked.
    pub fn is_empty(&self) -> bool {
        self.require.is_empty() && self.filters.is_empty()
    }

    /// What `check` warns of: filters that no event can be meant by.
    pub fn warnings(&self) -> Vec<String> {
        let odd = self.filters.iter().flat_map(|(rule, name)| {
            let heads = rule.heads().filter(|head| !is_member(head));
            heads.map(move |head| {
                format!(
                    "the filter {name}: a path of its where begins with \"{head}\", which is no part of a \
                     Segment call: what an event says is in properties, context and traits"
                )
            })
        });
        odd.collect()
    }

    /// Every rule that there may be a count of; a filter that lets events go has no reason. A filter
    /// with what it says, for one of the same name may be another.
    pub(super) fn rules(
        &self,
    ) -> impl Iterator<Item = (Option<Reason>, &Arc<str>, Option<&Filter>)> {
        let others = [&self.no_choices, &self.unreadable].into_iter();
        let required = self.require.iter().map(|(_, rule)| rule).chain(others);
        let required = required.filter(|_| !self.require.is_empty());
        let filters = self.filters.iter().zip(&self.configured);
        let filters = filters.map(|((rule, name), filter)| match rule.action {
            Action::Drop => (Some(Reason::Filtered), name, Some(filter)),
            Action::Keep => (None, name, Some(filter)),
        });
        required
            .map(|rule| (Some(Reason::Consent), rule, None))
            .chain(filters)
    }

    /// Whether an event goes: a line of this kind that was checked. `matched` is told the name of the
    /// filter that means it, also one that lets it go.
    ///
    /// # Errors
    /// What keeps it back.
    pub fn judge(
        &self,
        kind: Kind,
        line: &[u8],
        is_limited: IsLimited<'_>,
        matched: &mut dyn FnMut(&Arc<str>),
    ) -> Result<(), Refusal> {
        let arena = Arena::default();
        let Ok(root) = parse_wanted(&arena, line, &self.wanted) else {
            // Checked before, so this is not met; what cannot be read is not consent.
            return match self.require.is_empty() {
                true => Ok(()),
                false => Err(self.consent(&self.unreadable)),
            };
        };
        self.consented(&root, is_limited)?;
        for (rule, name) in &self.filters {
            if rule.means(kind, &root) {
                matched(name);
                return match rule.action {
                    Action::Keep => Ok(()),
                    Action::Drop => Err(Refusal {
                        reason: Reason::Filtered,
                        rule: name.clone(),
                    }),
                };
            }
        }
        Ok(())
    }

    fn consented(&self, root: &Node<'_>, is_limited: IsLimited<'_>) -> Result<(), Refusal> {
        for (category, rule) in &self.require {
            let is_sale = || category.trim().eq_ignore_ascii_case(SALE_OF_DATA);
            match choice(root, category) {
                Choice::Granted => {}
                Choice::Refused if is_sale() && is_limited() => {}
                Choice::Refused | Choice::Unnamed => return Err(self.consent(rule)),
                Choice::Missing if self.missing == Missing::Allow => {}
                Choice::Missing => return Err(self.consent(&self.no_choices)),
                Choice::Unreadable => return Err(self.consent(&self.unreadable)),
            }
        }
        Ok(())
    }

    fn consent(&self, rule: &Arc<str>) -> Refusal {
        Refusal {
            reason: Reason::Consent,
            rule: rule.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Consent, Scalar, Test, Where};

    fn judged(policy: &Policy, line: &str, is_limited: bool) -> String {
        let kind = crate::event::check(line.as_bytes()).ok().unwrap().kind;
        let mut matched = String::new();
        let judged = policy.judge(kind, line.as_bytes(), &|| is_limited, &mut |name| {
            matched = name.to_string();
        });
        match judged {
            Ok(()) => format!("goes {matched}").trim().to_owned(),
            Err(refusal) => format!("{} {}", refusal.reason.name(), refusal.rule),
        }
    }

    fn line(event: &str, rest: &str) -> String {
        format!(r#"{{"messageId":"m","type":"track","event":"{event}",{rest}}}"#)
    }

    fn choices(preferences: &str) -> String {
        let context = format!(r#""context":{{"consent":{{"categoryPreferences":{preferences}}}}}"#);
        line("E", &context)
    }

    #[test]
    fn only_what_is_granted_goes() {
        let policy = |missing| {
            let consent = Consent {
                require: vec!["Marketing".into(), "sale_of_data".into()],
                missing,
            };
            Policy::new(&Options {
                consent,
                filters: Vec::new(),
            })
            .unwrap()
        };
        let (deny, allow) = (policy(Missing::Deny), policy(Missing::Allow));
        let both = r#"{"marketing":true,"Sale_Of_Data":true}"#;
        assert_eq!(judged(&deny, &choices(both), false), "goes");
        for (preferences, said) in [
            (
                r#"{"marketing":false,"sale_of_data":true}"#,
                "consent consent[Marketing]",
            ),
            (r#"{"sale_of_data":true}"#, "consent consent[Marketing]"),
            (
                r#"{"marketing":true,"sale_of_data":false}"#,
                "consent consent[sale_of_data]",
            ),
            (r#"{"marketing":1}"#, "consent consent[unreadable]"),
            (r#""all""#, "consent consent[unreadable]"),
        ] {
            assert_eq!(
                judged(&deny, &choices(preferences), false),
                said,
                "{preferences}"
            );
            assert_eq!(
                judged(&allow, &choices(preferences), false),
                said,
                "{preferences}"
            );
        }
        let limited = choices(r#"{"marketing":true,"sale_of_data":false}"#);
        assert_eq!(judged(&deny, &limited, true), "goes");
        let refused = choices(r#"{"marketing":false,"sale_of_data":false}"#);
        assert_eq!(judged(&deny, &refused, true), "consent consent[Marketing]");
        let bare = line("E", r#""context":{}"#);
        assert_eq!(judged(&deny, &bare, false), "consent consent[missing]");
        assert_eq!(judged(&allow, &bare, false), "goes");
    }

    fn filter(action: Action) -> Filter {
        Filter {
            name: None,
            events: Vec::new(),
            kinds: Vec::new(),
            conditions: Vec::new(),
            bots: false,
            action,
        }
    }

    #[test]
    fn the_first_filter_that_means_an_event_decides() {
        let at = |path: &str, test| Where {
            path: path.into(),
            test,
        };
        let text = |text: &str| Scalar::Text(text.into());
        let policy = Policy::new(&Options {
            filters: vec![
                Filter {
                    name: Some("kept".into()),
                    events: vec![" product clicked ".into()],
                    conditions: vec![at(
                        "properties.price",
                        Test::In(vec![Scalar::Number("10".into())]),
                    )],
                    ..filter(Action::Keep)
                },
                Filter {
                    events: vec!["Product Clicked".into(), "Other".into()],
                    ..filter(Action::Drop)
                },
                Filter {
                    name: Some("staff".into()),
                    conditions: vec![
                        at(
                            "context.ip",
                            Test::In(vec![text("10.0.0.1"), text("10.0.0.2")]),
                        ),
                        at("properties.order_id", Test::Exists(false)),
                    ],
                    ..filter(Action::Drop)
                },
                Filter {
                    kinds: vec![Kind::Track],
                    bots: true,
                    ..filter(Action::Drop)
                },
            ],
            ..Options::default()
        })
        .unwrap();
        let bot = r#""context":{"userAgent":"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}"#;
        for (line, said) in [
            (
                line("PRODUCT clicked", r#""properties":{"price":10.0}"#),
                "goes kept",
            ),
            (
                line("Product Clicked", r#""properties":{"price":"10"}"#),
                "filtered filters[2]",
            ),
            (line(" other ", "\"a\":1"), "filtered filters[2]"),
            (
                line("E", r#""context":{"ip":"10.0.0.2"}"#),
                "filtered staff",
            ),
            (
                line(
                    "E",
                    r#""context":{"ip":"10.0.0.2"},"properties":{"order_id":"1"}"#,
                ),
                "goes",
            ),
            (line("E", r#""context":{"ip":"10.0.0.3"}"#), "goes"),
            (line("E", bot), "filtered filters[4]"),
            (
                format!(r#"{{"messageId":"m","type":"page",{bot}}}"#),
                "goes",
            ),
            (
                line(
                    "E",
                    r#""context":{"userAgent":"Mozilla/5.0 (Linux; CUBOT X30) Chrome/90"}"#,
                ),
                "goes",
            ),
        ] {
            assert_eq!(judged(&policy, &line, false), said, "{line}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_filter_is_named() {
        let of = |filters: Vec<Filter>| {
            let options = Options {
                filters,
                ..Options::default()
            };
            Policy::new(&options).err()
        };
        let named = |name: &str| Filter {
            name: Some(name.into()),
            bots: true,
            ..filter(Action::Drop)
        };
        assert_eq!(
            of(vec![filter(Action::Keep)]),
            Some(PolicyError::Everything { number: 1 })
        );
        let same = of(vec![named("a"), named("a")]);
        assert!(matches!(
            same,
            Some(PolicyError::SameName { number: 2, .. })
        ));
        let path = Filter {
            conditions: vec![Where {
                path: "a..b".into(),
                test: Test::Exists(true),
            }],
            ..filter(Action::Drop)
        };
        assert!(matches!(
            of(vec![path]),
            Some(PolicyError::Path { number: 1, .. })
        ));
        let no_track = Filter {
            events: vec!["E".into()],
            kinds: vec![Kind::Page],
            ..filter(Action::Drop)
        };
        assert_eq!(of(vec![no_track]), Some(PolicyError::NoTrack { number: 1 }));
    }
}
