//! Step 3: "QC for every certificate involved." QC(rd, selection) is, "in ONE cosigned checkpoint,
//! valid approvals of the SAME rd and selection from at least t_W distinct workflow slots and t_L
//! distinct legal-review slots of every certificate's current roster" (section 7).
//!
//! Counted is only what is logged, and only from the own fold of the log. Roster updates are not
//! part of this version: the current roster of a certificate is its own, version 0.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_envelope::IdentityKey;
use bailiwick_envelope::approval::{ApprovalStatement, Decision, RosterReference};
use bailiwick_envelope::certificate::{CertificateError, VerifiedCertificate};
use bailiwick_envelope::selection::Selection;
use bailiwick_types::limits::LIVE_CERTIFICATES;
use bailiwick_types::{CertificateId, Name, RequestId, Role, SelectionId, Slot};

use crate::checks::checkpoint::{CheckpointReference, CosignedCheckpoint};
use crate::checks::request::LoggedRequest;
use crate::facts::{LoggedDecision, RequestHistory};
use crate::follower::LogFollower;
use crate::trust::{JurisdictionTrust, Seat};

/// A decision to approve that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedDecision {
    /// For which slot.
    pub seat: Seat,
    /// Who, by the own trust file.
    pub person: Name,
    /// With which key.
    pub key: IdentityKey,
    /// The decision's leaf.
    pub leaf_index: u64,
}

/// Enough approvals of one request and one selection from both roles, for every certificate
/// involved. Only [`QuorumCertificate::verify`] makes one.
#[derive(Clone, Debug)]
pub struct QuorumCertificate {
    request: RequestId,
    selection: Selection,
    certificates: BTreeMap<CertificateId, VerifiedCertificate>,
    decisions: Vec<CountedDecision>,
    complete_at: u64,
    checkpoint: CheckpointReference,
}

/// Why there is no quorum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuorumRefusal {
    /// The request was verified under another checkpoint.
    #[error("the request was verified under another checkpoint")]
    OtherCheckpoint,
    /// The selection is not logged for this request under the checkpoint.
    #[error("the selection is not logged for this request below leaf {size}")]
    SelectionNotLogged {
        /// The checkpoint's size.
        size: u64,
    },
    /// No certificate, or more than a shard can have.
    #[error("{0} certificates are involved, which is none or too many")]
    Certificates(usize),
    /// A certificate is not that of the own trust file.
    #[error("a certificate is refused")]
    Certificate(#[from] CertificateError),
    /// A certificate is of another jurisdiction.
    #[error("a certificate is of another jurisdiction")]
    CertificateJurisdiction,
    /// A certificate is not logged under the checkpoint.
    #[error("certificate {0} is not logged under the checkpoint")]
    CertificateNotLogged(CertificateId),
    /// Too few slots of a role approved this request and selection.
    #[error("{counted} {role} slots approved this request and selection, {needed} are needed")]
    TooFew {
        /// The role.
        role: Role,
        /// How many distinct slots count.
        counted: usize,
        /// How many are needed.
        needed: usize,
    },
    /// One person stands behind the decisions of two slots.
    #[error("one person decided for {} slot {} and for {} slot {}", first.role, first.slot, second.role, second.slot)]
    SamePerson {
        /// The slot counted first.
        first: Seat,
        /// The other slot.
        second: Seat,
    },
    /// The person who entered the request decided on it.
    #[error("the person who entered the request decided for {} slot {}", .0.role, .0.slot)]
    Requester(Seat),
}

impl QuorumCertificate {
    /// Counts the logged approvals of a request and a selection.
    ///
    /// `certificates` are all certificates involved: those under which the selection's records are
    /// sealed. Each is verified again, against the own trust file.
    ///
    /// # Errors
    /// [`QuorumRefusal`] names what is missing.
    pub fn verify(
        checkpoint: &CosignedCheckpoint,
        follower: &LogFollower,
        request: &LoggedRequest,
        selection: SelectionId,
        certificates: &[VerifiedCertificate],
        trust: &JurisdictionTrust,
    ) -> Result<Self, QuorumRefusal> {
        if request.checkpoint() != checkpoint.reference()
            || trust.jurisdiction() != checkpoint.reference().jurisdiction
            || follower.origin() != trust.origin()
        {
            return Err(QuorumRefusal::OtherCheckpoint);
        }
        let size = checkpoint.size();
        let missing = QuorumRefusal::SelectionNotLogged { size };
        let history = follower.facts().request(request.id());
        let history = history.ok_or(missing.clone())?;
        let logged = history.selection(selection);
        let (logged, place) = logged.filter(|(_, at)| at.index < size).ok_or(missing)?;
        let certificates = involved(certificates, follower, trust, size)?;
        let ballot = Ballot {
            request,
            selection,
            certificates: &certificates,
            trust,
            size,
        };
        let decisions = ballot.count(history)?;
        let complete_at = ballot.complete_at(&decisions)?;
        Ok(Self {
            request: request.id(),
            selection: logged.clone(),
            decisions,
            complete_at: complete_at
                .max(place.index + 1)
                .max(request.place().index + 1),
            certificates,
            checkpoint: checkpoint.reference(),
        })
    }

    /// The request.
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// The selection as it was logged.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// The certificates involved, each verified against the own trust file.
    pub fn certificates(&self) -> &BTreeMap<CertificateId, VerifiedCertificate> {
        &self.certificates
    }

    /// The counted decisions, in canonical order of their slots.
    pub fn decisions(&self) -> &[CountedDecision] {
        &self.decisions
    }

    /// The least size of the log at which the quorum was complete: a release leaf belongs at this
    /// index or later.
    pub fn complete_at(&self) -> u64 {
        self.complete_at
    }

    /// Under which checkpoint.
    pub fn checkpoint(&self) -> CheckpointReference {
        self.checkpoint
    }
}

fn involved(
    certificates: &[VerifiedCertificate],
    follower: &LogFollower,
    trust: &JurisdictionTrust,
    size: u64,
) -> Result<BTreeMap<CertificateId, VerifiedCertificate>, QuorumRefusal> {
    if certificates.is_empty() || certificates.len() > LIVE_CERTIFICATES {
        return Err(QuorumRefusal::Certificates(certificates.len()));
    }
    let mut involved = BTreeMap::new();
    for certificate in certificates {
        // The caller's verification may have been against another roster than this trust's.
        let certificate = certificate.certificate().clone().verify(trust.roster())?;
        if certificate.body().jurisdiction != trust.jurisdiction() {
            return Err(QuorumRefusal::CertificateJurisdiction);
        }
        let id = certificate.id();
        let logged = follower.facts().certificate(id);
        if logged.is_none_or(|place| place.index >= size) {
            return Err(QuorumRefusal::CertificateNotLogged(id));
        }
        involved.insert(id, certificate);
    }
    Ok(involved)
}

/// What decisions are counted for.
struct Ballot<'a> {
    request: &'a LoggedRequest,
    selection: SelectionId,
    certificates: &'a BTreeMap<CertificateId, VerifiedCertificate>,
    trust: &'a JurisdictionTrust,
    size: u64,
}

impl Ballot<'_> {
    /// One decision per slot, the first that counts; slots with a valid refusal count no more.
    fn count(&self, history: &RequestHistory) -> Result<Vec<CountedDecision>, QuorumRefusal> {
        let mut counted: BTreeMap<Seat, CountedDecision> = BTreeMap::new();
        let mut refused: BTreeSet<Seat> = BTreeSet::new();
        for decision in history.decisions() {
            let Some(person) = self.person(decision) else {
                continue;
            };
            let statement = &decision.approval.statement;
            let seat = Seat {
                role: statement.role,
                slot: statement.slot,
            };
            if *person == self.request.request().entered_by {
                return Err(QuorumRefusal::Requester(seat));
            }
            // A refusal counts whatever selection it names and whenever it was logged; an approval
            // only for exactly this ballot, and only under the checkpoint.
            if statement.decision != Decision::Approve {
                refused.insert(seat);
            } else if self.is_of_ballot(statement) && decision.place.index < self.size {
                counted.entry(seat).or_insert_with(|| CountedDecision {
                    seat,
                    person: person.clone(),
                    key: decision.approval.reviewer,
                    leaf_index: decision.place.index,
                });
            }
        }
        counted.retain(|seat, _| !refused.contains(seat));
        let mut persons: BTreeMap<&Name, Seat> = BTreeMap::new();
        for decision in counted.values() {
            let second = decision.seat;
            if let Some(first) = persons.insert(&decision.person, second) {
                return Err(QuorumRefusal::SamePerson { first, second });
            }
        }
        Ok(counted.into_values().collect())
    }

    /// The person behind a decision on this request, if it is validly signed by a key that belongs
    /// to its slot in every certificate and in the own trust file.
    fn person(&self, decision: &LoggedDecision) -> Option<&Name> {
        let approval = &decision.approval;
        let statement = &approval.statement;
        let (role, slot) = (statement.role, statement.slot);
        let person = self
            .trust
            .roster()
            .reviewer(role, slot, &approval.reviewer)?;
        let mut certificates = self.certificates.values();
        let of_slot = certificates.all(|c| is_reviewer(c, role, slot, &approval.reviewer));
        let same = statement.request == self.request.id();
        (same && of_slot && approval.verify().is_ok()).then_some(person)
    }

    /// Whether a statement is about this selection and exactly these certificates and rosters.
    fn is_of_ballot(&self, statement: &ApprovalStatement) -> bool {
        let rosters = self.certificates.keys().map(|id| RosterReference {
            certificate: *id,
            roster: 0,
        });
        statement.selection == self.selection && statement.rosters.iter().copied().eq(rosters)
    }

    /// The least size at which both roles had their quorum.
    fn complete_at(&self, decisions: &[CountedDecision]) -> Result<u64, QuorumRefusal> {
        let mut size = 0;
        for role in Role::ALL {
            let needed = self.needed(role);
            let of_role = decisions
                .iter()
                .filter(|decision| decision.seat.role == role);
            let mut leaves: Vec<u64> = of_role.map(|decision| decision.leaf_index).collect();
            leaves.sort_unstable();
            let last = needed.checked_sub(1).and_then(|last| leaves.get(last));
            let last = last.ok_or(QuorumRefusal::TooFew {
                role,
                counted: leaves.len(),
                needed,
            })?;
            size = size.max(last + 1);
        }
        Ok(size)
    }

    /// The highest threshold of all certificates and the own trust file, and never below two.
    fn needed(&self, role: Role) -> usize {
        let of = |certificate: &VerifiedCertificate| {
            certificate.body().committee(role).threshold.needed()
        };
        let highest = self.certificates.values().map(of).max().unwrap_or(u8::MAX);
        let own = self.trust.roster().committee(role).needed;
        usize::from(highest.max(own).max(2))
    }
}

fn is_reviewer(
    certificate: &VerifiedCertificate,
    role: Role,
    slot: Slot,
    key: &IdentityKey,
) -> bool {
    let member = certificate.body().committee(role).member(slot);
    member.is_some_and(|member| member.reviewers.contains(key))
}
