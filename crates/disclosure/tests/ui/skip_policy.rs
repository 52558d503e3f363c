use bailiwick_disclosure::checks::*;
use bailiwick_disclosure::{Approvable, Checks, MemberKeys};

fn skip_policy(
    keys: &MemberKeys,
    checkpoint: CosignedCheckpoint,
    request: LoggedRequest,
    quorum: QuorumCertificate,
    not_frozen: NotFrozen,
    own_reviewer: OwnReviewerApproved,
    selection: VerifiedSelection,
    labels: VerifiedLabels,
) {
    let checks = Checks {
        checkpoint,
        request,
        quorum,
        not_frozen,
        own_reviewer,
        selection,
        labels,
    };
    let _ = Approvable::new(checks, keys);
}

fn main() {}
