//! What a verifier knows about the order behind a request, beyond the request itself: each fact says
//! who established it. A fact that nobody established is `None`, which no rule takes for a pass.

use std::collections::BTreeSet;
use std::net::IpAddr;

use bailiwick_envelope::IdentityKey;
use bailiwick_envelope::request::ScopeLine;
use bailiwick_types::{Digest, Name, Timestamp};

use crate::order::Order;
use crate::vocabulary::{AuthorityStatus, Conflict, DataCategory, IssuerKind, ProtectedSubject};

/// An authority of the verifier's own register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityFact {
    /// Its name.
    pub name: Name,
    /// The role in which it issues.
    pub kind: IssuerKind,
    /// How far its enrolment has come.
    pub status: AuthorityStatus,
    /// Whether at least one of its keys is pinned.
    pub key_pinned: bool,
    /// Categories that it may order. None: nothing.
    pub competences: BTreeSet<DataCategory>,
    /// Digest of the contact that a call-back must use.
    pub callback_contact: Digest,
}

/// An officer of the verifier's own register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfficerFact {
    /// The officer.
    pub name: Name,
    /// The authority that the officer belongs to.
    pub authority: Name,
    /// The officer's pinned key.
    pub key: IdentityKey,
    /// How far the enrolment has come.
    pub status: AuthorityStatus,
    /// Orders of this officer that were answered before; 0 marks a new officer.
    pub earlier_orders: u32,
    /// Emergencies that the officer claimed on this UTC day, this one not counted.
    pub emergencies_today: u32,
}

/// The documents with their verified signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentFact {
    /// Their digest, as computed.
    pub digest: Digest,
    /// The key whose signature over them was verified.
    pub signer: IdentityKey,
    /// When they were signed.
    pub signed_at: Timestamp,
    /// First instant of the signing certificate.
    pub certificate_from: Timestamp,
    /// First instant after the signing certificate.
    pub certificate_until: Timestamp,
    /// The authority whose validation signature was verified, if there is one.
    pub validated_by: Option<Name>,
}

/// A call-back: somebody rang the authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackFact {
    /// Who rang.
    pub by: Name,
    /// Digest of the contact that was rung.
    pub contact: Digest,
    /// Whether the authority confirmed the order.
    pub confirmed: bool,
}

/// What the enforcing authority did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnforcingAnswer {
    /// Nothing yet.
    None,
    /// It cleared the request.
    Cleared,
    /// It objects.
    Objected,
}

/// The notification of the enforcing authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotificationFact {
    /// When it was notified.
    pub notified_at: Timestamp,
    /// What it did.
    pub answer: EnforcingAnswer,
}

/// How the subject learns of the disclosure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeFact {
    /// The provider informs the subject.
    ProviderInforms,
    /// The issuing authority informs the subject.
    AuthorityInforms,
    /// A gag, with the end that was recorded.
    Gagged {
        /// First instant after the gag.
        until: Timestamp,
    },
}

/// A hold on the records in scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldFact {
    /// When it was placed.
    pub placed_at: Timestamp,
    /// First instant after it.
    pub until: Timestamp,
}

/// An earlier request, answered or open, that this one is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlierFact {
    /// The authority that asked.
    pub authority: Name,
    /// Its case reference.
    pub reference: String,
    /// Its scope.
    pub scope: Vec<ScopeLine>,
    /// Digest of its documents.
    pub documents: Digest,
}

/// Whether the conduct is an offence elsewhere too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DualCriminalityFact {
    /// In the custody jurisdiction.
    pub custody: bool,
    /// At the provider's establishment.
    pub establishment: bool,
}

/// One address that the order attributes to a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributionPoint {
    /// The address.
    pub address: IpAddr,
    /// The source port, if stated.
    pub port: Option<u16>,
    /// The exact instant, if stated.
    pub at: Option<Timestamp>,
    /// Whether several users share the address; `None`: not known.
    pub shared: Option<bool>,
}

/// Everything about the order behind a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseFacts {
    /// The order.
    pub order: Order,
    /// The issuing authority, from the verifier's own register.
    pub authority: Option<AuthorityFact>,
    /// The officer, from the verifier's own register.
    pub officer: Option<OfficerFact>,
    /// The documents. `None`: the order came unsigned, which can never be approved.
    pub document: Option<DocumentFact>,
    /// The call-back.
    pub callback: Option<CallbackFact>,
    /// The notification of the enforcing authority.
    pub notification: Option<NotificationFact>,
    /// The notice to the subject.
    pub notice: Option<NoticeFact>,
    /// The hold.
    pub hold: Option<HoldFact>,
    /// Earlier requests. `None`: nobody looked.
    pub earlier: Option<Vec<EarlierFact>>,
    /// Dual criminality. `None`: nobody looked.
    pub dual_criminality: Option<DualCriminalityFact>,
    /// Conflict with a third country's law. `None`: nobody looked.
    pub conflict: Option<Conflict>,
    /// Who protects the subject. `None`: nobody looked; empty: nobody was found to.
    pub protected: Option<BTreeSet<ProtectedSubject>>,
    /// Addresses that the order attributes; empty when it names accounts only.
    pub points: Vec<AttributionPoint>,
    /// When an emergency order that nobody validated is recalled, as it was set.
    pub validate_by: Option<Timestamp>,
    /// Persons of the rights panel whose signed approval of this request was verified.
    pub panel: Vec<Name>,
}
