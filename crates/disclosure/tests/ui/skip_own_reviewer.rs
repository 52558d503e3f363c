use bailiwick_disclosure::checks::*;
use bailiwick_disclosure::{Approvable, Checks, MemberKeys};

fn skip_own_reviewer(
    keys: &MemberKeys,
    checkpoint: CosignedCheckpoint,
    request: LoggedRequest,
    quorum: QuorumCertificate,
    not_frozen: NotFrozen,
    policy: PolicyPassed,
    selection: VerifiedSelection,
    labels: VerifiedLabels,
) {
    let checks = Checks {
        checkpoint,
        request,
        quorum,
        not_frozen,
        policy,
        selection,
        labels,
    };
    let _ = Approvable::new(checks, keys);
}

fn main() {}
