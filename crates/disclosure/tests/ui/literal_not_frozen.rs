use bailiwick_disclosure::checks::NotFrozen;

fn main() {
    let _ = NotFrozen { checkpoint: todo!() };
}
