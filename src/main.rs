//! The binary: see the library's first page.

fn main() {}
