use bailiwick_disclosure::ReleaseOrder;

fn copy(order: &ReleaseOrder) -> ReleaseOrder {
    order.clone()
}

fn main() {}
