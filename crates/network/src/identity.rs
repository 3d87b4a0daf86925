//! One key, two names: igor's node id and libp2p's peer id, which holds the same 32 bytes.
//!
//! Invariant: the two convert into each other without loss; a peer id of any other kind of key is nobody's.

use igor_protocol::NodeId;
use libp2p::{Multiaddr, PeerId, identity, multiaddr::Protocol};

/// What comes before the key in the bytes of a peer id: identity hash, 36 bytes; protobuf: Ed25519, 32 bytes.
const PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// The peer id of a node. Nothing where its 32 bytes are no point of the curve, so that nobody can have it.
pub(crate) fn peer_of(node: NodeId) -> Option<PeerId> {
    let key = identity::ed25519::PublicKey::try_from_bytes(&node.0).ok()?;
    Some(identity::PublicKey::from(key).to_peer_id())
}

/// The node of a peer id. Nothing for keys that are not Ed25519.
pub(crate) fn node_of(peer: PeerId) -> Option<NodeId> {
    let bytes = peer.to_bytes();
    let key = bytes.strip_prefix(&PREFIX)?;
    Some(igor_protocol::PublicKey(key.try_into().ok()?))
}

/// The key pair of a seed, as libp2p takes it.
pub(crate) fn keypair_of(seed: &[u8; 32]) -> Option<identity::Keypair> {
    identity::Keypair::ed25519_from_bytes(*seed).ok()
}

/// An address that names the node as well, as others put it into their list of bootstrap peers:
/// `/ip4/192.0.2.1/udp/4001/quic-v1/p2p/12D3Koo...`.
pub fn address_of(node: NodeId, address: Multiaddr) -> Option<Multiaddr> {
    address.with_p2p(peer_of(node)?).ok()
}

/// The address without its last `/p2p/ID`, and that id.
pub(crate) fn without_peer(mut address: Multiaddr) -> (Multiaddr, Option<PeerId>) {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => {
            address.pop();
            (address, Some(peer))
        }
        _ => (address, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use igor_protocol::KeyPair;

    #[test]
    fn ids_convert_into_each_other() {
        let seed = [7; 32];
        let node = KeyPair::from_seed(&seed).public();
        let peer = keypair_of(&seed).expect("any seed is a key").public().to_peer_id();
        assert_eq!(peer_of(node), Some(peer));
        assert_eq!(node_of(peer), Some(node));
        assert_eq!(peer.to_bytes()[..6], PREFIX);
        // The hash of a longer key.
        let other = PeerId::from_bytes(&[&[0x12, 0x20][..], &[9; 32]].concat()).expect("a hash is a peer id");
        assert_eq!(node_of(other), None);
    }

    #[test]
    fn an_address_names_its_node_once() {
        let node = KeyPair::from_seed(&[7; 32]).public();
        let bare: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().expect("an address");
        let named = address_of(node, bare.clone()).expect("a node with a peer id");
        assert_eq!(address_of(node, named.clone()), Some(named.clone()));
        assert_eq!(without_peer(named), (bare.clone(), peer_of(node)));
        assert_eq!(without_peer(bare.clone()), (bare, None));
    }
}
