use super::*;
use crate::event::{Arena, Node, parse};

fn invalid(line: impl AsRef<[u8]>) -> Invalid {
    match check(line.as_ref()) {
        Ok(_) => panic!("accepted: {:?}", String::from_utf8_lossy(line.as_ref())),
        Err(invalid) => invalid,
    }
}

fn is_json_error(line: impl AsRef<[u8]>) -> bool {
    let error = invalid(&line);
    assert_eq!(
        parse(&Arena::default(), line.as_ref()).err(),
        Some(error.clone()),
        "parse and check differ"
    );
    matches!(error, Invalid::Json { .. } | Invalid::Utf8 { .. })
}

fn call(line: &str) -> Call<'_> {
    match check(line.as_bytes()) {
        Ok(call) => call,
        Err(e) => panic!("{line}: {e}"),
    }
}

/// A page with `extra` members in front of the ones it needs.
fn page(extra: &str) -> String {
    format!(r#"{{{extra}"messageId":"m","type":"page"}}"#)
}

/// The moment of acceptance.
const NOW: i64 = 1_700_100_000;

#[test]
fn keeps_what_the_socket_needs() {
    let c = call(
        r#"{"messageId":" m\u00e9-1 ","type":"track","event":"Order Completed",
            "timestamp":"2023-11-02T03:04:05.678Z","context":{"ip":"1.2.3.4"}}"#,
    );
    assert_eq!(c.message_id, " mé-1 ", "untrimmed");
    assert_eq!(c.kind, Kind::Track);
    assert_eq!(c.event_time(NOW), 1_698_894_245);
    let borrowed = check(br#"{"messageId":"m","type":"page"}"#);
    assert!(borrowed.is_ok_and(|c| matches!(c.message_id, Cow::Borrowed("m"))));
}

#[test]
fn kinds() {
    for (name, kind, ignored) in [
        ("page", Kind::Page, None),
        ("screen", Kind::Screen, None),
        ("identify", Kind::Identify, Some("identify")),
        ("group", Kind::Group, Some("group")),
        ("alias", Kind::Alias, Some("alias")),
    ] {
        let line = format!(r#"{{"messageId":"m","type":"{name}"}}"#);
        let c = call(&line);
        assert_eq!(
            (c.kind, c.kind.ignored(), c.kind.name()),
            (kind, ignored, name)
        );
    }
    for bad in [
        r#""Page""#,
        r#"" page""#,
        r#""""#,
        "null",
        "1",
        r#"["page"]"#,
        r#""checkout""#,
    ] {
        let line = format!(r#"{{"messageId":"m","type":{bad}}}"#);
        assert_eq!(invalid(&line), Invalid::UnknownType, "{bad}");
    }
    assert_eq!(invalid(r#"{"messageId":"m"}"#), Invalid::UnknownType);
}

#[test]
fn message_ids() {
    for bad in ["null", "7", "true", "[]", r#"{"a":1}"#] {
        let line = format!(r#"{{"messageId":{bad},"type":"page"}}"#);
        assert_eq!(invalid(&line), Invalid::NoMessageId, "{bad}");
    }
    assert_eq!(invalid(r#"{"type":"page"}"#), Invalid::NoMessageId);
    assert_eq!(
        invalid(r#"{"type":"page","messageid":"m"}"#),
        Invalid::NoMessageId
    );
    for bad in ["", " ", "\\n\\t", "\u{3000}\u{a0}\u{85}", "\\u2003"] {
        let line = format!(r#"{{"messageId":"{bad}","type":"page"}}"#);
        assert_eq!(invalid(&line), Invalid::EmptyMessageId, "{bad:?}");
    }
    // A zero-width space is not White_Space.
    call(r#"{"messageId":"\u200b","type":"page"}"#);
    let line = |id: &str| format!(r#"{{"messageId":"{id}","type":"page"}}"#);
    call(&line(&"é".repeat(256)));
    call(&line(&"\\u0061".repeat(512)));
    assert_eq!(
        invalid(line(&format!("{}a", "é".repeat(256)))),
        Invalid::LongMessageId { bytes: 513 }
    );
}

#[test]
fn a_track_needs_an_event() {
    let line = |event: &str| format!(r#"{{"messageId":"m","type":"track"{event}}}"#);
    assert_eq!(invalid(line("")), Invalid::NoEvent);
    for bad in ["null", "3", r#"["x"]"#, "{}"] {
        assert_eq!(
            invalid(line(&format!(r#","event":{bad}"#))),
            Invalid::NoEvent
        );
    }
    assert_eq!(invalid(line(r#","event":" \t ""#)), Invalid::EmptyEvent);
    call(&line(r#","event":" x ""#));
    // No other kind is asked for one.
    call(&page(r#""event":7,"#));
}

#[test]
fn checks_come_in_order() {
    // Invalid JSON before all else, also behind a complete object.
    assert!(is_json_error(r#"{"messageId":"","type":"x"} x"#));
    assert!(is_json_error("[1] x"));
    // Then the object, the id, the type, the event.
    assert_eq!(invalid("[]"), Invalid::NotObject);
    assert_eq!(invalid(r#"{"type":"x"}"#), Invalid::NoMessageId);
    assert_eq!(
        invalid(r#"{"messageId":" ","type":"x"}"#),
        Invalid::EmptyMessageId
    );
    assert_eq!(
        invalid(r#"{"messageId":"m","type":"x","event":1}"#),
        Invalid::UnknownType
    );
}

#[test]
fn everything_but_an_object_is_refused() {
    for line in [
        "null", "true", "1", "-1", "1.5", "1e400", r#""x""#, "[]", "[{}]",
    ] {
        assert_eq!(invalid(line), Invalid::NotObject, "{line}");
        assert!(parse(&Arena::default(), line.as_bytes()).is_ok());
    }
}

#[test]
fn invalid_json_wherever_it_stands() {
    for bad in [
        r#""\ud800""#,
        r#""\udc00""#,
        r#""\ud800x""#,
        r#""\ud800\u0041""#,
        r#""\ud800\ud800""#,
        r#""\x""#,
        "\"\u{1}\"",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "-",
        "NaN",
        "Infinity",
        "tru",
        "'x'",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\"}",
        "{a:1}",
        r#"{"\ud800":1}"#,
        r#"{"a":{"\udfff":1}}"#,
    ] {
        assert!(is_json_error(page(&format!(r#""x":{bad},"#))), "{bad}");
        assert!(is_json_error(page(&format!(r#""x":[[{bad}]],"#))), "{bad}");
        assert!(is_json_error(bad), "{bad}");
    }
    assert!(is_json_error(page(r#""\ud800":1,"#)));
    for whole in [
        "",
        " ",
        "{",
        r#"{"messageId":"m","type":"page""#,
        "{}{}",
        "\u{feff}{}",
    ] {
        assert!(is_json_error(whole), "{whole:?}");
    }
    // A pair of surrogates is a character.
    call(&page(r#""x":"\ud83d\ude00","#));
}

#[test]
fn invalid_utf8_wherever_it_stands() {
    for (text, column) in [
        (
            &b"{\"messageId\":\"m\",\"type\":\"page\",\"x\":\"\xff\"}"[..],
            37,
        ),
        (b"{\"\xc0\x80\":1}", 3),
        (b"{\"x\":\"\xed\xa0\x80\"}", 7),
        (b"{}\xe2\x82", 3),
    ] {
        assert!(is_json_error(text));
        assert_eq!(invalid(text), Invalid::Utf8 { column });
    }
}

#[test]
fn nesting_is_bounded_at_127_levels() {
    let nested = |n: usize| page(&format!(r#""x":{}1{},"#, "[".repeat(n), "]".repeat(n)));
    call(&nested(126)); // and the line's own object makes 127
    assert!(is_json_error(nested(127)));
    assert!(is_json_error(nested(10_000)));
    let objects = |n: usize| {
        page(&format!(
            r#""x":{}1{},"#,
            r#"{"a":"#.repeat(n),
            "}".repeat(n)
        ))
    };
    call(&objects(126));
    assert!(is_json_error(objects(127)));
    assert!(is_json_error("[".repeat(10_000)));
    // A number of many digits is no level.
    call(&nested(126).replace("1", "1.5e400"));
}

#[test]
fn the_column_is_told_and_no_value() {
    let error = invalid(r#"{"messageId":"secret@example.com" "type":"page"}"#).to_string();
    assert_eq!(error, "not valid JSON: expected `,` or `}` at column 35");
    let error = invalid(r#"{"messageId":"m","type":"secret@example.com"}"#).to_string();
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn of_a_repeated_key_the_last_one_counts() {
    let c = call(r#"{"messageId":"a","type":"x","messageId":"b","type":"page"}"#);
    assert_eq!((c.message_id.as_ref(), c.kind), ("b", Kind::Page));
    // An escaped key is the same key; the last one counts even if it is of no use.
    assert_eq!(
        invalid(r#"{"messageId":"a","type":"page","message\u0049d":null}"#),
        Invalid::NoMessageId
    );
    let line = page(r#""timestamp":1700000000,"timestamp":null,"sentAt":1600000000,"#);
    let c = call(&line);
    assert_eq!(c.event_time(NOW), 1_600_000_000);
    let arena = Arena::default();
    let Ok(node) = parse(&arena, br#"{"a":{"x":1},"a":{"y":2}}"#) else {
        panic!()
    };
    assert!(
        node.get("a")
            .is_some_and(|a| a.get("x").is_none() && a.get("y").is_some())
    );
}

#[test]
fn the_first_readable_time_wins_and_when_it_was_sent_only_stands_in_for_what_is_missing() {
    for (extra, expected) in [
        (
            r#""receivedAt":1700000004,"sentAt":1700000003,"originalTimestamp":1700000002,"timestamp":1700000001,"#,
            1_700_000_001,
        ),
        (
            r#""receivedAt":1700000004,"sentAt":1700000003,"originalTimestamp":1700000002,"timestamp":"x","#,
            1_700_000_002,
        ),
        (
            r#""receivedAt":1700000004,"sentAt":1700000003,"originalTimestamp":[1700000002],"#,
            NOW,
        ),
        (
            r#""receivedAt":1700000004,"sentAt":1700000003,"originalTimestamp":[],"timestamp":{},"#,
            1_700_000_003,
        ),
        (
            r#""receivedAt":1700000004,"sentAt":{"$serde_json::private::Number":"1700000003"},"#,
            1_700_000_004,
        ),
        (r#""timestamp":"1700000001","#, 1_700_000_001),
        (r#""timestamp":true,"sentAt":1700000000,"#, NOW),
        (r#""timestamp":1.7e9,"#, 1_700_000_000),
        (r#""timestamp":1700000000999,"#, 1_700_000_000),
        (r#""timestamp":1e400,"sentAt":1700000000.999,"#, NOW),
        (
            r#""timestamp":1700100601,"sentAt":1700000000.999,"#,
            1_700_000_000,
        ),
        (r#""timestamp":1700100600,"#, 1_700_100_600),
        (r#""timestamp":null,"sentAt":"  ","#, NOW),
        ("", NOW),
    ] {
        assert_eq!(call(&page(extra)).event_time(NOW), expected, "{extra}");
        // The tree says the same.
        let arena = Arena::default();
        let line = page(extra);
        let Ok(root) = parse(&arena, line.as_bytes()) else {
            panic!("{extra}")
        };
        let read = |at: usize| root.at(time::PATHS[at]).as_time();
        let chosen = time::choose(NOW, read, |_, _| ()).or_accepted(NOW);
        assert_eq!(chosen, expected, "{extra}");
    }
}

/// serde_json hands numbers over as a map with a key of its own. A client that writes that
/// key must get an object, not a number and not a refused line.
#[test]
fn a_number_and_its_impostor_are_told_apart() {
    const TOKEN: &str = "$serde_json::private::Number";
    for value in [
        r#""x""#,
        r#""1""#,
        r#""\u0031""#,
        "1",
        "1.5",
        "1e400",
        "null",
        "[1.5]",
        r#"{"a":1.5}"#,
    ] {
        let object = format!(r#"{{"{TOKEN}":{value}}}"#);
        let line = page(&format!(r#""x":{object},"#));
        call(&line);
        let arena = Arena::default();
        let Ok(tree) = parse(&arena, line.as_bytes()) else {
            panic!()
        };
        let Some(Node::Object(members)) = tree.get("x") else {
            panic!("not an object: {object}")
        };
        assert_eq!(members.len(), 1);
        assert_eq!(members[0].0, TOKEN);
        assert!(!members[0].1.is_object() || value.starts_with('{'));
        // At the root, and with more members behind it.
        assert_eq!(invalid(&object), Invalid::NoMessageId);
        call(&page(&format!(r#""{TOKEN}":{value},"#)));
        let nested = format!(r#"{{"{TOKEN}":{object},"b":2}}"#);
        assert!(parse(&Arena::default(), nested.as_bytes()).is_ok_and(|n| n.get("b").is_some()));
        // As messageId it is not a string.
        let line = format!(r#"{{"messageId":{object},"type":"page"}}"#);
        assert_eq!(invalid(&line), Invalid::NoMessageId);
    }
    // Nested impostors, each with a real number at the bottom.
    let deep = format!(r#"{{"{TOKEN}":{{"{TOKEN}":1.5}}}}"#);
    let arena = Arena::default();
    let Ok(tree) = parse(&arena, deep.as_bytes()) else {
        panic!()
    };
    let inner = tree.get(TOKEN).and_then(|n| n.get(TOKEN));
    assert!(inner.is_some_and(|n| matches!(n, Node::Number(n) if n.to_string() == "1.5")));
    // A real number inside anything stays one.
    for (text, shown) in [
        ("0", "0"),
        ("-0", "-0"),
        ("18446744073709551616", "18446744073709551616"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("1.50", "1.50"),
        ("1e400", "1e+400"),
        ("1E-400", "1e-400"),
    ] {
        let line = format!("[{text}]");
        let arena = Arena::default();
        let Ok(Node::Array(elements)) = parse(&arena, line.as_bytes()) else {
            panic!()
        };
        let Some(Node::Number(number)) = elements.first() else {
            panic!()
        };
        assert_eq!(number.to_string(), shown);
        assert_eq!(serde_json::to_string(number).ok().as_deref(), Some(shown));
    }
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,4})?",
            any::<String>().prop_map(|s| serde_json::to_string(&s).unwrap()),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            let key = prop_oneof![
                Just(r#""$serde_json::private::Number""#.to_owned()),
                Just(r#""messageId""#.to_owned()),
                "[a-c]".prop_map(|k| format!("\"{k}\"")),
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6)
                    .prop_map(|v| format!("[{}]", v.join(","))),
                prop::collection::vec((key, inner), 0..6).prop_map(|v| {
                    let members: Vec<_> = v.iter().map(|(k, v)| format!("{k}: {v}")).collect();
                    format!("{{{}}}", members.join(" ,"))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn check_and_parse_take_the_same_lines(line in prop::collection::vec(any::<u8>(), 0..60)) {
            let refused = parse(&Arena::default(), &line).err();
            match check(&line) {
                Err(e @ (Invalid::Json { .. } | Invalid::Utf8 { .. })) => prop_assert_eq!(refused, Some(e)),
                _ => prop_assert_eq!(refused, None),
            }
        }

        #[test]
        fn any_json_is_taken_and_any_cut_of_it_is_judged_alike(text in json(), cut in 0.0..1.0f64) {
            let line = page(&format!("\"x\":{text},"));
            prop_assert!(check(line.as_bytes()).is_ok());
            prop_assert!(parse(&Arena::default(), text.as_bytes()).is_ok());
            let cut = &line.as_bytes()[..(line.len() as f64 * cut) as usize];
            let invalid = matches!(check(cut), Err(Invalid::Json { .. } | Invalid::Utf8 { .. }));
            prop_assert!(invalid);
            prop_assert!(parse(&Arena::default(), cut).is_err());
        }
    }
}
