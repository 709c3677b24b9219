//! The front page: its commands are there, and its links lead somewhere.

use std::path::Path;

use super::read;

/// The words behind `pinrelay` that it takes.
fn commands() -> Vec<String> {
    let command = pinrelay::cli::command_line();
    let names = command.get_subcommands().map(|c| c.get_name().to_owned());
    names.chain(["help".to_owned()]).collect()
}

#[test]
fn every_command_is_named_and_every_named_command_is_there() {
    let page = read("README.md");
    let commands = commands();
    assert!(commands.len() > 15, "{commands:?}");
    for command in &commands {
        let named = ["help", "mock-pinterest", "run", "demo"].contains(&command.as_str())
            || page.contains(&format!("`{command}`"))
            || page.contains(&format!("pinrelay {command}"));
        assert!(named, "{command} is not on the front page");
    }
    for (_, after) in page
        .match_indices("pinrelay ")
        .map(|(at, m)| page.split_at(at + m.len()))
    {
        let word: String = after
            .chars()
            .take_while(|c| c.is_ascii_lowercase() || *c == '-')
            .collect();
        let before = &page[..page.len() - after.len() - "pinrelay ".len()];
        let is_command =
            before.ends_with('`') || before.ends_with('\n') || before.ends_with("sudo ");
        if is_command && !word.is_empty() {
            assert!(commands.contains(&word), "`pinrelay {word}` is no command");
        }
    }
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Those of docs/ are looked at with the operator's page, to the anchor.
    for page in ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"].map(|page| root.join(page)) {
        let text = std::fs::read_to_string(&page).expect("a page");
        for (_, rest) in text
            .match_indices("](")
            .map(|(at, m)| text.split_at(at + m.len()))
        {
            let link = rest.split(')').next().unwrap_or_default();
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let target = page.parent().expect("a folder").join(file);
            assert!(target.exists(), "{}: {link}", page.display());
        }
    }
}
