//! An append-only log whose every entry can be proven, and the vocabulary of events.
