//! Past requests, as a file states them, and what triage does with each under a policy: how a draft
//! is tried against what was really asked before it comes into force.
//!
//! A file is one JSON object `{"requests": [..]}`; each request states its order and what was found
//! out about it. A replay asks what intake would have done at receipt: decisions, inclusion and
//! recipient keys are of another stage and are taken as in order. Accounts are replaced by a hash;
//! no text of a replay leaves it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use bailiwick_envelope::certificate::{TrustRoster, TrustedCommittee};
use bailiwick_envelope::request::{DisclosureRequest, Recipient, ScopeLine};
use bailiwick_envelope::{EncapsulationKey, HashTag, IdentityKey, hash};
use bailiwick_types::{Digest, Jurisdiction, Minute, Name, SubjectPseudonym, Timestamp};
use serde::Deserialize;

use crate::case::{
    AttributionPoint, AuthorityFact, CallbackFact, CaseFacts, DocumentFact, DualCriminalityFact,
    EarlierFact, EnforcingAnswer, HoldFact, NoticeFact, NotificationFact, OfficerFact,
};
use crate::evaluation::{Evaluation, evaluate};
use crate::facts::{InclusionFact, PolicyPins, RecipientFact, RequestFacts, Stage};
use crate::order::{Order, OrderFile, OrderRefusal, describe};
use crate::policy::Policy;
use crate::vocabulary::{AuthorityStatus, Conflict, DataCategory, IssuerKind, ProtectedSubject};

/// Longest file in bytes: 10,000 requests of about 3 KiB.
pub const REPLAY_BYTES: usize = 32 << 20;
/// Most requests of one file.
pub const REPLAY_REQUESTS: usize = 10_000;
/// What stands in for the officer's key and the contact of a call-back, which a replay does not have.
const STAND_IN: [u8; 32] = [1; 32];

/// Why a file of past requests cannot be replayed: its author's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// Too long, or too many requests.
    #[error("past requests: more than a file may have")]
    TooLong,
    /// No such JSON.
    #[error("past requests: {0}")]
    Form(String),
    /// A request's field.
    #[error("past request {label}: {field}: {reason}")]
    Field {
        /// The request's label.
        label: String,
        /// The field.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PastFile {
    requests: Vec<PastEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PastEntry {
    label: String,
    received_at: String,
    custody: Jurisdiction,
    entered_by: Name,
    cap: u32,
    order: OrderFile,
    #[serde(default)]
    findings: FindingsEntry,
    expected: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct FindingsEntry {
    authority: Option<AuthorityEntry>,
    officer: Option<OfficerEntry>,
    document: Option<DocumentEntry>,
    callback: Option<CallbackEntry>,
    notification: Option<NotificationEntry>,
    notice: Option<NoticeWord>,
    hold: Option<HoldEntry>,
    earlier: Option<EarlierWord>,
    dual_criminality: Option<DualEntry>,
    conflict: Option<Conflict>,
    protected: Option<BTreeSet<ProtectedSubject>>,
    points: Vec<PointEntry>,
    validate_by: Option<String>,
    panel: Vec<Name>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthorityEntry {
    kind: IssuerKind,
    status: AuthorityStatus,
    key_pinned: bool,
    competences: BTreeSet<DataCategory>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfficerEntry {
    status: AuthorityStatus,
    signed: bool,
    earlier_orders: u32,
    emergencies_today: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentEntry {
    digest: Digest,
    signed_at: String,
    certificate_from: String,
    certificate_until: String,
    validated_by: Option<Name>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallbackEntry {
    by: Name,
    registered_contact: bool,
    confirmed: bool,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum AnswerWord {
    None,
    Cleared,
    Objected,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NotificationEntry {
    notified_at: String,
    answer: AnswerWord,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum NoticeWord {
    ProviderInforms,
    AuthorityInforms,
    Gagged,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HoldEntry {
    placed_at: String,
    until: String,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum EarlierWord {
    None,
    SameRequest,
    SameDocuments,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DualEntry {
    custody: bool,
    establishment: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PointEntry {
    address: IpAddr,
    port: Option<u16>,
    at: Option<String>,
    shared: Option<bool>,
}

/// One past request.
#[derive(Clone, Debug)]
pub struct PastRequest {
    label: String,
    received_at: Timestamp,
    request: DisclosureRequest,
    case: CaseFacts,
    expected: Option<String>,
}

/// Reads a file of past requests.
///
/// # Errors
/// [`ReplayError`] names the request and the field.
pub fn parse_past_requests(text: &str) -> Result<Vec<PastRequest>, ReplayError> {
    if text.len() > REPLAY_BYTES {
        return Err(ReplayError::TooLong);
    }
    let file: PastFile =
        serde_json::from_str(text).map_err(|error| ReplayError::Form(describe(&error)))?;
    if file.requests.len() > REPLAY_REQUESTS {
        return Err(ReplayError::TooLong);
    }
    file.requests.into_iter().map(PastRequest::of).collect()
}

impl PastRequest {
    /// What the file calls it.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The forum of its order.
    pub fn forum(&self) -> Jurisdiction {
        self.request.forum
    }

    /// What the file expects triage to do, if it says.
    pub fn expected(&self) -> Option<&str> {
        self.expected.as_deref()
    }

    /// Evaluates the request as intake would have at receipt, had `policy` been in force then.
    pub fn evaluate(&self, policy: &Policy) -> Evaluation {
        let policy = policy.as_in_force_by(self.received_at);
        let digest = policy.digest();
        let mut request = self.request.clone();
        (request.forum_policy, request.custody_policy) = (digest, digest);
        let recipient = &request.recipient;
        let recipients = [RecipientFact {
            name: recipient.name.clone(),
            key: recipient.key.recipient_hash(),
            certificate: recipient.certificate,
            authorities: vec![request.authority.clone()],
        }];
        let nobody = TrustedCommittee {
            needed: 2,
            members: Vec::new(),
        };
        let roster = TrustRoster {
            workflow: nobody.clone(),
            legal_review: nobody,
        };
        let facts = RequestFacts {
            request: &request,
            stage: Stage::Intake,
            now: self.received_at,
            selected: None,
            decisions: &[],
            roster: &roster,
            inclusion: None::<InclusionFact>,
            policies: Some(PolicyPins {
                forum: digest,
                custody: digest,
            }),
            recipients: &recipients,
            received_at: Some(self.received_at),
            case: Some(&self.case),
        };
        evaluate(&policy, &facts)
    }

    fn of(entry: PastEntry) -> Result<Self, ReplayError> {
        let label = entry.label.clone();
        let wrong = |field: &str, reason: String| ReplayError::Field {
            label: label.clone(),
            field: field.to_owned(),
            reason,
        };
        let instant = |field: &str, text: &str| {
            Timestamp::parse_rfc3339(text).map_err(|error| wrong(field, error.to_string()))
        };
        let order = Order::of(entry.order)
            .map_err(|refusal: OrderRefusal| wrong(refusal.field, refusal.reason))?;
        let received_at = instant("received_at", &entry.received_at)?;
        let request = request(&order, entry.custody, &entry.entered_by, entry.cap)
            .ok_or_else(|| wrong("scope", "no window of minutes".to_owned()))?;
        let case = entry.findings.into_case(order, &request, &instant)?;
        Ok(Self {
            label: entry.label,
            received_at,
            request,
            case,
            expected: entry.expected,
        })
    }
}

/// A pseudonym that only this replay knows.
fn pseudonym(subject: &str) -> SubjectPseudonym {
    let digest = hash(HashTag::CommandKey, |e| {
        e.text("replay").text(subject);
    });
    let mut short = [0; 16];
    short.copy_from_slice(&digest.0[..16]);
    SubjectPseudonym(short)
}

/// The request that intake would have entered: the window rounded outward to whole minutes.
fn request(
    order: &Order,
    custody: Jurisdiction,
    entered_by: &Name,
    cap: u32,
) -> Option<DisclosureRequest> {
    let asked = &order.scope;
    let from = asked.from.minute();
    let last = asked.to.minute();
    let to = match last.start() == asked.to {
        true => last,
        false => Minute(last.0.checked_add(1)?),
    };
    let line = |subject: &String| ScopeLine {
        subject: pseudonym(subject),
        categories: asked.kinds.iter().copied().collect(),
        from,
        to,
    };
    let mut scope: Vec<ScopeLine> = asked.subjects.iter().map(line).collect();
    scope.sort();
    Some(DisclosureRequest {
        jurisdiction: custody,
        forum: order.forum,
        scope,
        purpose: asked.purpose,
        legal_basis: order.legal_basis.clone(),
        authority: order.authority.clone(),
        reference: order.reference.clone(),
        entered_by: entered_by.clone(),
        documents: order.documents,
        recipient: Recipient {
            name: order.authority.clone(),
            key: EncapsulationKey::new(&[1; 1216]).ok()?,
            certificate: Digest(STAND_IN),
        },
        cap,
        not_after: order.valid_until,
        forum_policy: Digest(STAND_IN),
        custody_policy: Digest(STAND_IN),
        generation: 1,
        salt: [0; 32],
    })
}

impl FindingsEntry {
    fn into_case(
        self,
        order: Order,
        request: &DisclosureRequest,
        instant: &dyn Fn(&str, &str) -> Result<Timestamp, ReplayError>,
    ) -> Result<CaseFacts, ReplayError> {
        let authority = self.authority.map(|entry| AuthorityFact {
            name: order.authority.clone(),
            kind: entry.kind,
            status: entry.status,
            key_pinned: entry.key_pinned,
            competences: entry.competences,
            callback_contact: Digest(STAND_IN),
        });
        let signed = self.officer.as_ref().is_some_and(|officer| officer.signed);
        let officer = self.officer.map(|entry| OfficerFact {
            name: order.officer.clone(),
            authority: order.authority.clone(),
            key: IdentityKey(STAND_IN),
            status: entry.status,
            earlier_orders: entry.earlier_orders,
            emergencies_today: entry.emergencies_today,
        });
        let document = self
            .document
            .map(|entry| entry.into_fact(signed, instant))
            .transpose()?;
        let callback = self.callback.map(|entry| CallbackFact {
            by: entry.by,
            contact: Digest(if entry.registered_contact {
                STAND_IN
            } else {
                [2; 32]
            }),
            confirmed: entry.confirmed,
        });
        let notification = match self.notification {
            Some(entry) => Some(NotificationFact {
                notified_at: instant("notification.notified_at", &entry.notified_at)?,
                answer: match entry.answer {
                    AnswerWord::None => EnforcingAnswer::None,
                    AnswerWord::Cleared => EnforcingAnswer::Cleared,
                    AnswerWord::Objected => EnforcingAnswer::Objected,
                },
            }),
            None => None,
        };
        let notice = self.notice.and_then(|word| match word {
            NoticeWord::ProviderInforms => Some(NoticeFact::ProviderInforms),
            NoticeWord::AuthorityInforms => Some(NoticeFact::AuthorityInforms),
            // A gag that the order does not state was never recorded.
            NoticeWord::Gagged => order.gag_until.map(|until| NoticeFact::Gagged { until }),
        });
        let hold = match self.hold {
            Some(entry) => Some(HoldFact {
                placed_at: instant("hold.placed_at", &entry.placed_at)?,
                until: instant("hold.until", &entry.until)?,
            }),
            None => None,
        };
        let mut points = Vec::with_capacity(self.points.len());
        for entry in self.points {
            points.push(AttributionPoint {
                address: entry.address,
                port: entry.port,
                at: entry
                    .at
                    .map(|text| instant("points.at", &text))
                    .transpose()?,
                shared: entry.shared,
            });
        }
        let validate_by = self
            .validate_by
            .map(|text| instant("validate_by", &text))
            .transpose()?;
        Ok(CaseFacts {
            order,
            authority,
            officer,
            document,
            callback,
            notification,
            notice,
            hold,
            earlier: self.earlier.map(|word| earlier(word, request)),
            dual_criminality: self.dual_criminality.map(|entry| DualCriminalityFact {
                custody: entry.custody,
                establishment: entry.establishment,
            }),
            conflict: self.conflict,
            protected: self.protected,
            points,
            validate_by,
            panel: self.panel,
        })
    }
}

impl DocumentEntry {
    fn into_fact(
        self,
        signed: bool,
        instant: &dyn Fn(&str, &str) -> Result<Timestamp, ReplayError>,
    ) -> Result<DocumentFact, ReplayError> {
        Ok(DocumentFact {
            digest: self.digest,
            signer: IdentityKey(if signed { STAND_IN } else { [2; 32] }),
            signed_at: instant("document.signed_at", &self.signed_at)?,
            certificate_from: instant("document.certificate_from", &self.certificate_from)?,
            certificate_until: instant("document.certificate_until", &self.certificate_until)?,
            validated_by: self.validated_by,
        })
    }
}

fn earlier(word: EarlierWord, request: &DisclosureRequest) -> Vec<EarlierFact> {
    let fact = |reference: &str| EarlierFact {
        authority: request.authority.clone(),
        reference: reference.to_owned(),
        scope: request.scope.clone(),
        documents: request.documents,
    };
    match word {
        EarlierWord::None => Vec::new(),
        EarlierWord::SameRequest => vec![fact(&request.reference)],
        EarlierWord::SameDocuments => vec![fact("")],
    }
}
