//! Who pays for what is asked of the server: with a turn, with memory, with what may be written.

use std::net::IpAddr;

use crate::domain::people::network::{SITE, network};

/// Whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Payer {
    /// An account's.
    Account(i64),
    /// Nobody's who is known: an address of IPv4, or a network of IPv6, which is one site's.
    Address(IpAddr),
    /// The server's own.
    House,
}

impl Payer {
    /// Whoever calls from `peer`, as long as nothing else is known.
    pub fn stranger(peer: IpAddr) -> Self {
        Self::Address(network(peer, SITE))
    }
}
