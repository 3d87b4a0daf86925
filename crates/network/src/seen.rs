//! Where a node sees the one that asks: `/igor/seen/1`, which libp2p's own protocols do not answer.
//!
//! A node that hears of an address of its own that it does not have looks who is there ([`crate::impostor`]).
//!
//! Invariant: an answer is at most [`ADDRESSES_PER_PEER`] addresses of at most [`ADDRESS_BYTES_MAX`].

use crate::limits::ADDRESSES_PER_PEER;
use igor_protocol::codec;
use libp2p::Multiaddr;
use minicbor::{Decode, Encode, bytes::ByteVec};

/// Longest address, in bytes.
pub(crate) const ADDRESS_BYTES_MAX: usize = 256;
/// Largest encoded answer, in bytes.
pub(crate) const SEEN_BYTES_MAX: usize = ADDRESSES_PER_PEER * (ADDRESS_BYTES_MAX + 3) + 8;

#[derive(Debug, Encode, Decode)]
struct Seen {
    #[n(0)]
    addresses: Vec<ByteVec>,
}

/// The bytes of an answer.
pub(crate) fn encode(addresses: &[Multiaddr]) -> Vec<u8> {
    let short = addresses.iter().filter(|address| address.len() <= ADDRESS_BYTES_MAX).take(ADDRESSES_PER_PEER);
    codec::encode(&Seen { addresses: short.map(|address| address.to_vec().into()).collect() })
}

/// Reads what [`encode`] wrote; refuses everything else.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Multiaddr>, codec::Error> {
    const WHAT: &str = "list of addresses";
    let seen: Seen = codec::decode(WHAT, bytes, SEEN_BYTES_MAX)?;
    let largest = seen.addresses.iter().map(|address| address.len()).max().unwrap_or(0);
    for (bytes, max) in [(seen.addresses.len(), ADDRESSES_PER_PEER), (largest, ADDRESS_BYTES_MAX)] {
        if bytes > max {
            return Err(codec::Error::TooLarge { what: WHAT, bytes: bytes as u64, max: max as u64 });
        }
    }
    let address = |bytes: ByteVec| {
        let parsed = Multiaddr::try_from(Vec::from(bytes));
        parsed.map_err(|error| codec::Error::Malformed { what: WHAT, why: error.to_string() })
    };
    seen.addresses.into_iter().map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_and_no_more_than_may() {
        let address: Multiaddr = "/ip4/192.0.2.1/udp/4001/quic-v1".parse().expect("an address");
        let bytes = encode(std::slice::from_ref(&address));
        assert_eq!(bytes, b"\x81\x81\x4b\x04\xc0\0\x02\x01\x91\x02\x0f\xa1\xcd\x03");
        assert_eq!(decode(&bytes), Ok(vec![address.clone()]));
        assert_eq!(decode(&encode(&vec![address.clone(); 99])).map(|all| all.len()), Ok(ADDRESSES_PER_PEER));
        let many = Seen { addresses: vec![address.to_vec().into(); ADDRESSES_PER_PEER + 1] };
        assert!(decode(&codec::encode(&many)).is_err());
        let long = Seen { addresses: vec![vec![4; ADDRESS_BYTES_MAX + 1].into()] };
        assert!(decode(&codec::encode(&long)).is_err());
        let broken = Seen { addresses: vec![vec![0xff; 9].into()] };
        assert!(decode(&codec::encode(&broken)).is_err());
        assert_eq!(decode(&encode(&[])), Ok(vec![]));
    }
}
