//! The worked examples, verbatim, and one event with everything in it.

use super::*;

#[test]
fn worked_examples() {
    assert_eq!(
        custom_with(
            Options::default(),
            r#""type":"track","event":"Order Completed""#,
            r#"{"products":[{"product_id":"p1","price":10.5,"quantity":2,"name":"Mug"},{"sku":"s2","price":"4"}],"order_id":991}"#,
        ),
        r#"{"value":"25","currency":"USD","order_id":"991","content_ids":["p1","s2"],"contents":[{"id":"p1","item_price":"10.5","quantity":2,"item_name":"Mug"},{"id":"s2","item_price":"4"}],"num_items":2}"#
    );
    assert_eq!(
        custom_with(
            Options::default(),
            r#""type":"track","event":"Product Viewed""#,
            r#"{"product_id":"p7","sku":"x","price":"19.990000000000002","name":" Cup ","currency":"eur"}"#,
        ),
        r#"{"value":"19.99","currency":"EUR","content_ids":["p7"],"contents":[{"id":"p7","item_price":"19.99","item_name":"Cup"}]}"#
    );
    let home = page_in(r#","page":{"title":"Home"}"#);
    assert_eq!(home["custom_data"], value(r#"{"content_ids":["Home"]}"#));
}

#[test]
fn a_whole_event_as_written() {
    let line = r#"{"messageId":" id 1 ","type":"track","event":"Order Completed","userId":42.0,
        "properties":{"email":"A@x.org","total":1,"opt_out":true,"np":"x"},
        "context":{"ip":" 2001:DB8::1 ","userAgent":" UA ","device":{"adTrackingEnabled":false},
        "page":{"url":" https://x.org/?epik=dj0%20a+b& "},"campaign":{"name":"c"}}}"#;
    let options = Options {
        partner_name: Some("ss-shop".to_owned()),
        ..Options::default()
    };
    let sent = payload(&transform(options), line);
    assert_eq!(
        String::from_utf8(sent.json).unwrap(),
        concat!(
            r#"{"event_name":"checkout","action_source":"web","event_time":1700000000,"#,
            r#""event_id":" id 1 ","event_source_url":"https://x.org/?epik=dj0%20a+b&","#,
            r#""partner_name":"ss-shop","opt_out":true,"user_data":{"em":["A@x.org"],"#,
            r#""external_id":["42"],"client_ip_address":"2001:DB8::1","client_user_agent":"UA","#,
            r#""click_id":"dj0 a b","partner_id":"c"},"custom_data":{"currency":"USD"}}"#
        )
    );
    assert_eq!(
        (&*sent.event_name, &*sent.message_id),
        ("checkout", " id 1 ")
    );
    assert!(sent.custom_keys.is_empty() && sent.notes.is_empty());
}
