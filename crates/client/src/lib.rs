//! The SDK for backend services, intake, reviewers, recipients and auditors.
