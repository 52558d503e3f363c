use bailiwick_disclosure::checks::VerifiedLabels;

fn main() {
    let _ = VerifiedLabels { request: todo!(), records: Vec::new(), sessions: todo!(), erase_by: todo!() };
}
