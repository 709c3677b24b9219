//! How strace writes things down: descriptors, strings in hex, lists of arguments.

/// strace breaks a line after `, ` and leaves the space out.
pub fn gap(head: &str, tail: &str) -> &'static str {
    if head.ends_with(',') && !tail.starts_with(' ') {
        " "
    } else {
        ""
    }
}

/// `12<path>`: the number and the decoded path.
pub struct Descriptor {
    pub number: i64,
    pub path: String,
}

pub fn descriptor(text: &str) -> Option<Descriptor> {
    let (number, path) = text.split_once('<')?;
    let path = path.split('>').next()?;
    Some(Descriptor {
        number: number.parse().unwrap_or(-1),
        path: String::from_utf8(unhex(path)).ok()?,
    })
}

/// Decodes `\x41\x42`; other text stands for itself.
fn unhex(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len() / 4 + 1);
    let digit = |b: u8| char::from(b).to_digit(16).expect("a hex digit") as u8;
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'\\' && bytes.get(at + 1) == Some(&b'x') {
            out.push(digit(bytes[at + 2]) << 4 | digit(bytes[at + 3]));
            at += 4;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}

pub fn quoted(text: &str) -> Vec<u8> {
    assert!(!text.ends_with("..."), "strace cut a string short");
    unhex(text.trim_matches('"'))
}

/// Splits at `, ` outside of brackets; strings are hex and hold none.
pub fn arguments(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut out) = (0, 0, Vec::new());
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                out.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    out.push(text[start..].trim());
    out
}

/// The bytes of `[{iov_base="…", iov_len=3}, …]`.
pub fn vectors(text: &str) -> Vec<u8> {
    text.split("iov_base=")
        .skip(1)
        .flat_map(|part| quoted(part.split(',').next().unwrap_or_default()))
        .collect()
}
