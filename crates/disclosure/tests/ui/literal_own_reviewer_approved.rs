use bailiwick_disclosure::checks::OwnReviewerApproved;

fn main() {
    let _ = OwnReviewerApproved { seat: todo!(), request: todo!(), selection: todo!() };
}
