//! Which events, and under which names.

use super::*;

#[test]
fn event_names() {
    let name = |options: Options, members: &str| {
        let members = format!(r#"{members},"context":{{"ip":"1.2.3.4"}}"#);
        event_with(options, &members)["event_name"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let of = |event: &str| {
        let members = format!(r#""type":"track","event":"{event}""#);
        name(Options::default(), &members)
    };
    assert_eq!(name(Options::default(), PAGE), "page_visit");
    assert_eq!(name(Options::default(), SCREEN), "page_visit");
    for (chord, pinterest) in [
        ("Order Completed", "checkout"),
        ("Checkout Started", "initiate_checkout"),
        ("Product Added", "add_to_cart"),
        ("Product Viewed", "view_content"),
        ("Products Searched", "search"),
        ("Product Added to Wishlist", "add_to_wishlist"),
        ("\u{a0} oRDER cOMPLETED\\n", "checkout"),
        ("CHEC\u{212a}OUT STARTED", "initiate_checkout"),
        ("Order  Completed", "Order  Completed"),
        (" Signed Up ", " Signed Up "),
        ("page", "page"),
        ("PageVisit", "PageVisit"),
    ] {
        assert_eq!(of(chord), pinterest, "{chord}");
    }

    let configured = || Options {
        event_names: [
            ("Signed Up", "signup"),
            (" ORDER completed", "Kauf "),
            ("ÄÖ", "x"),
        ]
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .to_vec(),
        ..Options::default()
    };
    for (chord, pinterest) in [
        ("  signed up", "signup"),
        ("Order Completed", "Kauf "),
        ("äö", "x"),
        ("Product Viewed", "view_content"),
        ("Other", "Other"),
    ] {
        let members = format!(r#""type":"track","event":"{chord}""#);
        assert_eq!(name(configured(), &members), pinterest, "{chord}");
    }
    // For tracks alone, whatever a page's `event` says.
    let page = r#""type":"page","event":"Signed Up""#;
    assert_eq!(name(configured(), page), "page_visit");
}

#[test]
fn a_resend_goes_under_its_first_name() {
    let t = transform(Options::default());
    let line =
        br#"{"messageId":"m","type":"track","event":"Order Completed","context":{"ip":"1.1.1.1"}}"#;
    let sent = t
        .payload(line, FIXED, Some(" Öld \"name\""), &|_| false)
        .unwrap();
    assert_eq!(&*sent.event_name, " Öld \"name\"");
    let json = value(std::str::from_utf8(&sent.json).unwrap());
    assert_eq!(json["event_name"], " Öld \"name\"");
}
