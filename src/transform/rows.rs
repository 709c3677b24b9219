//! Which sources each field of the payload has but event_time, whose chain stands in
//! [`crate::event::time`], in their order, and how each is read: the rows of
//! the mapping as data. Properties in the tests hold this table to what the transform does.

use super::reading::Reading::{self, *};

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
}

const fn at(path: &'static str, reading: Reading) -> Source {
    Source { path, reading }
}

const fn row(field: &'static str, sources: &'static [Source]) -> Row {
    Row {
        field,
        sources,
        otherwise: Otherwise::Omitted,
        ends: false,
    }
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

/// The fields of every event.
pub(super) const EVERY: &[Row] = &[
    row("event_source_url", &[at("context.page.url", Text)]),
    row("opt_out", &[at("context.device.adTrackingEnabled", OptOut)]),
    row(
        "user_data.em",
        &[
            at("properties.email", List(0)),
            at("context.traits.email", List(0)),
        ],
    ),
    row(
        "user_data.ph",
        &[
            at("properties.phone", List(1)),
            at("context.traits.phone", List(1)),
        ],
    ),
    row(
        "user_data.fn",
        &[
            at("properties.first_name", List(2)),
            at("context.traits.firstName", List(2)),
        ],
    ),
    row(
        "user_data.ln",
        &[
            at("properties.last_name", List(3)),
            at("context.traits.lastName", List(3)),
        ],
    ),
    row(
        "user_data.ct",
        &[
            at("context.traits.address.city", List(4)),
            at("properties.address.city", List(4)),
        ],
    ),
    row(
        "user_data.st",
        &[
            at("context.traits.address.state", List(5)),
            at("properties.address.state", List(5)),
        ],
    ),
    row(
        "user_data.zp",
        &[
            at("context.traits.address.postalCode", List(6)),
            at("properties.address.postalCode", List(6)),
        ],
    ),
    row(
        "user_data.country",
        &[
            at("context.traits.address.country", List(7)),
            at("properties.address.country", List(7)),
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
    row(
        "user_data.click_id",
        &[
            at("context.page.url", EpikOfUrl),
            at("context.page.search", EpikOfSearch),
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

const ITEMS_IDS: Row = row(
    "custom_data.content_ids",
    &[
        at("properties.products", ProductIds),
        at("properties.product_id", OwnId),
        at("properties.sku", OwnId),
    ],
);

const ITEMS_CONTENTS: Row = row(
    "custom_data.contents",
    &[
        at("properties.products", Contents),
        at("properties.product_id", OwnId),
        at("properties.sku", OwnId),
    ],
);

/// Where the event's platform may be told, if nothing else gives its action_source.
pub(super) const PLATFORM: [&str; 2] = ["context.device.type", "context.os.name"];

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
        at("properties.product_id", OwnId),
        at("properties.sku", OwnId),
        at("properties.title", Id),
        at("context.page.title", Id),
    ],
)];
