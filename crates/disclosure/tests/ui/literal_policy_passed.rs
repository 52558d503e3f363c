use bailiwick_disclosure::checks::PolicyPassed;

fn main() {
    let _ = PolicyPassed { request: todo!(), selection: todo!(), evaluations: Vec::new() };
}
