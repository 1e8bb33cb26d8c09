//! The operator's hand: a library that calls the API of an authority or a device, and the program around it.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    ExitCode::from(kosctl::run(env::args_os()))
}
