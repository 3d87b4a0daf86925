//! Sends an owner's deployment to the node that it names.

use super::{Client, Error};
use crate::api::wire::DeployedInfo;
use hyper::{Method, body::Bytes};
use igor_protocol::{Nanos, entry::Deployment};
use std::time::Duration;

/// Longest time until a node has compiled and begun an agent, in its turn.
const DEPLOYED_WITHIN: Duration = Duration::from_mins(3);

/// How an agent shall live, where its manifest shall not say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Time between two interval ticks.
    pub interval: Option<Nanos>,
    /// Time between two checkpoints.
    pub checkpoint_interval: Option<Nanos>,
}

impl Client {
    /// Asks the node to carry an agent. The program travels only if the node does not have it. Asking again with the
    /// same deployment is safe: it is the same agent.
    pub async fn deploy(
        &self,
        deployment: &Deployment,
        manifest: &[u8],
        program: &[u8],
        pace: Pace,
    ) -> Result<DeployedInfo, Error> {
        let terms = [("interval_ns", pace.interval), ("checkpoint_interval_ns", pace.checkpoint_interval)];
        let terms = terms.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?.0)));
        let path = format!("/v1/agents?{}", terms.collect::<Vec<_>>().join("&"));
        let ask = async |program: &[u8]| {
            let parts = [&deployment.encode()[..], manifest, program];
            let request = self.request(Method::POST, &path, self.framed(&parts)?)?;
            self.answer(request, DEPLOYED_WITHIN).await
        };
        match ask(&[]).await {
            Err(Error::Refused { code, .. }) if code == "program_needed" => ask(program).await,
            other => other,
        }
    }

    /// Each part after its length.
    fn framed(&self, parts: &[&[u8]]) -> Result<Bytes, Error> {
        let mut framed = Vec::with_capacity(parts.iter().map(|part| 4 + part.len()).sum());
        for part in parts {
            let length = u32::try_from(part.len()).map_err(|e| self.protocol(e.to_string()))?;
            framed.extend_from_slice(&length.to_be_bytes());
            framed.extend_from_slice(part);
        }
        Ok(framed.into())
    }
}
