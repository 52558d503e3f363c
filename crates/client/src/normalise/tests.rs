//! Placeholder head; vectors follow.
