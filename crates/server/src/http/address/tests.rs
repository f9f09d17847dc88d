use http::{HeaderMap, HeaderValue};

use super::{AddressRange, TrustedProxies};

fn proxies(ranges: &[&str]) -> TrustedProxies {
    TrustedProxies::new(ranges.iter().map(|range| range.parse().unwrap()).collect())
}

fn client(proxies: &TrustedProxies, remote: &str, forwarded: &[&str]) -> String {
    let mut headers = HeaderMap::new();
    for value in forwarded {
        headers.append("x-forwarded-for", HeaderValue::from_str(value).unwrap());
    }
    proxies.client(remote.parse().unwrap(), &headers).to_string()
}

#[test]
fn ranges_hold_what_they_say() {
    for (range, inside, outside) in [
        ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
        ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
        ("192.0.2.0/31", "192.0.2.1", "192.0.2.2"),
        ("0.0.0.0/0", "255.255.255.255", "::1"),
        ("::/0", "ffff::1", "1.2.3.4"),
        ("fd00::/8", "fdff::1", "fe00::"),
        ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
    ] {
        let range: AddressRange = range.parse().unwrap();
        assert!(range.holds(inside.parse().unwrap()), "{range:?} {inside}");
        assert!(!range.holds(outside.parse().unwrap()), "{range:?} {outside}");
    }
    for bad in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0/8", "10.0.0.0/+8", "localhost", "10.0.0.1/8/8"] {
        assert!(bad.parse::<AddressRange>().is_err(), "{bad}");
    }
}

#[test]
fn nobody_names_an_address_but_a_trusted_proxy() {
    assert_eq!(client(&proxies(&[]), "192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
    let one = proxies(&["10.0.0.0/8"]);
    assert_eq!(client(&one, "192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
    assert_eq!(client(&one, "10.0.0.1", &[]), "10.0.0.1");
    assert_eq!(client(&one, "10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
    // Addresses that the client wrote itself stand further left, in the same line or in an earlier one.
    assert_eq!(client(&one, "10.0.0.1", &["203.0.113.9, 198.51.100.1"]), "198.51.100.1");
    assert_eq!(client(&one, "10.0.0.1", &["203.0.113.9", "198.51.100.1, 10.0.0.2"]), "198.51.100.1");
    assert_eq!(client(&one, "10.0.0.1", &["198.51.100.1, nonsense"]), "10.0.0.1");
    assert_eq!(client(&one, "10.0.0.1", &["::ffff:198.51.100.1"]), "198.51.100.1");
}
