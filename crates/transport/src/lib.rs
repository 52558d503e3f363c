//! Mutual TLS, peer identity and role, the authorisation matrix, frames and deadlines.
