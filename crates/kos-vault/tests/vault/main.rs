//! The vault from outside: its life, its golden bytes, files of the source document, and what a foreign reader says.
#![cfg(test)]

mod cast;
mod judges;
mod life;
mod source;
mod vectors;
