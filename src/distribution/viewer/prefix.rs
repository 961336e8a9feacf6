//! Runs of addresses: [`Prefix`].

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Addresses that begin alike, as in `192.0.2.0/24` or `2001:db8::/32`. An address by itself is a run of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    first: u128,
    /// Of 128: those of IPv4 stand where IPv6 maps them.
    bits: u8,
}

impl Prefix {
    /// Whether an address is one of these.
    pub fn contains(&self, address: IpAddr) -> bool {
        (self.first..=self.last()).contains(&number(address))
    }

    pub(super) fn first(&self) -> u128 {
        self.first
    }

    pub(super) fn last(&self) -> u128 {
        self.first | rest(self.bits)
    }
}

/// The bits behind a prefix.
fn rest(bits: u8) -> u128 {
    u128::MAX.checked_shr(bits.into()).unwrap_or(0)
}

/// An IPv4 address is the same as the IPv6 address it is mapped to (RFC 4291 §2.5.5.2).
pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(address) => address.into(),
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| PrefixError::Address)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let is_number = |length: &&str| length.bytes().all(|c| c.is_ascii_digit());
        let length = length.map_or(Some(longest), |length| Some(length).filter(is_number)?.parse().ok());
        let length = length.filter(|length| *length <= longest).ok_or(PrefixError::Length { longest })?;
        let bits = 128 - longest + length;
        let first = number(address);
        if first & rest(bits) != 0 {
            return Err(PrefixError::Rest { length });
        }
        Ok(Self { first, bits })
    }
}

/// Why a text is no [`Prefix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrefixError {
    /// It does not begin with an address.
    Address,
    /// What follows is no number of bits.
    Length {
        /// As many bits as there are.
        longest: u8,
    },
    /// The address has bits behind the prefix.
    Rest {
        /// As many bits as the prefix has.
        length: u8,
    },
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("not an address, or a prefix such as 192.0.2.0/24"),
            Self::Length { longest } => write!(f, "a prefix has a length from 0 to {longest}"),
            Self::Rest { length } => write!(f, "the address has more than its first {length} bits set"),
        }
    }
}

impl Error for PrefixError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_has_the_addresses_that_begin_so() {
        for (prefix, inside, outside) in [
            (
                "192.0.2.0/24",
                vec!["192.0.2.0", "192.0.2.255", "::ffff:192.0.2.7"],
                vec!["192.0.3.0", "192.0.1.255", "::"],
            ),
            ("0.0.0.0/0", vec!["0.0.0.0", "255.255.255.255"], vec!["::", "2001:db8::"]),
            ("2001:db8::/32", vec!["2001:db8::", "2001:db8:ffff::1"], vec!["2001:db9::", "32.1.13.184"]),
            ("::/0", vec!["::", "ffff::", "1.2.3.4"], vec![]),
            ("10.1.2.3", vec!["10.1.2.3"], vec!["10.1.2.4"]),
            ("2001:db8::1/128", vec!["2001:db8::1"], vec!["2001:db8::2"]),
        ] {
            let prefix: Prefix = prefix.parse().unwrap();
            assert!(inside.iter().all(|address| prefix.contains(address.parse().unwrap())), "{prefix:?}");
            assert!(!outside.iter().any(|address| prefix.contains(address.parse().unwrap())), "{prefix:?}");
        }
    }

    #[test]
    fn what_is_no_prefix_is_refused_for_a_reason() {
        for (text, reason) in [
            ("", PrefixError::Address),
            ("example.com", PrefixError::Address),
            ("10.0.0/8", PrefixError::Address),
            ("10.0.0.0/33", PrefixError::Length { longest: 32 }),
            ("10.0.0.0/", PrefixError::Length { longest: 32 }),
            ("10.0.0.0/+8", PrefixError::Length { longest: 32 }),
            ("::/129", PrefixError::Length { longest: 128 }),
            ("::/999", PrefixError::Length { longest: 128 }),
            ("10.0.0.1/8", PrefixError::Rest { length: 8 }),
            ("2001:db8::1/32", PrefixError::Rest { length: 32 }),
        ] {
            assert_eq!(text.parse::<Prefix>(), Err(reason), "{text}");
        }
    }
}
