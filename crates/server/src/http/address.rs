//! The address that a request comes from: the peer of the connection, or the client that a trusted proxy names.
//!
//! Owns: `X-Forwarded-For`, and who may use it. Never: what is counted per address.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use http::HeaderMap;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// An address range: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    first: IpAddr,
    bits: u32,
}

impl FromStr for AddressRange {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let first: IpAddr = address.parse().map_err(|_| ())?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) if bits.bytes().all(|b| b.is_ascii_digit()) => bits.parse().map_err(|_| ())?,
            Some(_) => return Err(()),
        };
        if bits > most {
            return Err(());
        }
        Ok(Self { first, bits })
    }
}

impl AddressRange {
    fn holds(self, address: IpAddr) -> bool {
        let difference = match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => u128::from(first.to_bits() ^ address.to_bits()) << 96,
            (IpAddr::V6(first), IpAddr::V6(address)) => first.to_bits() ^ address.to_bits(),
            _ => return false,
        };
        // A prefix of 0 bits matches every address; `checked_shr` returns `None` for the shift by 128 bits.
        difference.checked_shr(128 - self.bits).is_none_or(|rest| rest == 0)
    }
}

/// The proxies whose `X-Forwarded-For` is trusted. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[AddressRange]>);

impl TrustedProxies {
    /// Trusts the proxies in these ranges.
    pub fn new(ranges: Vec<AddressRange>) -> Self {
        Self(ranges.into())
    }

    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.holds(address))
    }

    /// Returns the client of a request: the last address that is not a trusted proxy. Addresses further left in the
    /// header were written by that client and prove nothing.
    pub(super) fn client(&self, remote: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = remote;
        let values: Vec<_> = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
        let mut named = values.iter().rev().flat_map(|value| value.rsplit(','));
        while self.trusts(client) {
            match named.next().and_then(|text| text.trim().parse::<IpAddr>().ok()) {
                Some(address) => client = address.to_canonical(),
                None => break,
            }
        }
        client
    }
}

#[cfg(test)]
mod tests;
