//! What an approver must know before it releases: checks as values, and the release order.
