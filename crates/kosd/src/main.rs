//! The device daemon: `kosd enroll|run|status|id|decommission [--root DIR]`.

mod program;

use std::process::ExitCode;

fn main() -> ExitCode {
    program::run()
}
