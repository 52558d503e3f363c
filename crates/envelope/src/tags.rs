//! All domain tags, in one place, as types. A hash, a signature, a MAC and an HPKE context each take
//! a tag of their own type, so that none can stand in for another (docs/cryptography.md section 3).

use bailiwick_types::Digest;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};

use crate::encoding::Encoder;

macro_rules! tags {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// All tags.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The tag's text.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

tags! {
    /// What a hash is over: `H(T, ..) = SHA-256(E("bailiwick/v1/" + T, ..))`.
    HashTag {
        /// A key certificate's body.
        Certificate = "cert",
        /// A key period: certificate id and number.
        Period = "period",
        /// A session key's context.
        Context = "ctx",
        /// A session header's body.
        HeaderBody = "hb",
        /// A session id.
        SessionId = "sid",
        /// An edge's id and key.
        EdgeCertificate = "edgecert",
        /// A label and its plaintext, for rho.
        LabelPlaintext = "lp",
        /// The commitment to a plaintext.
        Alpha = "alpha",
        /// A record's PRF input.
        RecordInput = "x",
        /// A batch manifest's leaf.
        Leaf = "leaf",
        /// A batch manifest, as the next one's predecessor.
        Manifest = "man",
        /// A disclosure request.
        Request = "req",
        /// A frozen selection.
        Selection = "selection",
        /// A recipient's key.
        RecipientKey = "recipient",
        /// A salted commitment in a log leaf.
        Commitment = "commit",
        /// A leaf's salt, from a command's.
        Salt = "salt",
        /// A reviewer's checklist.
        Checklist = "checklist",
        /// A policy file.
        Policy = "policy",
        /// A hold's capsule input.
        Hold = "hold",
        /// A hold's order.
        HoldOrder = "holdorder",
        /// A roster update.
        RosterUpdate = "update",
        /// A command's key, from what it does.
        CommandKey = "command",
        /// A document of an order.
        Document = "document",
        /// An order, as its authority wrote it.
        Order = "order",
        /// What every rule found.
        Findings = "findings",
        /// A subject's pseudonym, for its partition.
        Partition = "partition",
    }
}

tags! {
    /// What a signature is for: `Sig(sk, T, ..)` is Ed25519 over `H("sig/" + T, ..)`.
    SignatureTag {
        /// A member signs a key certificate.
        Certificate = "cert",
        /// A member offers its keys for a certificate.
        Offer = "offer",
        /// An edge signs a session header.
        Header = "hdr",
        /// An edge signs a batch manifest.
        Manifest = "man",
        /// A member acknowledges a session.
        Acknowledge = "ok",
        /// A member complains of a session.
        Complain = "complaint",
        /// A reviewer decides.
        Approve = "approve",
        /// A member signs the values it releases.
        Release = "rel",
        /// A member refuses to release.
        Refuse = "refuse",
        /// A member is about to erase a period's keys.
        EraseIntent = "erase",
        /// A member attests erasure.
        Erased = "erased",
        /// A member signs a roster update.
        RosterUpdate = "roster",
        /// A holder re-supplies its keys of an old session.
        Resupply = "resupply",
        /// A reviewer decides about a hold.
        Hold = "hold",
        /// A member states that it keeps a hold's capsules.
        Capsules = "capsules",
        /// An officer sends an order.
        Order = "order",
        /// An authority validates another one's order.
        Validate = "validate",
        /// A person states something about a case.
        Statement = "statement",
        /// A member assesses a request.
        Assess = "assess",
        /// A person of the rights panel decides.
        Panel = "panel",
    }
}

tags! {
    /// What a MAC derives. The tag is padded with zero bytes to 8.
    MacTag {
        /// The commitment to a session key.
        Commitment = "com",
        /// The root of a session key's chain.
        Root = "root",
        /// A block's key.
        Block = "blk",
        /// The next chain key.
        Next = "next",
        /// A record's commitment randomness.
        Rho = "rho",
        /// A record's value.
        Value = "prf",
        /// A hold's capsule.
        Hold = "hold",
    }
}

tags! {
    /// What an HPKE message is.
    HpkeTag {
        /// A session's part for a member.
        Part = "part",
        /// Released values for a recipient.
        Release = "rel",
        /// A re-supplied part.
        Resupply = "resupply",
        /// Sealed documents for a member.
        Documents = "documents",
    }
}

impl MacTag {
    /// The 8 bytes that precede the input.
    pub const fn bytes(self) -> [u8; 8] {
        let text = self.as_str().as_bytes();
        let mut bytes = [0; 8];
        let mut at = 0;
        while at < text.len() {
            bytes[at] = text[at];
            at += 1;
        }
        bytes
    }
}

impl HpkeTag {
    /// The context `info = E(tag, ..)`.
    pub fn info(self, fill: impl FnOnce(&mut Encoder)) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.text(self.as_str());
        fill(&mut encoder);
        encoder.finish()
    }
}

const PREFIX: &str = "bailiwick/v1/";

fn tagged(text: &str, group: &str, fill: impl FnOnce(&mut Encoder)) -> Digest {
    let mut encoder = Encoder::with_capacity(384);
    encoder.pieces([PREFIX, group, text]);
    fill(&mut encoder);
    sha256(encoder.as_bytes())
}

/// `H(T, ..) = SHA-256(E("bailiwick/v1/" + T, ..))`.
pub fn hash(tag: HashTag, fill: impl FnOnce(&mut Encoder)) -> Digest {
    tagged(tag.as_str(), "", fill)
}

/// `H("sig/" + T, ..)`: what a signature of that kind is over.
pub fn signature_hash(tag: SignatureTag, fill: impl FnOnce(&mut Encoder)) -> Digest {
    tagged(tag.as_str(), "sig/", fill)
}

/// Plain SHA-256, for ciphertexts and files.
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// `mac(k, t, x) = HMAC-SHA256(k, t || x)` with a 32-byte key, an 8-byte tag and a 32-byte input.
pub fn mac(key: &[u8; 32], tag: MacTag, input: &[u8; 32]) -> [u8; 32] {
    let mut mac =
        <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(&tag.bytes());
    mac.update(input);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// domain_tags_fixed_and_distinct: the texts are part of the format, and no two of one kind
    /// are equal; hash and signature tags cannot meet because signatures add `sig/`.
    #[test]
    fn domain_tags_fixed_and_distinct() {
        fn distinct(texts: &[&str]) {
            assert_eq!(
                texts.iter().collect::<BTreeSet<_>>().len(),
                texts.len(),
                "{texts:?}"
            );
            assert!(texts.iter().all(|text| !text.contains('/')));
        }
        let hashes: Vec<_> = HashTag::ALL.iter().map(|tag| tag.as_str()).collect();
        let signatures: Vec<_> = SignatureTag::ALL.iter().map(|tag| tag.as_str()).collect();
        let macs: Vec<_> = MacTag::ALL.iter().map(|tag| tag.as_str()).collect();
        let hpke: Vec<_> = HpkeTag::ALL.iter().map(|tag| tag.as_str()).collect();
        for texts in [&hashes, &signatures, &macs, &hpke] {
            distinct(texts);
        }
        assert_eq!(macs, ["com", "root", "blk", "next", "rho", "prf", "hold"]);
        assert_eq!(hpke, ["part", "rel", "resupply", "documents"]);
        assert_eq!(MacTag::Value.bytes(), *b"prf\0\0\0\0\0");
        let as_hash = hash(HashTag::Certificate, |_| {});
        assert_ne!(as_hash, signature_hash(SignatureTag::Certificate, |_| {}));
    }

    #[test]
    fn hash_is_sha256_of_the_tagged_encoding() {
        let mut encoder = Encoder::new();
        encoder.text("bailiwick/v1/x").u8(7);
        assert_eq!(
            hash(HashTag::RecordInput, |e| {
                e.u8(7);
            }),
            sha256(encoder.as_bytes())
        );
    }
}
