//! One command that starts both ends on one machine.

fn main() {}
