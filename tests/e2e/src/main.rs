//! Black-box steps against the real programs.

fn main() {}
