//! What a service does to its own process before it reads a secret.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Keeps the memory of this process out of core dumps and from other processes of the same user:
/// the limit of a core file becomes 0 bytes for good, and the process is no longer dumpable, so a
/// crash leaves no file, not even through a pipe to a collector, and only root may attach to it.
///
/// # Errors
/// The operating system's error when it refuses; a service that meets it does not start.
pub(crate) fn hide_memory() -> std::io::Result<()> {
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{dumpable_behavior, getrlimit};

    #[test]
    fn a_service_leaves_no_core_dump() -> std::io::Result<()> {
        assert_ne!(dumpable_behavior()?, DumpableBehavior::NotDumpable);
        hide_memory()?;
        assert_eq!(dumpable_behavior()?, DumpableBehavior::NotDumpable);
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
        Ok(())
    }
}
