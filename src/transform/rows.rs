//! Which sources each field of the payload has but event_time, whose chain stands in
//! [`crate::event::time`], in their order, and how each is read: the rows of
//! the mapping as data. Properties in the tests hold this table to what the transform does.

use super::extended::{self, LOCALE, TEXTS, WIFI};
use super::reading::Reading::{self, *};
use super::user_data::EXTENDED_CLICK_IDS;

/// One source of a field.
pub(super) struct Source {
    /// A dot path into the event.
    pub path: &'static str,
    /// What it has to be.
    pub reading: Reading,
}

/// One field and its sources, first found wins.
pub(super) struct Row {
    /// Where it stands in the payload.
    pub field: &'static str,
    /// By precedence.
    pub sources: &'static [Source],
    /// Behind them, where the sources are extended.
    pub extended: &'static [Source],
    /// What gives the value when no source does.
    pub otherwise: Otherwise,
    /// A source that is there and cannot be read leaves nothing to stand in for it.
    pub ends: bool,
}

/// What stands behind the last source.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// The field is omitted.
    Omitted,
    /// A key of the config, or something else that is always there.
    Given(&'static str),
    /// Computed from properties.products.
    Products(&'static str),
    /// Made of these, on screens and in apps.
    Parts(&'static str),
}

const fn at(path: &'static str, reading: Reading) -> Source {
    Source { path, reading }
}

const fn row(field: &'static str, sources: &'static [Source]) -> Row {
    Row {
        field,
        sources,
        extended: &[],
        otherwise: Otherwise::Omitted,
        ends: false,
    }
}

/// With what stands behind the sources where they are extended.
const fn more(row: Row, extended: &'static [Source]) -> Row {
    Row { extended, ..row }
}

/// A row of money.
const fn ends(row: Row) -> Row {
    Row { ends: true, ..row }
}

const fn or(row: Row, given: &'static str) -> Row {
    Row {
        otherwise: Otherwise::Given(given),
        ..row
    }
}

/// Where event_source_url stands besides.
pub(super) const EXTENDED_URL: &str = "properties.url";

/// The path of one of [`TEXTS`].
const fn text(number: usize) -> Source {
    at(TEXTS[number].1, Id)
}

/// Fields that only extended sources give; those before user_data, then those in it.
pub(super) const EXTENDED: &[Row] = &[
    row("language", &[at(LOCALE, Language)]),
    row("app_id", &[text(0)]),
    row("app_name", &[text(1)]),
    row("app_version", &[text(2)]),
    row("device_brand", &[text(3)]),
    row("device_carrier", &[text(4)]),
    row("device_model", &[text(5)]),
    row("device_type", &[text(6)]),
    row("os_version", &[text(7)]),
    row("wifi", &[at(WIFI, Flag)]),
    Row {
        otherwise: Otherwise::Parts("context.app"),
        ..row("app_info", &[])
    },
    Row {
        otherwise: Otherwise::Parts("context.device, os, network, screen, locale and timezone"),
        ..row("device_info", &[])
    },
    row(
        "user_data.customer_type",
        &[at("properties.repeat", CustomerType)],
    ),
];

/// The fields of every event.
pub(super) const EVERY: &[Row] = &[
    more(
        row("event_source_url", &[at("context.page.url", Text)]),
        &[at(EXTENDED_URL, Text)],
    ),
    row("opt_out", &[at("context.device.adTrackingEnabled", OptOut)]),
    more(
        row(
            "user_data.em",
            &[
                at("properties.email", List(0)),
                at("context.traits.email", List(0)),
            ],
        ),
        &[at("traits.email", List(0))],
    ),
    more(
        row(
            "user_data.ph",
            &[
                at("properties.phone", List(1)),
                at("context.traits.phone", List(1)),
            ],
        ),
        &[at("traits.phone", List(1))],
    ),
    more(
        row(
            "user_data.fn",
            &[
                at("properties.first_name", List(2)),
                at("context.traits.firstName", List(2)),
            ],
        ),
        &[at("traits.firstName", List(2))],
    ),
    more(
        row(
            "user_data.ln",
            &[
                at("properties.last_name", List(3)),
                at("context.traits.lastName", List(3)),
            ],
        ),
        &[at("traits.lastName", List(3))],
    ),
    more(
        row(
            "user_data.ct",
            &[
                at("context.traits.address.city", List(4)),
                at("properties.address.city", List(4)),
            ],
        ),
        &[
            at("properties.shipping_city", List(4)),
            at("properties.ship_address.city", List(4)),
        ],
    ),
    more(
        row(
            "user_data.st",
            &[
                at("context.traits.address.state", List(5)),
                at("properties.address.state", List(5)),
            ],
        ),
        &[
            at("properties.shipping_state", List(5)),
            at("properties.address.state_name", List(5)),
            at("properties.ship_address.state_name", List(5)),
        ],
    ),
    more(
        row(
            "user_data.zp",
            &[
                at("context.traits.address.postalCode", List(6)),
                at("properties.address.postalCode", List(6)),
            ],
        ),
        &[
            at("properties.shipping_zipcode", List(6)),
            at("properties.address.zipcode", List(6)),
            at("properties.address.zip", List(6)),
            at("properties.ship_address.zipcode", List(6)),
        ],
    ),
    more(
        row(
            "user_data.country",
            &[
                at("context.traits.address.country", List(7)),
                at("properties.address.country", List(7)),
            ],
        ),
        &[
            at("properties.shipping_country", List(7)),
            at("properties.ship_address.country", List(7)),
        ],
    ),
    row(
        "user_data.external_id",
        &[at("userId", ExternalId), at("anonymousId", ExternalId)],
    ),
    row("user_data.client_ip_address", &[at("context.ip", Address)]),
    or(
        row(
            "user_data.client_user_agent",
            &[at("context.userAgent", Id)],
        ),
        "user_data.default_user_agent of the config",
    ),
    more(
        row(
            "user_data.click_id",
            &[
                at("context.page.url", EpikOfUrl),
                at("context.page.search", EpikOfSearch),
            ],
        ),
        &[
            at(EXTENDED_CLICK_IDS[0], Id),
            at(EXTENDED_CLICK_IDS[1], Id),
            at(EXTENDED_CLICK_IDS[2], EpikOfUrl),
        ],
    ),
    row(
        "user_data.partner_id",
        &[
            at("properties.partner_id", Id),
            at("context.campaign.name", Id),
        ],
    ),
];

/// custom_data of a track.
pub(super) const TRACK: &[Row] = &[
    ends(Row {
        otherwise: Otherwise::Products("the sum of price × quantity over properties.products"),
        ..row(
            "custom_data.value",
            &[
                at("properties.value", Amount),
                at("properties.price", Amount),
                at("properties.revenue", Amount),
            ],
        )
    }),
    ends(or(
        row(
            "custom_data.currency",
            &[
                at("properties.currency", Currency),
                at("properties.meta.i18n.currency", Currency),
            ],
        ),
        "pinterest.default_currency of the config",
    )),
    row(
        "custom_data.order_id",
        &[at("properties.order_id", Id), at("properties.cart_id", Id)],
    ),
    ITEMS_IDS,
    ITEMS_CONTENTS,
    Row {
        otherwise: Otherwise::Products("the sum of quantity over properties.products"),
        ..row(
            "custom_data.num_items",
            &[at("properties.quantity", Integer)],
        )
    },
    row(
        "custom_data.search_string",
        &[
            at("properties.query", ScalarText),
            at("properties.search_term", ScalarText),
        ],
    ),
];

/// Stands for the keys of `catalog.content_id`, each in the event's own properties.
const OWN_IDS: Source = at("properties", OwnId);

const ITEMS_IDS: Row = row(
    "custom_data.content_ids",
    &[at("properties.products", ProductIds), OWN_IDS],
);

const ITEMS_CONTENTS: Row = row(
    "custom_data.contents",
    &[at("properties.products", Contents), OWN_IDS],
);

/// Where the event's platform may be told, if nothing else gives its action_source.
pub(super) const PLATFORM: [&str; 2] = ["context.device.type", "context.os.name"];

/// Every path that is looked at besides, where the sources are extended.
pub(super) fn extended_paths() -> impl Iterator<Item = &'static str> {
    let rows = EVERY.iter().chain(TRACK).chain(PAGE);
    let sources = rows.flat_map(|row| row.extended);
    let behind = sources.map(|source| source.path);
    behind.chain(extended::paths())
}

/// Every path that a row looks at.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    let rows = EVERY.iter().chain(TRACK).chain(PAGE);
    let sources = rows.flat_map(|row| row.sources);
    sources.map(|source| source.path).chain(PLATFORM)
}

/// custom_data of a page.
pub(super) const PAGE: &[Row] = &[row(
    "custom_data.content_ids",
    &[
        at("properties.products", ProductIds),
        OWN_IDS,
        at("properties.title", Id),
        at("context.page.title", Id),
    ],
)];
