//! The names of events that Pinterest knows of its own. Another name is a custom event, which counts
//! in reports only once somebody has mapped it in Ads Manager, byte for byte.

/// As the Conversions API writes them.
pub const STANDARD: [&str; 22] = [
    "add_payment_info",
    "add_to_cart",
    "add_to_wishlist",
    "app_install",
    "app_open",
    "checkout",
    "contact",
    "custom",
    "customize_product",
    "find_location",
    "initiate_checkout",
    "lead",
    "page_visit",
    "schedule",
    "search",
    "signup",
    "start_trial",
    "submit_application",
    "subscribe",
    "view_category",
    "view_content",
    "watch_video",
];

/// The standard name that this one is, in the API's spelling or in the Tag's: `AddToCart`,
/// `addtocart` and `add_to_cart` are one.
pub fn standard(name: &str) -> Option<&'static str> {
    fn letters(name: &str) -> impl Iterator<Item = u8> {
        let letters = name.bytes().filter(|byte| *byte != b'_');
        letters.map(|byte| byte.to_ascii_lowercase())
    }
    let is = |known: &&&str| letters(known).eq(letters(name));
    STANDARD.iter().find(is).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_in_each_spelling() {
        for (written, name) in [
            ("add_to_cart", Some("add_to_cart")),
            ("AddToCart", Some("add_to_cart")),
            ("addtocart", Some("add_to_cart")),
            ("PageVisit", Some("page_visit")),
            ("Add To Cart", None),
            ("Product Viewed", None),
            ("", None),
        ] {
            assert_eq!(standard(written), name, "{written}");
        }
        for name in STANDARD {
            assert_eq!(standard(name), Some(name));
        }
    }
}
