use bailiwick_disclosure::checks::ReleaseLogged;

fn main() {
    let _ = ReleaseLogged { request: todo!(), leaf_index: 0 };
}
