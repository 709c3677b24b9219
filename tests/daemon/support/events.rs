//! Events as shops send them: about 1.1 KB each, told apart by their number alone.

use std::ops::Range;

use serde_json::{Value, json};

/// One event, and what Pinterest is to see of it.
#[derive(Clone, Debug)]
pub struct Sample {
    pub id: String,
    /// On the wire.
    pub event_name: &'static str,
    /// Without the line feed.
    pub line: String,
}

/// The event of this number in a series.
pub fn sample(series: &str, n: usize) -> Sample {
    let id = format!("{series}-{n:06}");
    let product = json!({
        "product_id": format!("SKU-{:05}", n * 7919 % 100_000), "sku": format!("VAR-{n}"),
        "name": "Stoneware mug, speckled, 350 ml", "category": "Kitchen & dining",
        "brand": "Hearth", "price": 10.5 + (n % 90) as f64, "quantity": 1 + n % 3,
        "image_url": "https://cdn.shop.example/img/stoneware-mug-speckled-350.jpg",
        "url": "https://shop.example/products/stoneware-mug-speckled",
    });
    let (kind, name, event_name, properties) = match n % 5 {
        0 => {
            let order = json!({"order_id": format!("O-{n}"), "currency": "USD", "total": 42,
                "products": [product]});
            ("track", "Order Completed", "checkout", order)
        }
        1 => ("track", "Product Viewed", "view_content", product),
        2 => ("track", "Product Added", "add_to_cart", product),
        3 => (
            "page",
            "Home",
            "page_visit",
            json!({"title": "Home", "path": "/"}),
        ),
        _ => ("screen", "Start", "page_visit", json!({"title": "Start"})),
    };
    let mut event = json!({
        "messageId": id, "type": kind,
        "timestamp": rfc3339_now(),
        "anonymousId": format!("anon-{:08x}", n.wrapping_mul(2_654_435_761) & 0xffff_ffff),
        "userId": format!("user-{}", n % 5000),
        "properties": properties,
        "context": {
            "ip": format!("203.0.113.{}", n % 250 + 1),
            "userAgent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) \
                AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1",
            "locale": "en-US", "timezone": "America/New_York",
            "app": {"name": "Hearth storefront", "version": "8.14.2", "build": "81402"},
            "device": {"type": "ios", "manufacturer": "Apple", "model": "iPhone15,3"},
            "screen": {"width": 393, "height": 852, "density": 3},
            "library": {"name": "chord-js", "version": "3.1.0"},
            "page": {"url": format!("https://shop.example/products/mug?epik=dj0y{n}"),
                "path": "/products/mug", "referrer": "https://www.pinterest.com/"},
            "traits": {"email": format!("customer{n}@mail.example"), "phone": "+1 555 010 0199",
                "firstName": "Ada", "lastName": "Byron",
                "address": {"city": "New York", "state": "NY", "postalCode": "10001",
                    "country": "US"}},
        },
    });
    if kind == "track" {
        event["event"] = Value::from(name);
    } else {
        event["name"] = Value::from(name);
    }
    Sample {
        id,
        event_name,
        line: event.to_string(),
    }
}

/// The events of these numbers.
pub fn samples(series: &str, numbers: Range<usize>) -> Vec<Sample> {
    numbers.map(|n| sample(series, n)).collect()
}

/// The same with so many bytes more that do not compress.
pub fn noisy(series: &str, numbers: Range<usize>, bytes: usize) -> Vec<Sample> {
    let mut noise = 0x9e37_79b9_7f4a_7c15u64;
    let mut letter = || {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        char::from(
            b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
                [(noise >> 58) as usize],
        )
    };
    let mut samples = samples(series, numbers);
    for sample in &mut samples {
        let noise: String = (0..bytes).map(|_| letter()).collect();
        // Inside the event, in a place that is not sent.
        let end = sample.line.len() - 1;
        sample.line.truncate(end);
        sample.line.push_str(&format!(r#","noise":"{noise}"}}"#));
    }
    samples
}

/// Fixed within a run: Pinterest refuses what is over a week old.
fn rfc3339_now() -> &'static str {
    static NOW: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        let now = std::time::UNIX_EPOCH
            .elapsed()
            .expect("after 1970")
            .as_secs();
        let at = jiff::Timestamp::from_second(i64::try_from(now).expect("this century"));
        at.expect("this century").to_string()
    });
    &NOW
}

#[test]
fn samples_are_of_the_size_of_real_events() {
    for n in 0..1000 {
        let sample = sample("size", n);
        let bytes = sample.line.len();
        assert!((700..1400).contains(&bytes), "{bytes}: {}", sample.line);
    }
    assert_eq!(sample("a", 7).line, sample("a", 7).line);
}
