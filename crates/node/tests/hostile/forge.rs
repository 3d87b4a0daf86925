//! Histories to lie with: what a real node wrote, and what its key can be made to sign.

use super::{
    common::COUNTER,
    scene::{Real, Talk},
};
use igor_node::RealWorld;
use igor_protocol::{
    AgentId, Chain, Commit, Credits, Entry, Hash, KeyPair, Manifest, NodeId, Seq, Terms,
    archive::parts,
    entry::{Body, Custody, Genesis, GenesisBody, Named, Phase, Policy, Seal},
    ledger::Book,
    limits::BLOB_BYTES_MAX,
    transfer::{Frame, Offer, Welcome},
    verify::{Blobs, Verifier},
};
use igor_sandbox::RUNTIME_ID;
use igor_spine::World;
use igor_store::Store;
use std::collections::BTreeMap;

/// An agent's history, with all that it names.
#[derive(Clone)]
pub(crate) struct Past {
    pub(crate) agent: AgentId,
    pub(crate) genesis: Genesis,
    pub(crate) manifest: Manifest,
    pub(crate) commits: Vec<Commit>,
    blobs: BTreeMap<Hash, Vec<u8>>,
}

impl Blobs for Past {
    fn blob(&self, hash: Hash, _: u64) -> Option<Vec<u8>> {
        self.blobs.get(&hash).cloned()
    }
}

impl Past {
    /// What a real node has of an agent, up to its last seal.
    pub(crate) fn of(node: &Real, agent: AgentId) -> Self {
        let store = node.running.node.store();
        let commits: Vec<Commit> = store.read(agent, Seq(0)).unwrap().map(Result::unwrap).collect();
        let mut blobs = BTreeMap::new();
        let mut genesis = None;
        for commit in &commits {
            for entry in entries(commit) {
                for named in entry.body.blobs() {
                    let hash = named.hash();
                    blobs.extend(store.get_blob(hash, BLOB_BYTES_MAX).unwrap().map(|bytes| (hash, bytes)));
                }
                if let Body::Genesis(body) = entry.body {
                    genesis = Some(body);
                }
            }
        }
        let genesis = genesis.expect("it begins with Genesis");
        for hash in [genesis.body.manifest, genesis.body.program] {
            blobs.insert(hash, store.get_blob(hash, BLOB_BYTES_MAX).unwrap().expect("it is there"));
        }
        let manifest = Manifest::decode(&blobs[&genesis.body.manifest]).unwrap();
        let mut past = Self { agent, genesis, manifest, commits, blobs };
        while !past.book().held().sealed {
            past.commits.pop();
        }
        past
    }

    /// The same up to some commit.
    pub(crate) fn first(&self, commits: usize) -> Self {
        Self { commits: self.commits[..commits].to_vec(), ..self.clone() }
    }

    /// The same with one more commit.
    pub(crate) fn with(&self, commit: Commit) -> Self {
        let mut commits = self.commits.clone();
        commits.push(commit);
        Self { commits, ..self.clone() }
    }

    pub(crate) fn book(&self) -> Book {
        let mut verifier = Verifier::new();
        for commit in &self.commits {
            verifier.push(commit, self).unwrap();
        }
        verifier.book().cloned().expect("it has a Genesis")
    }

    pub(crate) fn end(&self) -> Chain {
        self.commits.last().expect("it has a Genesis").end()
    }

    /// An offer of it with these records.
    pub(crate) fn offer(&self, records: Vec<Custody>, given: bool) -> Offer {
        let Chain { epoch, next, .. } = self.end();
        Offer {
            genesis: self.genesis.clone(),
            manifest: self.manifest.clone(),
            epoch,
            next,
            state_bytes: 0,
            records,
            given,
            runtime: Some(self.genesis.body.runtime.clone()),
        }
    }

    /// The commit of a handoff at its end that `says` to be from the custodian, signed by `key`.
    pub(crate) fn handoff(&self, key: &KeyPair, to: NodeId, terms: Terms, change: fn(&mut Phase, NodeId)) -> Commit {
        let mut phase = self.book().held().handoff(to, terms, RealWorld.wall_clock()).unwrap();
        change(&mut phase, key.public());
        let place = *phase.place().expect("a handoff has a place");
        let entry = Entry { at: place.at, body: Body::Custody(phase.sign(key)) };
        Commit::new(place.chain(), [&entry])
    }

    /// Sends what the node lacks of it.
    pub(crate) async fn ship(&self, talk: &mut Talk, welcome: &Welcome) {
        if !welcome.has_program {
            self.blob_to(self.genesis.body.program, talk).await;
        }
        for commit in self.commits.iter().filter(|commit| commit.first() >= welcome.next) {
            let named = entries(commit).flat_map(|entry| entry.body.blobs().into_iter().collect::<Vec<_>>());
            let state = named.filter_map(|named| if let Named::State(hash) = named { Some(hash) } else { None }).last();
            talk.send(Frame::Commit(commit.clone())).await;
            if let Some(state) = state.filter(|state| self.blobs.contains_key(state)) {
                self.blob_to(state, talk).await;
            }
        }
    }

    async fn blob_to(&self, hash: Hash, talk: &mut Talk) {
        for part in parts(hash, &self.blobs[&hash]) {
            talk.send(Frame::Part(part)).await;
        }
    }
}

/// The entries of a commit.
pub(crate) fn entries(commit: &Commit) -> impl Iterator<Item = Entry> {
    commit.entries().map(|(_, _, bytes)| Entry::decode(bytes).unwrap())
}

/// The record of a commit of custody.
pub(crate) fn record(commit: &Commit) -> Custody {
    match entries(commit).next().map(|entry| entry.body) {
        Some(Body::Custody(record)) => record,
        other => panic!("no custody: {other:?}"),
    }
}

/// The same history with one change, and the seals after it signed anew by `key`, as a dishonest custodian would. It
/// ends with the commit of the change. Gives the position of what was changed.
pub(crate) fn rewrite(past: &Past, key: &KeyPair, change: impl Fn(&mut Body) -> bool) -> (Past, Seq) {
    let mut chain = Chain::begin(past.agent);
    let mut changed = None;
    let mut commits = Vec::new();
    for commit in &past.commits {
        let start = Chain { epoch: commit.epoch(), ..chain };
        let mut link = start;
        let mut written = Vec::new();
        for mut entry in entries(commit) {
            if changed.is_none() && change(&mut entry.body) {
                changed = Some(link.next);
            }
            if let Body::Seal(seal) = &mut entry.body {
                *seal = Seal::sign(key, &past.agent, link.epoch, Seq(link.next.0 - 1), &link.head);
            }
            link = link.link(&entry.encode());
            written.push(entry);
        }
        let again = Commit::new(start, &written);
        chain = again.end();
        commits.push(again);
        if changed.is_some() {
            break;
        }
    }
    (Past { commits, ..past.clone() }, changed.expect("something to change"))
}

/// An agent that nobody ever saw, of an owner that nobody knows, which its Genesis gives to `custodian`.
pub(crate) fn fresh(owner: u8, nonce: u64, custodian: &KeyPair) -> Past {
    let owner = KeyPair::from_seed(&[owner; 32]);
    let (program, manifest) = (wat::parse_str(COUNTER).unwrap(), Manifest::default());
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&nonce.to_be_bytes());
    let body = GenesisBody {
        owner: owner.public(),
        nonce: bytes,
        name: "fresh".into(),
        program: Hash::of_blob(&program),
        manifest: manifest.hash(),
        runtime: RUNTIME_ID.into(),
        custodian: custodian.public(),
        terms: Terms { price_per_ns: 1, price_per_fuel: 0 },
        budget: "10".parse::<Credits>().unwrap(),
        issuer: owner.public(),
        store: igor_protocol::entry::StoreKind::Disk,
        policy: Policy::default(),
        expires: igor_protocol::Timestamp(u64::MAX),
    };
    let (agent, genesis) = (body.agent_id(), body.sign(&owner, custodian));
    let (mut book, mut draft) = Book::begin(genesis.clone(), manifest.clone(), RealWorld.wall_clock()).unwrap();
    let at = RealWorld.wall_clock().max(book.ledger().at);
    book.push_seal(&mut draft, custodian, at).unwrap();
    let commits = vec![book.commit(draft).unwrap()];
    let blobs = [program, manifest.encode()].map(|bytes| (Hash::of_blob(&bytes), bytes)).into();
    Past { agent, genesis, manifest, commits, blobs }
}
