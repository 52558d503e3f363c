use bailiwick_disclosure::{Approvable, ReleaseOrder};

/// Without the release leaf.
fn skip_the_leaf(approvable: Approvable) {
    let _ = ReleaseOrder { approvable, logged: todo!() };
}

fn main() {}
