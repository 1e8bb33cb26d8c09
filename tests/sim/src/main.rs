//! A simulated fleet: many nodes, one clock, a bad network, power cuts.

fn main() {}
