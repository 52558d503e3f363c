//! A jurisdiction's policy and the rules of a lawful request, as pure functions
//! (docs/legal-process.md).
//!
//! [`Policy::parse`] reads one TOML file for one jurisdiction and version; [`evaluate`] applies every
//! enabled rule to typed facts and keeps each outcome with its evidence. What is absent denies: no
//! rules, no quorum, an empty allow-list.
//!
//! Not here: legal advice (the shipped policies are illustrative), signatures and logs (the facts
//! carry what others verified), and the replicated state of requests (`bailiwick-shard`).

pub mod case;
pub mod deadline;
pub mod evaluation;
pub mod facts;
pub mod law;
pub mod lifecycle;
pub mod order;
pub mod policy;
pub mod preservation;
pub mod replay;
pub mod rule;
pub mod vocabulary;

mod rules;

pub use case::CaseFacts;
pub use deadline::Deadlines;
pub use evaluation::{Disposition, Evaluation, Finding, evaluate};
pub use facts::{DecisionFact, InclusionFact, PolicyPins, RecipientFact, RequestFacts, Stage};
pub use law::Law;
pub use order::{Order, OrderRefusal};
pub use policy::{Limits, Policy, PolicyError, Quorum, Reach, describe_toml_error};
pub use rule::{Outcome, RuleId};

#[cfg(test)]
mod tests;
