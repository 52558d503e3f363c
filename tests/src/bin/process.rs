//! The program that the stories start as separate processes: exactly the binary's library, so that no
//! story depends on a binary built earlier.

use std::process::ExitCode;

fn main() -> ExitCode {
    bailiwick_cli::main_with(std::env::args_os())
}
