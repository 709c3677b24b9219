//! A day of a small shop, as events.

use serde_json::{Value, json};

/// The event that the stand-in refuses.
pub const REFUSED: &str = "order-completed-3";
/// Its words.
pub const REFUSAL: &str = "The order was reported before by another source";
/// The event that Pinterest could match to nobody.
const UNMATCHED: &str = "page-unmatched";

/// Visits on either side of the crash.
const VISITS: u32 = 24;
/// Lines that the shop's client sends again, having heard nothing.
const AGAIN: usize = 30;

/// What the shop sends.
pub struct Shop {
    /// NDJSON.
    pub morning: String,
    /// NDJSON; begins with the last lines of the morning once more.
    pub afternoon: String,
    calls: Vec<(String, &'static str)>,
    again: u64,
}

/// What has to come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// messageId and event_name of everything that Pinterest has to get, sorted.
    pub delivered: Vec<(String, String)>,
    /// Answers `queued`.
    pub queued: u64,
    /// Answers `duplicate`.
    pub duplicate: u64,
    /// Answers `ignored`.
    pub ignored: u64,
}

impl Shop {
    /// The same day each time.
    pub fn open() -> Self {
        let mut day: [Vec<Value>; 2] = Default::default();
        for visit in 0..2 * VISITS {
            let part = usize::from(visit >= VISITS);
            day[part].append(&mut self::visit(visit));
        }
        let unmatched = json!({"messageId": UNMATCHED, "type": "page", "anonymousId": "anon-0",
            "properties": {"title": "Imprint"}});
        day[0].insert(7, unmatched);
        let [morning, afternoon] = day;
        let again = &morning[morning.len() - AGAIN..];
        let repeated = again.iter().filter(|c| event_name(c).is_some()).count() as u64;
        let ignored_again = again.len() as u64 - repeated;
        let calls = (morning.iter().chain(&afternoon))
            .map(|call| {
                let id = call["messageId"].as_str().unwrap_or_default().to_owned();
                (id, event_name(call).unwrap_or(""))
            })
            .collect();
        let text = |calls: &mut dyn Iterator<Item = &Value>| -> String {
            calls.map(|call| format!("{call}\n")).collect()
        };
        Self {
            afternoon: text(&mut again.iter().chain(&afternoon)),
            morning: text(&mut morning.iter()),
            calls,
            again: ignored_again,
        }
    }

    /// All lines sent.
    pub fn lines(&self) -> u64 {
        (self.morning.lines().count() + self.afternoon.lines().count()) as u64
    }

    /// What the answers and the stand-in have to show.
    pub fn expected(&self) -> Expected {
        let forwarded = || self.calls.iter().filter(|(_, name)| !name.is_empty());
        let mut delivered: Vec<_> = forwarded()
            .filter(|(id, _)| id != REFUSED && id != UNMATCHED)
            .map(|(id, name)| (id.clone(), (*name).to_owned()))
            .collect();
        delivered.sort();
        let queued = forwarded().count() as u64;
        Expected {
            delivered,
            queued,
            duplicate: AGAIN as u64 - self.again,
            ignored: self.calls.len() as u64 - queued + self.again,
        }
    }
}

/// One visitor's calls.
fn visit(n: u32) -> Vec<Value> {
    let mobile = n % 3 == 2;
    let product = json!({
        "product_id": format!("SKU-{}", 100 + n % 17), "name": "Stoneware mug", "brand": "Hearth",
        "category": "Kitchen", "price": 18.5, "quantity": 1 + n % 2,
    });
    let order = json!({"order_id": format!("O-{}", 5000 + n), "currency": "USD",
        "products": [product]});
    let track = |slug: &str, event: &str, properties: &Value| {
        json!({"messageId": format!("{slug}-{n}"), "type": "track", "event": event,
            "properties": properties})
    };
    let opening = match mobile {
        true => json!({"messageId": format!("screen-{n}"), "type": "screen", "name": "Start"}),
        false => json!({"messageId": format!("page-{n}"), "type": "page", "name": "Home",
            "properties": {"title": "Hearth & Home"}}),
    };
    let mut calls = vec![
        json!({"messageId": format!("identify-{n}"), "type": "identify",
            "traits": {"email": format!("visitor{n}@mail.example")}}),
        opening,
        track("search", "Products Searched", &json!({"query": "mug"})),
        track("product-viewed", "Product Viewed", &product),
        track("product-added", "Product Added", &product),
    ];
    if n % 2 == 1 {
        calls.push(track("checkout-started", "Checkout Started", &order));
        calls.push(track("order-completed", "Order Completed", &order));
    }
    let context = json!({
        "ip": format!("203.0.113.{}", n + 1),
        "userAgent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_4) Safari/605.1.15",
        "page": {"url": format!("https://shop.example/mugs?epik=dj0y{n}"), "title": "Mugs"},
        "traits": {"email": format!("visitor{n}@mail.example"), "firstName": "Ada"},
    });
    for call in &mut calls {
        call["userId"] = format!("user-{n}").into();
        call["context"] = context.clone();
        call["timestamp"] = (jiff::Timestamp::now().as_second()).into();
    }
    calls
}

/// What the mapping makes of a call; `None`: it is not forwarded.
fn event_name(call: &Value) -> Option<&'static str> {
    Some(match call["event"].as_str() {
        Some("Products Searched") => "search",
        Some("Product Viewed") => "view_content",
        Some("Product Added") => "add_to_cart",
        Some("Checkout Started") => "initiate_checkout",
        Some("Order Completed") => "checkout",
        _ if call["type"] == "identify" => return None,
        _ => "page_visit",
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_expectation_covers_every_line() {
        let shop = Shop::open();
        let expected = shop.expected();
        assert_eq!(
            shop.lines(),
            expected.queued + expected.duplicate + expected.ignored
        );
        assert!(expected.duplicate > 0 && expected.ignored > 0);
        // Two do not get there: one refused, one without a match key.
        assert_eq!(expected.queued, expected.delivered.len() as u64 + 2);
        let ids: HashSet<_> = shop.calls.iter().map(|(id, _)| id).collect();
        assert_eq!(ids.len(), shop.calls.len(), "an id twice");
        assert!(shop.calls.iter().any(|(id, _)| id == REFUSED));
    }
}
