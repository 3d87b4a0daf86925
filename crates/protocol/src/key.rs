//! Ed25519 keys, written as `did:key:z6Mk...`, and domain-separated signatures.

use crate::hash::Domain;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use minicbor::{Decode, Encode};
use std::{cell::RefCell, collections::BTreeSet, fmt, str::FromStr};

/// Signatures that a thread remembers, at most.
const REMEMBERED_MAX: usize = 1 << 16;

thread_local! {
    /// Digests of key, signature and message that this thread made or verified; none: it remembers nothing.
    static REMEMBERED: RefCell<Option<BTreeSet<[u8; 32]>>> = const { RefCell::new(None) };
}

/// Lets this thread remember from now on which signatures it made or verified, and forget those from before; so nothing is
/// computed twice, and nothing comes out otherwise. For a simulator, where one thread is all nodes of a cluster.
pub fn remember_signatures() {
    REMEMBERED.with_borrow_mut(|remembered| *remembered = Some(BTreeSet::new()));
}

/// What a signature is remembered by, where the thread remembers.
fn memory_of(key: &PublicKey, domain: Domain, parts: &[&[u8]], signature: &[u8; 64]) -> Option<[u8; 32]> {
    REMEMBERED.with_borrow(Option::is_some).then(|| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&key.0).update(signature).update(domain.0);
        for part in parts {
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    })
}

fn remember(memory: Option<[u8; 32]>) {
    let Some(memory) = memory else { return };
    REMEMBERED.with_borrow_mut(|remembered| {
        let Some(remembered) = remembered else { return };
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(memory);
    });
}

fn is_remembered(memory: Option<&[u8; 32]>) -> bool {
    memory.is_some_and(|memory| {
        REMEMBERED.with_borrow(|known| known.as_ref().is_some_and(|known| known.contains(memory)))
    })
}

/// The key of an owner: signs Genesis and orders.
pub type OwnerId = PublicKey;
/// The key of a node: signs what it appends.
pub type NodeId = PublicKey;

/// A public key. Any 32 bytes decode; a point that is not a key makes every signature by it invalid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct PublicKey(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Signature(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A secret key with its public half. Wiped from memory when dropped; never printed.
pub struct KeyPair(SigningKey);

impl KeyPair {
    /// The key pair of a 32-byte seed, which must come from a strong random source.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The secret half: the seed that [`KeyPair::from_seed`] takes. For whoever needs the same key in another form, and
    /// never for a message, a file or a log.
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    pub(crate) fn sign(&self, domain: Domain, parts: &[&[u8]]) -> Signature {
        let message = message(domain, parts);
        let signature = self.0.sign(&message).to_bytes();
        remember(memory_of(&self.public(), domain, parts, &signature));
        Signature(signature)
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.public())
    }
}

fn message(domain: Domain, parts: &[&[u8]]) -> Vec<u8> {
    let mut message = Vec::with_capacity(domain.0.len() + parts.iter().map(|part| part.len()).sum::<usize>());
    message.extend_from_slice(domain.0);
    for part in parts {
        message.extend_from_slice(part);
    }
    message
}

impl PublicKey {
    /// Whether `signature` is this key's over `parts` in `domain`, by the strict rules (no malleable encodings).
    pub(crate) fn verifies(&self, domain: Domain, parts: &[&[u8]], signature: &Signature) -> bool {
        let memory = memory_of(self, domain, parts, &signature.0);
        if is_remembered(memory.as_ref()) {
            return true;
        }
        let message = message(domain, parts);
        let Ok(key) = VerifyingKey::from_bytes(&self.0) else { return false };
        let valid = key.verify_strict(&message, &ed25519_dalek::Signature::from_bytes(&signature.0)).is_ok();
        if valid {
            remember(memory);
        }
        valid
    }
}

// did:key, W3C CCG: multibase base58btc ('z') of the multicodec ed25519-pub (0xed 0x01) and the key.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![0xed, 0x01];
        bytes.extend_from_slice(&self.0);
        write!(f, "did:key:z{}", bs58::encode(bytes).into_string())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a `did:key` of an Ed25519 key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 did:key: it begins with did:key:z6Mk; copy it whole")]
pub struct ParseError;

impl FromStr for PublicKey {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let encoded = text.strip_prefix("did:key:z").ok_or(ParseError)?;
        let mut bytes = [0; 34];
        let length = bs58::decode(encoded).onto(&mut bytes).map_err(|_| ParseError)?;
        if length != 34 || bytes[..2] != [0xed, 0x01] {
            return Err(ParseError);
        }
        let mut key = [0; 32];
        key.copy_from_slice(&bytes[2..]);
        Ok(Self(key))
    }
}
