//! The transport over real loopback sockets, with certificates made on the spot. One binary.

mod calls;
mod families;
mod floods;
mod identity;
mod matrix;
mod reload;
mod streams;
mod support;
