//! Everything that a person or CI types.

fn main() {}
