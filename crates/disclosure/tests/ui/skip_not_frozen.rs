use bailiwick_disclosure::checks::*;
use bailiwick_disclosure::{Approvable, Checks, MemberKeys};

fn skip_not_frozen(
    keys: &MemberKeys,
    checkpoint: CosignedCheckpoint,
    request: LoggedRequest,
    quorum: QuorumCertificate,
    own_reviewer: OwnReviewerApproved,
    policy: PolicyPassed,
    selection: VerifiedSelection,
    labels: VerifiedLabels,
) {
    let checks = Checks {
        checkpoint,
        request,
        quorum,
        own_reviewer,
        policy,
        selection,
        labels,
    };
    let _ = Approvable::new(checks, keys);
}

fn main() {}
