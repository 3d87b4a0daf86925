//! An owner from elsewhere: has a key, and agents to be carried.

use super::credits;
use igor_node::{
    GENESIS_WITHIN, RealWorld,
    api::wire::{DeployedInfo, NodeInfo},
    client::{Client, Error, Pace},
};
use igor_protocol::{
    Hash, KeyPair, Manifest, Nanos,
    entry::{Deployment, GenesisBody, Policy, StoreKind},
};
use igor_spine::World;

pub struct Owner(pub KeyPair);

impl Owner {
    pub fn new(seed: u8) -> Self {
        Self(KeyPair::from_seed(&[seed; 32]))
    }

    /// `node.toml` of a node that serves these owners.
    pub fn served(owners: &[&Self], rest: &str) -> String {
        let keys: Vec<_> = owners.iter().map(|owner| format!("\"{}\"", owner.0.public())).collect();
        format!("[policy]\nowners = [{}]\n{rest}", keys.join(", "))
    }

    /// What this owner would send to that node.
    pub fn body(&self, node: &NodeInfo, name: &str, program: &[u8], manifest: &Manifest) -> GenesisBody {
        let mut nonce = [0; 16];
        RealWorld.random(&mut nonce);
        GenesisBody {
            owner: self.0.public(),
            nonce,
            name: name.to_owned(),
            program: Hash::of_blob(program),
            manifest: manifest.hash(),
            runtime: node.runtime.clone(),
            custodian: node.node,
            terms: node.terms().unwrap(),
            budget: credits("10"),
            issuer: self.0.public(),
            store: StoreKind::Disk,
            policy: Policy::default(),
            expires: RealWorld.wall_clock().after(GENESIS_WITHIN),
        }
    }

    pub async fn deploy(&self, client: &Client, name: &str, wat: &str) -> Result<DeployedInfo, Error> {
        let (program, manifest) = (wat::parse_str(wat).unwrap(), quick());
        let body = self.body(&client.node().await.unwrap(), name, &program, &manifest);
        send(client, &body.deploy(&self.0), &manifest, &program).await
    }
}

/// A manifest for agents that tick often.
pub fn quick() -> Manifest {
    Manifest { interval: Nanos::from_millis(5), ..Manifest::default() }
}

pub async fn send(
    client: &Client,
    deployment: &Deployment,
    manifest: &Manifest,
    program: &[u8],
) -> Result<DeployedInfo, Error> {
    client.deploy(deployment, &manifest.encode(), program, Pace::default()).await
}

/// The code of a refusal.
#[track_caller]
pub fn code(result: Result<DeployedInfo, Error>) -> String {
    match result {
        Err(Error::Refused { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}
