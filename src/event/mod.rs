//! A Segment call: what the socket must know of a line before it is stored
//! ([`check`](check())), and the same line as a borrowed tree for the transform ([`parse`]).
//!
//! Both read JSON through serde_json by visitors of our own. Invariant: they accept the same
//! lines, for they drive the same parser over the same text and neither skips a value without
//! visiting it (serde_json's `IgnoredAny` lets lone surrogates and any depth of nesting pass).
//! So what was accepted can be transformed. A line that only damaged text makes invalid is
//! [`repair`](repair())ed first. What was accepted may be read again without the
//! parts that nobody asks for ([`parse_wanted`]).
//!
//! Rules: `mapping.md`, "Which events" and the row `event_time`.

mod check;
mod decimal;
mod members;
mod node;
mod number;
mod repair;
pub mod time;
mod wanted;

pub use check::{Call, Invalid, Kind, MAX_MESSAGE_ID_BYTES, check};
pub use decimal::Decimal;
pub use members::is_member;
pub use node::{Arena, Node, parse, parse_wanted};
pub use number::Number;
pub use repair::{readable, repair, sound};
pub use wanted::Wanted;

/// What some editors and exports put before the first line of UTF-8 text.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whether a line counts as blank: nothing but ASCII white space. Blank lines get no answer,
/// but are counted.
pub fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}
