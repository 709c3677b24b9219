//! The real binary, over its real socket, against the stand-in as a process of its own.

mod support;
