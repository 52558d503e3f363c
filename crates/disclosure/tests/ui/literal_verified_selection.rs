use bailiwick_disclosure::checks::VerifiedSelection;

fn main() {
    let _ = VerifiedSelection { request: todo!(), id: todo!(), count: 1, checkpoint: todo!() };
}
