//! Writes the test vectors of suite 1: `cargo run --example vectors > docs/vectors/suite1.json`.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

#[path = "../tests/world/mod.rs"]
mod world;

fn main() {
    println!("{:#}", world::vectors::suite_1());
}
