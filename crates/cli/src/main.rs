//! The binary `bailiwick`.

fn main() -> std::process::ExitCode {
    bailiwick_cli::main_with(std::env::args_os())
}
