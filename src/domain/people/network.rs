//! From where a caller comes: so many leading bits of the address as are one subscriber's to choose from,
//! or one site's.

use std::net::{IpAddr, Ipv6Addr};

/// Leading bits of an IPv6 address that a subscriber has.
pub const SUBSCRIBER: u32 = 64;
/// Leading bits of an IPv6 address that a site has, which may be many subscribers.
pub const SITE: u32 = 48;

/// An IPv4 address, whole, or the first `bits` of an IPv6 address.
pub fn network(peer: IpAddr, bits: u32) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let rest = u128::MAX.checked_shr(bits).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & !rest).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_subscriber_is_one_network() {
        let of = |peer: &str, bits| network(peer.parse().unwrap(), bits).to_string();
        assert_eq!(of("192.0.2.7", SUBSCRIBER), "192.0.2.7");
        assert_eq!(of("::ffff:192.0.2.7", SITE), "192.0.2.7");
        assert_eq!(of("2001:db8:1:2:3::4", SUBSCRIBER), "2001:db8:1:2::");
        assert_eq!(of("2001:db8:1:2:3::4", SITE), "2001:db8:1::");
        assert_ne!(of("2001:db8:1:2::1", SUBSCRIBER), of("2001:db8:1:3::1", SUBSCRIBER));
    }
}
