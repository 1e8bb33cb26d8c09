//! The authority: `kos-authority init|serve [--data DIR] [--port-base N]`.

mod program;

use std::{alloc::System, process::ExitCode};

use zeroizing_alloc::ZeroAlloc;

/// Wipes what is given back: requests, answers and copies of keys would lie about in freed memory (decision 0016).
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    program::run()
}
