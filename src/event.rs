//! A Segment call as far as the socket needs it.
