//! Agents as they are, and what their operator and owner can do with them.

use super::{
    Api, Shared, json,
    messages::read_body,
    refusal::Refusal,
    wire::{AgentInfo, Agents, Controlled, OrderTaken},
};
use crate::{Error, hosted::Hosted, node::blocking};
use axum::{
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use igor_protocol::{AgentId, entry::Order};
use std::sync::Arc;

/// The path parameter that names an agent.
pub(super) type Named = Result<Path<String>, PathRejection>;

/// Media type of metrics.
const METRICS_TYPE: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
/// Longest order, in bytes.
const ORDER_BYTES_MAX: usize = 4096;

impl Api {
    /// The agent with this name or id.
    pub(super) fn resolve(&self, name: &str) -> Result<AgentId, Refusal> {
        // Looked at before: what is created in between is found.
        let starting = self.node.is_starting(name);
        if let Some(agent) = self.node.resolve(name)? {
            return Ok(agent);
        }
        if let Some(elsewhere) = self.node.known_elsewhere(name)? {
            return Err(Error::NotCustodian(Box::new(elsewhere)).into());
        }
        let name = name.chars().take(100).collect();
        Err(if starting { Error::Starting { name } } else { Error::UnknownAgent { name } }.into())
    }

    /// The life of the agent with this name or id. Where it can have none here, that is said, so that nobody waits.
    pub(super) async fn life(&self, name: &str) -> Result<Arc<Hosted>, Refusal> {
        let agent = self.resolve(name)?;
        let starting = self.node.is_starting(&agent.to_string());
        if let Some(life) = self.node.life(agent).filter(|life| !life.is_over()) {
            return Ok(life);
        }
        if starting {
            return Err(Error::Starting { name: name.to_owned() }.into());
        }
        let node = self.node.clone();
        blocking(move || node.check_custody(agent)).await?;
        Err(Refusal::not_running(name))
    }

    async fn status(&self, agent: AgentId) -> Result<Response, Refusal> {
        let node = self.node.clone();
        let status = blocking(move || node.agent(agent)).await?.status;
        json(StatusCode::OK, &Controlled { status })
    }
}

pub(super) async fn node(State(api): State<Shared>) -> Result<Response, Refusal> {
    json(StatusCode::OK, &api.node.info())
}

pub(super) async fn list(State(api): State<Shared>) -> Result<Response, Refusal> {
    let node = api.node.clone();
    let agents = blocking(move || node.agents()).await?;
    json(StatusCode::OK, &Agents { agents })
}

pub(super) async fn show(State(api): State<Shared>, name: Named) -> Result<Response, Refusal> {
    let Path(name) = name?;
    let (node, agent) = (api.node.clone(), api.resolve(&name)?);
    let info = blocking(move || {
        let orphans = node.orphans(Some(agent))?;
        Ok::<_, Error>(AgentInfo { orphans, ..node.agent(agent)? })
    });
    json(StatusCode::OK, &info.await?)
}

pub(super) async fn pause(State(api): State<Shared>, name: Named) -> Result<Response, Refusal> {
    let Path(name) = name?;
    let agent = api.resolve(&name)?;
    api.node.pause(agent).await?;
    api.status(agent).await
}

pub(super) async fn resume(State(api): State<Shared>, name: Named) -> Result<Response, Refusal> {
    let Path(name) = name?;
    let agent = api.resolve(&name)?;
    Box::pin(api.node.resume(agent)).await?;
    api.status(agent).await
}

pub(super) async fn stop(State(api): State<Shared>, name: Named) -> Result<Response, Refusal> {
    let Path(name) = name?;
    let agent = api.resolve(&name)?;
    api.node.stop(agent).await?;
    api.status(agent).await
}

pub(super) async fn order(State(api): State<Shared>, name: Named, body: Body) -> Result<Response, Refusal> {
    let Path(name) = name?;
    let agent = api.resolve(&name)?;
    let bytes = read_body(body, ORDER_BYTES_MAX, api.limits.body_within).await?;
    let order = Order::decode(&bytes).map_err(|e| Refusal::bad_request("bad_order", e))?;
    let seq = Box::pin(api.node.order(agent, order)).await?;
    json(StatusCode::OK, &OrderTaken { seq })
}

pub(super) async fn metrics(State(api): State<Shared>) -> Result<Response, Refusal> {
    let text = api.node.encode_metrics().map_err(|e| Refusal::internal(&e))?;
    let mut response = text.into_response();
    response.headers_mut().insert(CONTENT_TYPE, METRICS_TYPE);
    Ok(response)
}
