use bailiwick_disclosure::Approvable;

fn main() {
    let _ = Approvable { checks: todo!(), seat: todo!(), intent: todo!() };
}
