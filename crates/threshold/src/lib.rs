//! The construction: sessions, ratchet, sealing, a member's values and opening.
