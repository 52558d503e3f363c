//! The shapes of the outside API.
