//! The services: vault, approver and edge; HTTP, metrics and health.
