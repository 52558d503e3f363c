use bailiwick_disclosure::checks::*;
use bailiwick_disclosure::{Approvable, Checks, MemberKeys};

fn skip_labels(
    keys: &MemberKeys,
    checkpoint: CosignedCheckpoint,
    request: LoggedRequest,
    quorum: QuorumCertificate,
    not_frozen: NotFrozen,
    own_reviewer: OwnReviewerApproved,
    policy: PolicyPassed,
    selection: VerifiedSelection,
) {
    let checks = Checks {
        checkpoint,
        request,
        quorum,
        not_frozen,
        own_reviewer,
        policy,
        selection,
    };
    let _ = Approvable::new(checks, keys);
}

fn main() {}
