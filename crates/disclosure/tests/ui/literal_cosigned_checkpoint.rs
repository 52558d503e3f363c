use bailiwick_disclosure::checks::CosignedCheckpoint;

fn main() {
    let _ = CosignedCheckpoint { reference: todo!(), cosigned_at: todo!() };
}
