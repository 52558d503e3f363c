//! What a vault sends an approver about a selection: plain data, nothing of it believed.
//! [`crate::checks::LabelVerifier`] turns it into [`crate::checks::VerifiedLabels`].

use bailiwick_envelope::Signature;
use bailiwick_envelope::block::BatchManifest;
use bailiwick_envelope::header::SessionHeader;
use bailiwick_envelope::label::Label;
use bailiwick_envelope::leaf::OpenedLeaf;
use bailiwick_types::Digest;
use serde::{Deserialize, Serialize};

/// Most records of one page.
pub const PAGE_RECORDS: usize = 1024;

/// A page of a selection.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EvidencePage {
    /// Every session of the page once; one of an earlier page may come again.
    pub sessions: Vec<SessionHeader>,
    /// Every block of the page once; one of an earlier page may come again.
    pub blocks: Vec<EvidenceBlock>,
    /// The records in order of the selection, going on where the last page ended; at most
    /// [`PAGE_RECORDS`].
    pub records: Vec<EvidenceRecord>,
}

/// A block's manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EvidenceBlock {
    /// The manifest.
    pub manifest: BatchManifest,
    /// The edge's signature of it.
    pub signature: Signature,
    /// Its leaf in the log of its partition; none in the home group, whose log lists no blocks.
    pub logged: Option<ProvenLeaf>,
}

/// A leaf of a partition's log with its inclusion proof.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProvenLeaf {
    /// Its index.
    pub index: u64,
    /// What is behind its commitments.
    pub leaf: OpenedLeaf,
    /// Its inclusion proof, the sibling first.
    pub proof: Vec<Digest>,
}

/// A record without its ciphertext, which an approver never needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EvidenceRecord {
    /// Its place in its partition's part of the selection, from 0; where there is one partition, in the
    /// selection.
    pub index: u32,
    /// Its label.
    pub label: Label,
    /// The commitment to its plaintext.
    pub alpha: Digest,
    /// SHA-256 of its ciphertext.
    pub ciphertext_hash: Digest,
    /// Inclusion proof of its leaf under the manifest's root, the sibling first.
    pub proof: Vec<Digest>,
}
