//! The operator's hand: an API client library and a program around it.

fn main() {}
