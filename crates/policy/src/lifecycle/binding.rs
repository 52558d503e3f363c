//! What a decision is bound to, and the two ways in which a request may be revised. "A decision
//! binds request, selection, policy digests, generation and recipient key": a revision makes
//! another request, to which no earlier decision applies.

use bailiwick_envelope::request::{DisclosureRequest, ScopeLine};
use bailiwick_types::{Digest, RequestId, SelectionId};

/// What a decision is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The request.
    pub request: RequestId,
    /// The frozen selection.
    pub selection: SelectionId,
    /// Digest of the forum's policy.
    pub forum_policy: Digest,
    /// Digest of the custody jurisdiction's policy.
    pub custody_policy: Digest,
    /// The request's generation.
    pub generation: u32,
    /// `H("recipient", key)` of the recipient's key.
    pub recipient: Digest,
}

/// A decision or a retry is bound to something else: whoever sent it is late or wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BindingMismatch {
    /// Another generation.
    #[error("generation: {got} is not the request's {current}")]
    Generation {
        /// The request's.
        current: u32,
        /// The decision's.
        got: u32,
    },
    /// Another policy version.
    #[error("policy: another version than the request pins")]
    Policy,
    /// Another recipient key.
    #[error("recipient: another key than the request's")]
    Recipient,
    /// Another request, and so another scope.
    #[error("request: another one, or another scope")]
    Request,
    /// Another selection.
    #[error("selection: another one than was frozen")]
    Selection,
}

impl Binding {
    /// The binding of a request with its frozen selection.
    pub fn of(request: &DisclosureRequest, selection: SelectionId) -> Self {
        Self {
            request: request.id(),
            selection,
            forum_policy: request.forum_policy,
            custody_policy: request.custody_policy,
            generation: request.generation,
            recipient: request.recipient.key.recipient_hash(),
        }
    }

    /// Checks that `other` is bound to the same.
    ///
    /// # Errors
    /// [`BindingMismatch`] names the first difference, the plainest first.
    pub fn check(&self, other: &Self) -> Result<(), BindingMismatch> {
        if other.generation != self.generation {
            let (current, got) = (self.generation, other.generation);
            return Err(BindingMismatch::Generation { current, got });
        }
        let policies = (self.forum_policy, self.custody_policy);
        if policies != (other.forum_policy, other.custody_policy) {
            return Err(BindingMismatch::Policy);
        }
        if other.recipient != self.recipient {
            return Err(BindingMismatch::Recipient);
        }
        if other.request != self.request {
            return Err(BindingMismatch::Request);
        }
        if other.selection != self.selection {
            return Err(BindingMismatch::Selection);
        }
        Ok(())
    }
}

/// Why a request is no revision of another: whoever entered it is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RevisionError {
    /// Not the next generation.
    #[error("generation: not one above the earlier request's")]
    Generation,
    /// Another order, recipient, jurisdiction or policy.
    #[error("{0}: differs from the earlier request's")]
    Other(&'static str),
    /// A narrowing asks for more than before.
    #[error("{0}: wider than the earlier request's")]
    Wider(&'static str),
    /// A narrowing that narrows nothing.
    #[error("scope, cap: nothing is narrower than before")]
    Same,
}

/// A narrower request of the same order. Only [`Narrowing::new`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Narrowing {
    pub(super) from: RequestId,
    pub(super) to: Binding,
}

impl Narrowing {
    /// `later` asks strictly less than `earlier`, for the same order.
    ///
    /// # Errors
    /// [`RevisionError`] names the field.
    pub fn new(
        earlier: &DisclosureRequest,
        later: &DisclosureRequest,
        selection: SelectionId,
    ) -> Result<Self, RevisionError> {
        check_same_order(earlier, later)?;
        if later.recipient != earlier.recipient {
            return Err(RevisionError::Other("recipient"));
        }
        if later.purpose != earlier.purpose {
            return Err(RevisionError::Other("purpose"));
        }
        if (later.forum_policy, later.custody_policy)
            != (earlier.forum_policy, earlier.custody_policy)
        {
            return Err(RevisionError::Other("policies"));
        }
        let inside = |line: &ScopeLine| earlier.scope.iter().any(|wide| contains(wide, line));
        if !later.scope.iter().all(inside) {
            return Err(RevisionError::Wider("scope"));
        }
        if later.cap > earlier.cap {
            return Err(RevisionError::Wider("cap"));
        }
        if later.not_after > earlier.not_after {
            return Err(RevisionError::Wider("not_after"));
        }
        if later.scope == earlier.scope && later.cap == earlier.cap {
            return Err(RevisionError::Same);
        }
        Ok(Self {
            from: earlier.id(),
            to: Binding::of(later, selection),
        })
    }
}

fn contains(wide: &ScopeLine, line: &ScopeLine) -> bool {
    wide.subject == line.subject
        && line
            .categories
            .iter()
            .all(|one| wide.categories.contains(one))
        && wide.from <= line.from
        && line.to <= wide.to
}

/// A corrected request of the same order. Only [`Correction::new`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Correction {
    pub(super) from: RequestId,
    pub(super) to: Binding,
}

impl Correction {
    /// `later` corrects `earlier`: anything but the order's identity may differ, since it is
    /// evaluated from the start.
    ///
    /// # Errors
    /// [`RevisionError`] names the field.
    pub fn new(
        earlier: &DisclosureRequest,
        later: &DisclosureRequest,
        selection: SelectionId,
    ) -> Result<Self, RevisionError> {
        check_same_order(earlier, later)?;
        Ok(Self {
            from: earlier.id(),
            to: Binding::of(later, selection),
        })
    }
}

fn check_same_order(
    earlier: &DisclosureRequest,
    later: &DisclosureRequest,
) -> Result<(), RevisionError> {
    if Some(later.generation) != earlier.generation.checked_add(1) {
        return Err(RevisionError::Generation);
    }
    let differs = |differs, field| match differs {
        true => Err(RevisionError::Other(field)),
        false => Ok(()),
    };
    differs(later.jurisdiction != earlier.jurisdiction, "jurisdiction")?;
    differs(later.forum != earlier.forum, "forum")?;
    differs(later.authority != earlier.authority, "authority")?;
    differs(later.reference != earlier.reference, "reference")
}
