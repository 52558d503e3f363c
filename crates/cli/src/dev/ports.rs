//! Which loopback ports a development cluster uses, and whether they are free.
//!
//! ```text
//! base        edge, HTTPS
//! base + 1    edge, health
//! base + 10+i vault i, frames        (i = 1 to 6)
//! base + 20+i vault i, health
//! base + 30+i workflow approver i, health      (i = 1 to 3)
//! base + 40+i legal-review approver i, health
//! ```

use std::net::{Ipv4Addr, TcpListener};

use crate::failure::Failure;

/// The ports of one development cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    base: u16,
}

impl Ports {
    /// Ports a cluster spans, from its base.
    pub const SPAN: u16 = 60;

    /// The ports from a base.
    pub fn from_base(base: u16) -> Self {
        Self { base }
    }

    /// The base.
    pub fn base(self) -> u16 {
        self.base
    }

    /// The edge's HTTPS port.
    pub fn edge(self) -> u16 {
        self.base
    }

    /// The edge's health port.
    pub fn edge_health(self) -> u16 {
        self.base + 1
    }

    /// A vault node's port for frames.
    pub fn vault(self, node: u16) -> u16 {
        self.base + 10 + node
    }

    /// A vault node's health port.
    pub fn vault_health(self, node: u16) -> u16 {
        self.base + 20 + node
    }

    /// A workflow approver's health port.
    pub fn workflow_health(self, slot: u16) -> u16 {
        self.base + 30 + slot
    }

    /// A legal-review approver's health port.
    pub fn legal_health(self, slot: u16) -> u16 {
        self.base + 40 + slot
    }

    /// Every port in use, with whose it is.
    pub fn all(self) -> Vec<(String, u16)> {
        let mut ports = vec![
            ("the edge".to_owned(), self.edge()),
            ("the edge's health".to_owned(), self.edge_health()),
        ];
        for node in 1..=6 {
            ports.push((format!("vault-{node}"), self.vault(node)));
            ports.push((format!("vault-{node}'s health"), self.vault_health(node)));
        }
        for slot in 1..=3 {
            ports.push((
                format!("workflow-{slot}'s health"),
                self.workflow_health(slot),
            ));
            ports.push((format!("legal-{slot}'s health"), self.legal_health(slot)));
        }
        ports
    }

    /// Checks that every port is free. Another process may still take one before a child binds it;
    /// then the child's log names it.
    ///
    /// # Errors
    /// [`Failure`] (usage) names the first port that is taken.
    pub fn check_free(self) -> Result<(), Failure> {
        for (whose, port) in self.all() {
            if let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                return Err(Failure::usage(
                    format!("port {port} is not free"),
                    format!("{whose} needs 127.0.0.1:{port}, and binding it says: {error}"),
                    "end the process that holds it, or choose other ports with --port and --data",
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ports_are_distinct_and_within_the_span() {
        let ports = Ports::from_base(7400);
        let all: BTreeSet<u16> = ports.all().into_iter().map(|(_, port)| port).collect();
        assert_eq!(all.len(), ports.all().len());
        assert!(
            all.iter()
                .all(|port| (7400..7400 + Ports::SPAN).contains(port))
        );
    }

    #[test]
    fn a_taken_port_is_named() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = taken.local_addr().expect("bound").port();
        let failure = Ports::from_base(port)
            .check_free()
            .expect_err("the first port is taken");
        assert!(failure.what.contains(&port.to_string()), "{failure}");
    }
}
