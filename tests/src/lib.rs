//! The library shared by the stories.
