//! The `tollward` command: everything it does is in the library.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // One provider for the whole process; an error only says that one is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tollward::cli::run()
}
