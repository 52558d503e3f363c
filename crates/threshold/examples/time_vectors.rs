//! Writes the test vectors of keys and time:
//! `cargo run --example time_vectors > docs/vectors/keys_and_time.json`.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

#[path = "../tests/world/mod.rs"]
mod world;

fn main() {
    println!("{:#}", world::time_vectors::keys_and_time());
}
