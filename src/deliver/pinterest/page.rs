//! An HTML page in the place of an answer: a gateway's, a proxy's, a captive portal's.

use crate::deliver::normalise::normalise;

/// So far into a body its kind and its title are looked for.
const HEAD: usize = 8 << 10;
/// Characters of a title that are shown.
const LONGEST_TITLE: usize = 80;

/// What a page is called where an answer was expected, such as `an HTML page (HTTP 502, title "Bad
/// Gateway")`; `None` for any other body. No values of an event in it.
pub fn page(status: u16, body: &[u8]) -> Option<String> {
    let head = body.trim_ascii_start();
    let head = String::from_utf8_lossy(&head[..head.len().min(HEAD)]);
    // As long as the original, so that a place in one is the same place in the other.
    let lower = head.to_ascii_lowercase();
    let is_page = lower.starts_with('<')
        && (["<!doctype html", "<html", "<head", "<title", "<body"].iter())
            .any(|tag| lower.contains(tag));
    is_page.then(|| match title(status, &head, &lower) {
        Some(title) => format!("an HTML page (HTTP {status}, title \"{title}\")"),
        None => format!("an HTML page (HTTP {status}, no title)"),
    })
}

fn title(status: u16, head: &str, lower: &str) -> Option<String> {
    let tag = lower.find("<title")?;
    let from = tag + lower[tag..].find('>')? + 1;
    let to = from + lower[from..].find("</title")?;
    let title: String = (head[from..to].chars())
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    // Most repeat the status.
    let title = title.trim().trim_start_matches(&status.to_string());
    let title = title.trim_start_matches([' ', ':', '-', '|']);
    let title = normalise(title, "", b"");
    let title: String = title.chars().take(LONGEST_TITLE).collect();
    (!title.is_empty()).then_some(title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_named_by_its_status_and_title() {
        for (body, called) in [
            (
                "<html>\r\n<head><title>502 Bad Gateway</title></head>",
                "an HTML page (HTTP 502, title \"Bad Gateway\")",
            ),
            (
                "  <!DOCTYPE html><TITLE lang=en>\nsorry, ada@example.com\u{1b}[31m!\n</TITLE>",
                "an HTML page (HTTP 502, title \"sorry, … [#m!\")",
            ),
            ("<html><body>", "an HTML page (HTTP 502, no title)"),
            ("<html><title></title>", "an HTML page (HTTP 502, no title)"),
            ("<html><title", "an HTML page (HTTP 502, no title)"),
        ] {
            assert_eq!(page(502, body.as_bytes()).as_deref(), Some(called));
        }
        for other in [
            "",
            "oops",
            "{\"message\":\"<html>\"}",
            "<?xml version=\"1.0\"?><a/>",
        ] {
            assert_eq!(page(502, other.as_bytes()), None, "{other}");
        }
        let long = format!("<html><title>{}</title>", "ä".repeat(500));
        assert!(page(502, long.as_bytes()).unwrap().chars().count() < 130);
        // Cut within a character, and of another length in lower case.
        let cut = format!("<html><title>{}İ</title>", "é".repeat(HEAD / 2));
        assert!(page(502, cut.as_bytes()).is_some());
    }
}
