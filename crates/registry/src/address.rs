//! The unit in which addresses are counted, for connections, failed logins and unfinished request bodies alike.
//!
//! Owns: what counts as one address. Never: what is counted.

use std::net::IpAddr;

/// The block of addresses that one client may own: an IPv6 /64 counts as one address, each IPv4 address as itself.
pub fn counted_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let counted = |text: &str| super::counted_address(text.parse().unwrap()).to_string();
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(counted("2001:db8:1:3::1"), "2001:db8:1:3::");
        assert_eq!(counted("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(counted("192.0.2.1"), "192.0.2.1");
    }
}
