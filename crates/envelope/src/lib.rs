//! Canonical encoding, domain tags, and every signed or hashed object with its verification.
