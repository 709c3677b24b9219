//! What ARCHITECTURE.md says of imports: the table of the modules, and the layers within some
//! folders. The page is the list; nothing here repeats it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::code::Sources;
use super::graph::Graph;

/// The page.
pub fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    fs::read_to_string(path).expect("ARCHITECTURE.md")
}

/// A row of the table: a module, and those that it imports.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    pub module: String,
    pub imports: BTreeSet<String>,
}

/// The table `| module | job | may import |`.
pub fn modules(page: &str) -> Vec<Row> {
    let lines = page
        .lines()
        .skip_while(|line| !line.starts_with("| module |"));
    let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
    let rows = rows.map(|line| {
        let cells: Vec<_> = line.split('|').collect();
        let [_, module, _, imports, _] = cells[..] else {
            panic!("a row of three cells: {line}");
        };
        let names = ticked(imports);
        assert!(names.is_empty() == (imports.trim() == "nothing"), "{line}");
        Row {
            module: ticked(module).pop().expect("a module's name"),
            imports: names.into_iter().collect(),
        }
    });
    let rows: Vec<_> = rows.collect();
    assert!(
        !rows.is_empty(),
        "the table of the modules is not where it was"
    );
    rows
}

/// What stands between backticks.
fn ticked(text: &str) -> Vec<String> {
    let between = text.split('`').skip(1).step_by(2);
    between.map(str::to_owned).collect()
}

/// The layers of one folder, from the top.
#[derive(Debug)]
pub struct Layers {
    /// Below `src`.
    pub folder: String,
    rows: Vec<Vec<String>>,
}

/// Every fenced block of the page that is marked `layers`: the folder, then the rows. Behind `#`
/// stands what is for people.
pub fn layers(page: &str) -> Vec<Layers> {
    let blocks = page.split("```layers\n").skip(1);
    let blocks = blocks.map(|block| {
        let block = block.split("```").next().unwrap_or_default();
        let lines = block
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default());
        let mut lines = lines.map(str::trim).filter(|line| !line.is_empty());
        let folder = lines.next().expect("the folder of the layers");
        Layers {
            folder: folder.trim_end_matches('/').to_owned(),
            rows: lines
                .map(|row| row.split_whitespace().map(str::to_owned).collect())
                .collect(),
        }
    });
    blocks.collect()
}

impl Layers {
    /// Where the files of the folder do not stand as they should, and each import that goes up.
    pub fn wrong(&self, sources: &Sources, graph: &Graph) -> Vec<String> {
        let mut wrong = Vec::new();
        let inside = |file: &str| -> Option<String> {
            let name = file.strip_prefix(&self.folder)?.strip_prefix('/')?;
            name.strip_suffix(".rs").map(str::to_owned)
        };
        let mut met = BTreeSet::new();
        for file in sources.keys() {
            let Some(name) = inside(file) else { continue };
            let places = self.places(&name);
            met.extend(places.iter().copied());
            match places[..] {
                [_] => {}
                [] => wrong.push(format!("{}: {name} stands in no row", self.folder)),
                _ => wrong.push(format!("{}: {name} stands in several places", self.folder)),
            }
        }
        for (r, row) in self.rows.iter().enumerate() {
            for (at, entry) in row.iter().enumerate() {
                if !met.contains(&(r, at)) {
                    wrong.push(format!("{}: there is no {entry}", self.folder));
                }
            }
        }
        for (from, imports) in graph {
            let Some(above) = inside(from).and_then(|name| self.places(&name).pop()) else {
                continue;
            };
            for (to, names) in imports {
                let Some(below) = inside(to).and_then(|name| self.places(&name).pop()) else {
                    continue;
                };
                // Down, or to the right in the same row; within one `folder/` as it likes.
                if below < above {
                    wrong.push(format!("{from} → {to}, which stands above it: {names:?}"));
                }
            }
        }
        wrong
    }

    /// Row and place of a file; several, if it stands in several.
    fn places(&self, name: &str) -> Vec<(usize, usize)> {
        let mut places = Vec::new();
        for (r, row) in self.rows.iter().enumerate() {
            for (at, entry) in row.iter().enumerate() {
                let is_here = match entry.ends_with('/') {
                    true => name.starts_with(entry.as_str()),
                    false => name == entry,
                };
                if is_here {
                    places.push((r, at));
                }
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::super::graph::graph;
    use super::*;

    const PAGE: &str = "\
text
| module | job | may import |
|---|---|---|
| `event` | a call: `check` | nothing |
| `queue` | keeps | `event`, `clock` |

```layers
queue/sled
mod engine      # the entry
read/
store codec
```
";

    fn wrong(files: &[(&str, &str)]) -> Vec<String> {
        let named =
            |(file, text): &(&str, &str)| (format!("queue/sled/{file}"), (*text).to_owned());
        let sources: Sources = files.iter().map(named).collect();
        layers(PAGE)[0].wrong(&sources, &graph(&sources))
    }

    #[test]
    fn the_table_of_the_modules_is_read() {
        let rows = modules(PAGE);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].module, "event");
        assert!(rows[0].imports.is_empty());
        let both = ["clock", "event"].map(str::to_owned);
        assert_eq!(rows[1].imports, both.into());
    }

    const HOUSE: [(&str, &str); 6] = [
        ("mod.rs", "mod engine; pub use engine::Engine;"),
        ("engine.rs", "use super::read::one::f;"),
        (
            "read/one.rs",
            "use super::two; use super::super::store::Store;",
        ),
        ("read/two.rs", "use super::super::codec;"),
        ("store.rs", "use super::codec;"),
        ("codec.rs", ""),
    ];

    #[test]
    fn imports_go_down_the_layers_only() {
        assert_eq!(wrong(&HOUSE), Vec::<String>::new());
        let mut house = HOUSE;
        house[4].1 = "use super::read::two::Two;";
        let up = "queue/sled/store.rs → queue/sled/read/two.rs, which stands above it: {\"Two\"}";
        assert_eq!(wrong(&house), [up]);
        house[4].1 = "";
        house[5].1 = "use super::store::Store;";
        assert_eq!(wrong(&house).len(), 1, "to the left in its own row");
    }

    #[test]
    fn every_file_stands_in_one_row() {
        let mut house = HOUSE.to_vec();
        house.pop();
        house[3].1 = "";
        house[4].1 = "";
        assert_eq!(wrong(&house), ["queue/sled: there is no codec"]);
        house.push(("sync.rs", ""));
        house.push(("codec.rs", ""));
        assert_eq!(wrong(&house), ["queue/sled: sync stands in no row"]);
    }
}
