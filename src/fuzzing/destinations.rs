//! Where a mapping may lead, for those who draw settings at random.

const IN_PROPERTIES: [&str; 20] = [
    "value",
    "currency",
    "order_id",
    "content_ids",
    "contents",
    "num_items",
    "search_string",
    "content_name",
    "content_category",
    "content_brand",
    "opt_out_type",
    "predicted_ltv",
    "email",
    "phone",
    "first_name",
    "last_name",
    "city",
    "state",
    "zip",
    "country",
];

const OF_PERSON: [&str; 15] = [
    "em",
    "ph",
    "fn",
    "ln",
    "ct",
    "st",
    "zp",
    "country",
    "external_id",
    "click_id",
    "partner_id",
    "db",
    "ge",
    "hashed_maids",
    "customer_type",
];

/// Each destination that is no custom key, as the config writes it.
pub fn typed() -> impl Iterator<Item = String> {
    let in_properties = IN_PROPERTIES.map(|key| format!("properties.{key}"));
    let of_person = OF_PERSON.map(|field| format!("user_data.{field}"));
    in_properties.into_iter().chain(of_person)
}
