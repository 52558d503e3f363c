use bailiwick_disclosure::checks::LoggedRequest;

fn main() {
    let _ = LoggedRequest { request: todo!(), id: todo!(), place: todo!(), checkpoint: todo!() };
}
