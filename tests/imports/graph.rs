//! Which file imports which, and the circles in that.
//!
//! A `mod.rs` is a file like any other: who names an item through it imports it, and it imports
//! what it re-exports. Declaring a module is no import.

use std::collections::{BTreeMap, BTreeSet};

use super::code::{Sources, without_texts};
use super::paths::paths;

/// From each file to those that it imports, with the names that it takes from there.
pub type Graph = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// The imports among these files.
pub fn graph(sources: &Sources) -> Graph {
    let modules: BTreeMap<Vec<String>, &String> =
        sources.keys().map(|file| (module(file), file)).collect();
    let mut graph = Graph::new();
    for (file, text) in sources {
        let own = module(file);
        let imports = graph.entry(file.clone()).or_default();
        for path in paths(&without_texts(text)) {
            let Some(path) = resolved(&own, &path) else {
                continue;
            };
            // The longest part of it that is a file; what follows is named in there.
            let ends = (0..=path.len()).rev();
            let found = ends.filter_map(|end| Some((end, *modules.get(&path[..end])?)));
            let Some((end, target)) = found.take(1).next() else {
                continue;
            };
            if target != file {
                let name = path.get(end).map_or("(module)", String::as_str);
                let names = imports.entry(target.clone()).or_default();
                names.insert(name.to_owned());
            }
        }
    }
    graph
}

/// `queue/sled/mod.rs` is `queue::sled`, and `lib.rs` the root.
fn module(file: &str) -> Vec<String> {
    let path = file.strip_suffix(".rs").unwrap_or(file);
    let path = path.strip_suffix("mod").unwrap_or(path);
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts
        .filter(|part| *part != "lib")
        .map(str::to_owned)
        .collect()
}

/// From the root of the crate on. `None`: beyond the root.
fn resolved(own: &[String], path: &[String]) -> Option<Vec<String>> {
    let mut rest = path.iter().peekable();
    let mut base = match rest.peek().map(|part| part.as_str()) {
        Some("crate") => {
            rest.next();
            Vec::new()
        }
        _ => own.to_vec(),
    };
    while let Some(part) = rest.peek() {
        match part.as_str() {
            "super" => drop(base.pop()?),
            "self" => {}
            _ => break,
        }
        rest.next();
    }
    base.extend(rest.filter(|part| *part != "self").cloned());
    Some(base)
}

/// Files that import each other, directly or not: each group once.
pub fn circles(graph: &Graph) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> = graph
        .keys()
        .map(|file| (file, reach(graph, file)))
        .collect();
    let mut circles: Vec<BTreeSet<String>> = Vec::new();
    for (file, from_it) in &reached {
        let back = |other: &&&String| reached[**other].contains(file);
        let circle: BTreeSet<String> = from_it.iter().filter(back).map(|f| (*f).clone()).collect();
        if !circle.is_empty() && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

fn reach<'g>(graph: &'g Graph, from: &String) -> BTreeSet<&'g String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(file) = open.pop() {
        for next in graph[file].keys() {
            if reached.insert(next) {
                open.push(next);
            }
        }
    }
    reached
}

/// The imports within a circle, one a line.
pub fn told(graph: &Graph, circle: &BTreeSet<String>) -> String {
    let mut lines = format!("a circle of {} files:\n", circle.len());
    for file in circle {
        let within = graph[file].iter().filter(|(to, _)| circle.contains(*to));
        for (to, names) in within {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            lines.push_str(&format!("  {file} → {to}: {}\n", names.join(", ")));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let named = |(file, text): &(&str, &str)| ((*file).to_owned(), (*text).to_owned());
        let graph = graph(&files.iter().map(named).collect());
        circles(&graph)
            .iter()
            .map(|circle| told(&graph, circle))
            .collect()
    }

    #[test]
    fn a_chain_is_no_circle() {
        let chain = [
            ("lib.rs", "pub mod x;"),
            (
                "x/mod.rs",
                "mod a; mod b; mod c; pub use a::A; fn f() { b::g() }",
            ),
            ("x/a.rs", "use super::b::B; // use super::X"),
            ("x/b.rs", "fn g() { super::c::h() }"),
            (
                "x/c.rs",
                "const C: &str = \"super::a::A\"; #[cfg(test)] mod t { use super::super::a; }",
            ),
        ];
        assert_eq!(found(&chain), Vec::<String>::new());
    }

    #[test]
    fn two_that_name_each_other() {
        let two = [
            ("x/mod.rs", "mod a; mod b;"),
            ("x/a.rs", "use super::b::{B, C};"),
            ("x/b.rs", "use super::a;"),
        ];
        let circle = "a circle of 2 files:\n  x/a.rs → x/b.rs: B, C\n  x/b.rs → x/a.rs: (module)\n";
        assert_eq!(found(&two), [circle]);
    }

    #[test]
    fn through_a_re_export() {
        let three = [
            (
                "x/mod.rs",
                "mod a;\nmod b;\npub use a::A;\npub(crate) use b::B;",
            ),
            ("x/a.rs", "use super::B;"),
            ("x/b.rs", "fn b() {}"),
        ];
        let circle = "a circle of 2 files:\n  x/a.rs → x/mod.rs: B\n  x/mod.rs → x/a.rs: A\n";
        assert_eq!(found(&three), [circle]);
        let both = [
            three[0],
            ("x/a.rs", "use crate::x::B;"),
            ("x/b.rs", "use super::A;"),
        ];
        assert!(found(&both)[0].starts_with("a circle of 3 files"));
    }

    #[test]
    fn through_a_path_within_the_code() {
        let three = [
            ("x/mod.rs", "mod a;\npub fn f() { a::g() }"),
            ("x/a.rs", "pub fn g() { crate::y::h() }"),
            ("y.rs", "pub fn h() { crate::x::f() }"),
        ];
        assert!(found(&three)[0].starts_with("a circle of 3 files"));
        let visible = [
            three[0],
            ("x/a.rs", "pub(in crate::x) fn g() {}"),
            ("y.rs", ""),
        ];
        assert!(found(&visible)[0].contains("x/a.rs → x/mod.rs: (module)"));
    }
}
