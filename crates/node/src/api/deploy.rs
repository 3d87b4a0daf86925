//! Agents on their way in: an owner's deployment, its manifest and its program in one body.
//!
//! ```text
//!   length (4 bytes, big-endian) | deployment | length | manifest | length | program, or length 0
//! ```
//!
//! Invariants kept here:
//! - Few large bodies are in memory at once, each within its bounds.
//! - Who asks over the API is known, but what counts is who signed: [`Node::deploy`](crate::Node::deploy) checks that.

use super::{
    Shared, json,
    messages::read_body,
    refusal::Refusal,
    wire::{BODY_BYTES_MAX, DEPLOY_BYTES_MAX, DeployedInfo},
};
use crate::{Deploy, node::blocking};
use axum::{
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::Response,
};
use igor_protocol::{Nanos, entry::Deployment};
use serde::Deserialize;

/// How the owner wants it to live, where its manifest shall not say it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pace {
    interval_ns: Option<u64>,
    checkpoint_interval_ns: Option<u64>,
}

pub(super) async fn deploy(
    State(api): State<Shared>,
    pace: Result<Query<Pace>, QueryRejection>,
    body: Body,
) -> Result<Response, Refusal> {
    let Query(Pace { interval_ns, checkpoint_interval_ns }) = pace?;
    let is_small = hyper::body::Body::size_hint(&body).upper().is_some_and(|bytes| bytes <= BODY_BYTES_MAX as u64);
    let (bytes, _place) = if is_small {
        (read_body(body, BODY_BYTES_MAX, api.limits.body_within).await?, None)
    } else {
        let place = api.programs.acquire().await.map_err(|e| Refusal::internal(&e))?;
        (read_body(body, DEPLOY_BYTES_MAX, api.limits.program_within).await?, Some(place))
    };
    let deploy = parse(&bytes)?;
    drop(bytes);
    let deploy =
        Deploy { interval: interval_ns.map(Nanos), checkpoint_interval: checkpoint_interval_ns.map(Nanos), ..deploy };
    let deployed = api.node.deploy(deploy).await?;
    let node = api.node.clone();
    let agent = blocking(move || node.agent(deployed.agent)).await?;
    let status = if deployed.created { StatusCode::CREATED } else { StatusCode::OK };
    json(status, &DeployedInfo { created: deployed.created, agent })
}

fn parse(bytes: &[u8]) -> Result<Deploy, Refusal> {
    let bad = |why: &str| Refusal::bad_request("bad_deployment", why);
    let mut rest = bytes;
    let mut part = || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (part, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        rest = after;
        Some(part)
    };
    let cut = || bad("the body has three parts, each after its length: deployment, manifest, program");
    let (deployment, manifest, program) = (part().ok_or_else(cut)?, part().ok_or_else(cut)?, part().ok_or_else(cut)?);
    if !rest.is_empty() {
        return Err(cut());
    }
    Ok(Deploy {
        deployment: Deployment::decode(deployment).map_err(|e| bad(&e.to_string()))?,
        manifest: manifest.to_vec(),
        program: (!program.is_empty()).then(|| program.to_vec()),
        interval: None,
        checkpoint_interval: None,
    })
}
