//! A decision of the rights panel, the third quorum (docs/cryptography.md section 7). It has a tag of
//! its own: a reviewer's decision can never stand in for it, nor it for a reviewer's.
//!
//! ```text
//! decision = Sig(person, "panel", rd, selection, seat, decision, code, checklist, time)
//! ```

use bailiwick_types::{Digest, RequestId, SelectionId, Slot, Timestamp};

use crate::approval::Decision;
use crate::canonical_serde;
use crate::encoding::{Canonical, DecodeError, Decoder, Encoder};
use crate::keys::{IdentityKey, Signature, SignatureError, SigningKey, sign};
use crate::tags::SignatureTag;

/// A panel person's signed decision: to let the reviewers decide, or to refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PanelDecision {
    /// The request.
    pub request: RequestId,
    /// The frozen selection.
    pub selection: SelectionId,
    /// The person's seat on the panel.
    pub seat: Slot,
    /// The decision.
    pub decision: Decision,
    /// Digest of the person's checklist.
    pub checklist: Digest,
    /// When, by the person's clock.
    pub at: Timestamp,
    /// The person's key. Whether it has that seat is a trust file's to say.
    pub key: IdentityKey,
    /// `Sig(person, "panel", ..)`.
    pub signature: Signature,
}

impl PanelDecision {
    /// Signs a decision on the person's own device: the fields of `unsigned` but key and signature.
    pub fn sign(mut unsigned: Self, key: &SigningKey) -> Self {
        unsigned.key = IdentityKey::of(key);
        unsigned.signature = sign(key, SignatureTag::Panel, |e| unsigned.fields(e));
        unsigned
    }

    /// Verifies the signature by the key that the decision names.
    ///
    /// # Errors
    /// [`SignatureError`] when the key did not sign it.
    pub fn verify(&self) -> Result<(), SignatureError> {
        self.key
            .verify(SignatureTag::Panel, |e| self.fields(e), &self.signature)
    }

    fn fields(&self, encoder: &mut Encoder) {
        let (decision, code) = self.decision.codes();
        encoder
            .bytes(&self.request.0)
            .bytes(&self.selection.0)
            .u8(self.seat.number())
            .u8(decision)
            .u8(code)
            .digest(&self.checklist)
            .u64(self.at.0);
    }
}

impl Canonical for PanelDecision {
    fn encode(&self, encoder: &mut Encoder) {
        self.fields(encoder);
        encoder.bytes(&self.key.0).bytes(&self.signature.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let request = RequestId(decoder.array("panel.request")?);
        let selection = SelectionId(decoder.array("panel.selection")?);
        let seat = Slot::new(decoder.u8("panel.seat")?);
        let codes = (decoder.u8("panel.decision")?, decoder.u8("panel.code")?);
        Ok(Self {
            request,
            selection,
            seat: seat.map_err(|_| DecodeError::value("panel.seat", "outside 1 to 7"))?,
            decision: Decision::from_codes(codes)?,
            checklist: decoder.digest("panel.checklist")?,
            at: Timestamp(decoder.u64("panel.at")?),
            key: IdentityKey(decoder.array("panel.key")?),
            signature: Signature(decoder.array("panel.signature")?),
        })
    }
}

canonical_serde!(PanelDecision);
