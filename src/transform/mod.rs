//! From a stored line to the object that Pinterest gets. Pure: no clock, no I/O.
//!
//! `mapping.md` field by field, one file for each of its parts: `envelope` (event_name,
//! action_source, …), `user_data` with `address`, `epik`, `codes` and its `hashing`, `extended`,
//! `custom_data`, and `mappings` with its `destinations`,
//! what the config adds (`mapped`: what it gave for one event), and `items`, what an event is about.
//! `scalar` and `money` are its words (*scalar text*, *text list*, *amount*, *integer*): each tells
//! what is missing from what is there and cannot be read, which leaves one of the `notes`.
//! `payload` is the wire. `apply` puts it all together: [`Transform`], made of `options`,
//! turns a line into an `outcome`.
//!
//! `rows` is the same mapping as data, read by `reading`: `explain` tells by it where each field of
//! a payload came from, and `apply` which members of a line need not be parsed.
//!
//! `person` says by the same sources whether a line is of somebody. `tag` compares the names with
//! those of the Pinterest Tag beside us. `coverage` says which parts a payload has, and what else of
//! its event would give the others.
//!
//! The line is read once into a borrowed tree, without the members that no row and no mapping
//! looks at; texts are borrowed from it up to the output.

mod address;
mod apply;
mod codes;
mod coverage;
mod custom_data;
mod destinations;
mod envelope;
mod epik;
mod explain;
mod extended;
mod hashing;
mod items;
mod mapped;
mod mappings;
mod money;
mod notes;
mod options;
mod outcome;
mod payload;
mod person;
mod reading;
mod rows;
mod scalar;
mod tag;
mod user_data;

pub use apply::{Fixed, Transform, content_ids, limited_state};
pub use explain::{Explanation, Field, MappingNote, Tried};
pub use hashing::Hashing;
pub use options::{MappingRule, Options, OptionsError, Tag};
pub use outcome::{Dead, Payload, UnreadableTime, Unsendable};
pub use person::{EmailHash, Person};
pub use tag::Unlike;
