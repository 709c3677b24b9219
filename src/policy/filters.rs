//! Filters: which events are meant by a rule.

use std::sync::OnceLock;

use woothee::parser::Parser;

use super::options::{Action, Filter, PolicyError, Scalar, Test};
use crate::event::{Kind, Node, Wanted};

/// A filter, ready to be asked.
pub(super) struct Rule {
    /// Trimmed, in lower case; empty: any.
    events: Vec<String>,
    kinds: Vec<Kind>,
    conditions: Vec<Condition>,
    bots: bool,
    pub action: Action,
}

struct Condition {
    path: Vec<Step>,
    test: Test,
}

struct Step {
    key: String,
    /// The same as an array's index, if it is decimal.
    index: Option<usize>,
}

impl Rule {
    /// `number`: its place in the file, from 1.
    pub fn new(number: usize, filter: &Filter) -> Result<Self, PolicyError> {
        let nothing = filter.events.is_empty() && filter.kinds.is_empty() && !filter.bots;
        if nothing && filter.conditions.is_empty() {
            return Err(PolicyError::Everything { number });
        }
        if !filter.events.is_empty()
            && !filter.kinds.is_empty()
            && !filter.kinds.contains(&Kind::Track)
        {
            return Err(PolicyError::NoTrack { number });
        }
        let condition = |of: &super::options::Where| match of
            .path
            .split('.')
            .any(|step| step.is_empty() || step == "*")
        {
            true => Err(PolicyError::Path {
                number,
                path: of.path.clone(),
            }),
            false => Ok(Condition {
                path: of.path.split('.').map(step).collect(),
                test: of.test.clone(),
            }),
        };
        Ok(Self {
            events: filter
                .events
                .iter()
                .map(|event| event.trim().to_lowercase())
                .collect(),
            kinds: filter.kinds.clone(),
            conditions: filter
                .conditions
                .iter()
                .map(condition)
                .collect::<Result<_, _>>()?,
            bots: filter.bots,
            action: filter.action,
        })
    }

    /// The first step of each path.
    pub fn heads(&self) -> impl Iterator<Item = &str> {
        let first = self.conditions.iter().filter_map(|of| of.path.first());
        first.map(|step| step.key.as_str())
    }

    /// Adds what it looks at.
    pub fn look_at(&self, wanted: &mut Wanted) {
        for condition in &self.conditions {
            wanted.add(condition.path.iter().map(|step| step.key.as_str()));
        }
    }

    /// Whether it means this event.
    pub fn means(&self, kind: Kind, root: &Node<'_>) -> bool {
        let of_kind = self.kinds.is_empty() || self.kinds.contains(&kind);
        of_kind
            && (self.events.is_empty() || self.has_name(kind, root))
            && self
                .conditions
                .iter()
                .all(|condition| condition.holds(root))
            && (!self.bots || is_bot(root))
    }

    fn has_name(&self, kind: Kind, root: &Node<'_>) -> bool {
        let name = root.at("event").as_str().filter(|_| kind == Kind::Track);
        let name = name.map(|name| name.trim().to_lowercase());
        name.is_some_and(|name| self.events.contains(&name))
    }
}

impl Condition {
    fn holds(&self, root: &Node<'_>) -> bool {
        let found = self.path.iter().try_fold(root, |node, step| match node {
            Node::Array(elements) => elements.get(step.index?),
            _ => node.get(&step.key),
        });
        match &self.test {
            Test::Exists(exists) => found.is_some_and(|node| !node.is_missing()) == *exists,
            Test::In(values) => found.is_some_and(|node| values.iter().any(|value| value.is(node))),
        }
    }
}

impl Scalar {
    fn is(&self, node: &Node<'_>) -> bool {
        match (self, node) {
            (Self::Text(text), Node::String(found)) => text == found,
            (Self::Flag(flag), Node::Bool(found)) => flag == found,
            (Self::Number(digits), Node::Number(found)) => {
                let found = found.to_string();
                *digits == found || same_number(digits, &found)
            }
            _ => false,
        }
    }
}

/// Whether two texts are one number, where a double tells numbers apart.
fn same_number(one: &str, other: &str) -> bool {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match (one.parse::<f64>(), other.parse::<f64>()) {
        (Ok(one), Ok(other)) => one.to_bits() == other.to_bits() && one.abs() < EXACT,
        _ => false,
    }
}

fn step(key: &str) -> Step {
    let decimal = key.bytes().all(|b| b.is_ascii_digit());
    Step {
        key: key.to_owned(),
        index: decimal.then(|| key.parse().ok()).flatten(),
    }
}

/// Whether the user agent says that it is a crawler.
fn is_bot(root: &Node<'_>) -> bool {
    static PARSER: OnceLock<Parser> = OnceLock::new();
    let agent = root.at("context").at("userAgent").as_str();
    agent.is_some_and(|agent| {
        let known = PARSER.get_or_init(Parser::new).parse(agent);
        known.is_some_and(|known| known.category == "crawler")
    })
}
