//! What stands at the top of a Segment call.

/// What stands at the top of an event: Segment's common fields, and what clients add.
const MEMBERS: [&str; 24] = [
    "_metadata",
    "anonymousId",
    "category",
    "channel",
    "context",
    "event",
    "groupId",
    "integrations",
    "messageId",
    "name",
    "options",
    "originalTimestamp",
    "previousId",
    "projectId",
    "properties",
    "receivedAt",
    "sentAt",
    "src",
    "timestamp",
    "traits",
    "type",
    "userId",
    "version",
    "writeKey",
];

/// Whether a call may have a member of this name: one of Segment's common fields, or what its clients
/// add. A shop may send others; nothing is known to.
pub fn is_member(name: &str) -> bool {
    MEMBERS.contains(&name)
}
