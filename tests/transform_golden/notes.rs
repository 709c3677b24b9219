//! What is told beside what is sent.

use super::*;
use pinrelay::event::{repair, sound};

#[test]
fn every_unreadable_source_leaves_one() {
    let members = format!(
        r#"{TRACK},"timestamp":"2023-11-14 22:13:20","userId":0,"anonymousId":true,
           "properties":{{"action_source":"mobile","email":["n/a","x"],"phone":"none",
             "order_id":"undefined","cart_id":7,"query":[1],"quantity":-1,"currency":"¥",
             "partner_id":false,"price":"$5",
             "products":[{{"product_id":true,"sku":"s","price":"5,0","quantity":-2,"name":["n"]}},7]}},
           "context":{{"ip":"10.0.0.1","userAgent":"null","campaign":{{"name":[1]}},
             "traits":{{"email":"a@b","phone":"x","firstName":true}},
             "page":{{"url":["u"],"search":5}},
             "device":{{"adTrackingEnabled":"perhaps"}}}}"#
    );
    assert_eq!(
        notes_with(Options::default(), &members),
        [
            "event_time timestamp assumed_utc",
            "action_source properties.action_source unreadable",
            "event_source_url context.page.url unreadable",
            "opt_out context.device.adTrackingEnabled unreadable",
            "em properties.email.0 placeholder",
            "em properties.email.1 unreadable",
            "ph properties.phone placeholder",
            "ph context.traits.phone unreadable",
            "fn context.traits.firstName unreadable",
            "external_id userId placeholder",
            "external_id anonymousId unreadable",
            "client_ip_address context.ip unreadable",
            "client_user_agent context.userAgent placeholder",
            "click_id context.page.search unreadable",
            "partner_id properties.partner_id unreadable",
            "partner_id context.campaign.name unreadable",
            "items properties.products.1 unreadable",
            "value properties.price unreadable",
            "currency properties.currency unreadable",
            "order_id properties.order_id placeholder",
            "contents properties.products.0.product_id unreadable",
            "contents properties.products.0.price unreadable",
            "contents properties.products.0.quantity negative",
            "contents properties.products.0.name unreadable",
            "num_items properties.quantity negative",
            "num_items properties.products.0.quantity negative",
            "search_string properties.query unreadable",
        ]
    );
    // What is missing leaves none, and a page has no contents.
    let quiet = format!(
        r#"{PAGE},"userId":" ","properties":{{"email":null,"phone":[],"products":[null,{{"sku":"s"}}]}},
           "context":{{"ip":"203.0.113.7","traits":{{"email":""}},"page":{{}}}}"#
    );
    assert_eq!(notes_with(Options::default(), &quiet), [""; 0]);
    let page = format!(
        r#"{PAGE},"properties":{{"sku":true,"product_id":"p","price":"x","title":[1]}},
           "context":{{"ip":"203.0.113.7"}}"#
    );
    assert_eq!(notes_with(Options::default(), &page), [""; 0]);
    let page = format!(
        r#"{PAGE},"properties":{{"products":[{{"product_id":[1]}}],"title":"N/A"}},
           "context":{{"ip":"203.0.113.7","page":{{"title":"T"}}}}"#
    );
    assert_eq!(
        notes_with(Options::default(), &page),
        [
            "content_ids properties.products.0.product_id unreadable",
            "content_ids properties.title placeholder"
        ]
    );
    // Of a screen nothing is computed.
    let screen = format!(
        r#"{SCREEN},"properties":{{"products":"x","currency":"¥"}},"context":{{"ip":"203.0.113.7"}}"#
    );
    assert_eq!(notes_with(Options::default(), &screen), [""; 0]);
    // What hashing leaves nothing of.
    let hashed = format!(
        r#"{PAGE},"properties":{{"phone":"000","address":{{"city":"--"}}}},
           "context":{{"ip":"203.0.113.7"}}"#
    );
    assert_eq!(
        notes_with(sha256(), &hashed),
        [
            "ph properties.phone unreadable",
            "ct properties.address.city unreadable"
        ]
    );
    assert_eq!(notes_with(Options::default(), &hashed), [""; 0]);
}

/// One cut emoji in a product's name must not cost a sale.
#[test]
fn damaged_text() {
    let line = br#"{"messageId":"m","type":"track","event":"X","context":{"ip":"203.0.113.7"},"properties":{"value":5,"products":[{"product_id":"p1","name":"Party mug \ud83c"}]}}"#;
    let why = check(line).err().expect("no JSON as it stands");
    let repaired = repair(line, why).expect("damaged text alone");
    let repaired = String::from_utf8(repaired).expect("UTF-8");
    let sent = payload(&transform(Options::default()), &repaired);
    let sent = value(std::str::from_utf8(&sent.json).unwrap());
    let data = &sent["custom_data"];
    assert_eq!(data["value"], "5");
    assert_eq!(data["contents"][0]["item_name"], "Party mug \u{fffd}");
    // Where it names the event, two that differ could become one.
    let id = b"{\"messageId\":\"m\xff\",\"type\":\"page\"}";
    let refused = sound(id).expect_err("refused").to_string();
    assert!(
        refused.starts_with("messageId holds invalid UTF-8"),
        "{refused}"
    );
}
