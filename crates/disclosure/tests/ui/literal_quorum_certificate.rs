use bailiwick_disclosure::checks::QuorumCertificate;

fn main() {
    let _ = QuorumCertificate { request: todo!(), selection: todo!(), certificates: todo!(), decisions: todo!(), complete_at: 0, checkpoint: todo!() };
}
