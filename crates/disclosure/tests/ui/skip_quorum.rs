use bailiwick_disclosure::checks::*;
use bailiwick_disclosure::{Approvable, Checks, MemberKeys};

fn skip_quorum(
    keys: &MemberKeys,
    checkpoint: CosignedCheckpoint,
    request: LoggedRequest,
    not_frozen: NotFrozen,
    own_reviewer: OwnReviewerApproved,
    policy: PolicyPassed,
    selection: VerifiedSelection,
    labels: VerifiedLabels,
) {
    let checks = Checks {
        checkpoint,
        request,
        not_frozen,
        own_reviewer,
        policy,
        selection,
        labels,
    };
    let _ = Approvable::new(checks, keys);
}

fn main() {}
