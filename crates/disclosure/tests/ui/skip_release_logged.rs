use bailiwick_disclosure::{Approvable, ReleaseOrder};

fn skip_the_leaf(approvable: Approvable) {
    let _ = ReleaseOrder::new(approvable);
}

fn main() {}
