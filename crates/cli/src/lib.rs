//! The one binary: arguments, output and progress.
