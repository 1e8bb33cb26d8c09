//! The authority: `kos-authority init|serve [--data DIR] [--port-base N]`.

mod program;

use std::process::ExitCode;

fn main() -> ExitCode {
    program::run()
}
