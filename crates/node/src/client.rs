//! Calls a node's API, over its Unix socket or over TCP with a token.
//!
//! Invariants kept here:
//! - Each call ends: connecting and waiting for an answer are bounded, and so is what is read.
//! - An error says whether the node was reached: [`Error::Unreachable`] means that nothing happened.
//! - A call is made once. Only [`send_lines`] tries again, and only what the node's exactly-once rule makes safe.

use crate::api::wire::{
    AgentCheck, AgentInfo, Agents, BODY_BYTES_MAX, Batch, BatchAnswer, Check, Controlled, DrainEvent, Elsewhere,
    ErrorBody, Event, Failure, MessageAnswer, MessageStatus, Move, MoveEvent, NodeInfo, NodeRow, Nodes, OrderTaken,
    Outgoing, StreamInfo,
};
use http_body_util::{BodyExt, Full, Limited, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER},
};
use hyper_util::rt::TokioIo;
use igor_protocol::{Hash, NodeId, Seq, entry::Order};
use serde::{Serialize, de::DeserializeOwned};
use std::{io, net::SocketAddr, path::PathBuf, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

mod attempts;
mod custody;
mod deploy;
mod lines;
mod sender;
mod stream;

pub use attempts::Attempts;
pub use deploy::Pace;
pub use lines::{Lines, LinesError, Progress, send_lines};
pub use sender::SentAs;
pub use stream::{CommitStream, LineStream};

/// Longest time to connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Longest time until an answer begins, beside what the call itself asks to wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Longest answer that is not a stream, in bytes. A batch of replies fits; a list of many thousand agents does.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What is sent with a request.
type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Its Unix socket; the caller is known by its user id.
    Socket(PathBuf),
    /// Over TCP; the caller is known by its token.
    Tcp {
        /// Address and port.
        address: SocketAddr,
        /// The token.
        token: String,
    },
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Tcp { address, .. } => address.fmt(f),
        }
    }
}

/// Why a call did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No node listens there. Nothing happened.
    #[error("no node at {address} ({source}); start one with `igor node start`, or an agent with `igor run`")]
    Unreachable {
        /// Where.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// The connection ended before the answer did. Whether the node did what was asked is unknown.
    #[error("the node at {address} went away before its answer was complete: {why}")]
    Interrupted {
        /// Where.
        address: Address,
        /// What was seen.
        why: String,
    },
    /// No answer in time. Whether the node did what was asked is unknown.
    #[error("the node at {address} gave no answer within {seconds} s")]
    Timeout {
        /// Where.
        address: Address,
        /// How long was waited.
        seconds: u64,
    },
    /// The node has no such thing.
    #[error("{message}")]
    NotFound {
        /// The word in docs/api.md.
        code: String,
        /// What the node said.
        message: String,
    },
    /// The agent is not on this node, and another one has it.
    #[error("{message}")]
    Moved {
        /// Where it is.
        elsewhere: Box<Elsewhere>,
        /// What the node said.
        message: String,
    },
    /// The node refused.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The word in docs/api.md.
        code: String,
        /// What the node said.
        message: String,
        /// When to try again, where that makes sense.
        retry_after: Option<Duration>,
    },
    /// The answer is not one of this API.
    #[error("the answer of {address} is not one that this igor understands: {why}")]
    Protocol {
        /// Where.
        address: Address,
        /// What was wrong.
        why: String,
    },
}

impl Error {
    /// Whether the node may be there again soon: it was not, went away, is starting or stopping, or its inbox is full.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Interrupted { .. } | Self::Timeout { .. } => true,
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 503),
            Self::NotFound { .. } | Self::Moved { .. } | Self::Protocol { .. } => false,
        }
    }

    /// Whether it is certain that the node did nothing of what was asked.
    pub fn did_nothing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::NotFound { .. } | Self::Moved { .. } => true,
            Self::Refused { status, code, .. } => {
                let before_all = ["moving", "not_running", "starting", "stopping", "too_many_connections"];
                *status < 500 || before_all.contains(&code.as_str())
            }
            Self::Interrupted { .. } | Self::Timeout { .. } | Self::Protocol { .. } => false,
        }
    }
}

/// A node's API. Each call opens a connection of its own, so a client outlives the node's restarts.
#[derive(Clone, Debug)]
pub struct Client {
    address: Address,
}

impl Client {
    /// A client of the node at `address`. Nothing is sent yet.
    pub const fn new(address: Address) -> Self {
        Self { address }
    }

    /// Where it calls.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// Who answers.
    pub async fn node(&self) -> Result<NodeInfo, Error> {
        self.get("/v1/node").await
    }

    /// All agents.
    pub async fn agents(&self) -> Result<Vec<AgentInfo>, Error> {
        self.get::<Agents>("/v1/agents").await.map(|answer| answer.agents)
    }

    /// One agent, by its name or id.
    pub async fn agent(&self, name: &str) -> Result<AgentInfo, Error> {
        self.get(&agent_path(name, &[])).await
    }

    /// Sends up to [`BATCH_MAX`](crate::api::wire::BATCH_MAX) messages, together at most [`BODY_BYTES_MAX`] bytes as
    /// JSON. One answer for each, in their order.
    pub async fn send(&self, name: &str, messages: Vec<Outgoing>) -> Result<Vec<MessageAnswer>, Error> {
        self.put(name, messages, None).await
    }

    async fn put(
        &self,
        name: &str,
        messages: Vec<Outgoing>,
        sender: Option<String>,
    ) -> Result<Vec<MessageAnswer>, Error> {
        let count = messages.len();
        let request = self.json(Method::POST, &agent_path(name, &["messages"]), &Batch { messages, sender })?;
        let bytes = hyper::body::Body::size_hint(request.body()).lower();
        if bytes > BODY_BYTES_MAX as u64 {
            // The node would say the same, but may hang up before it has heard all of it.
            let message = format!("the messages take {bytes} bytes as JSON; a request has at most {BODY_BYTES_MAX}");
            return Err(Error::Refused { status: 413, code: "body_too_large".into(), message, retry_after: None });
        }
        let (status, retry_after, bytes) = self.exchange(request, ANSWER_WITHIN).await?;
        // Where single messages are refused, the answer is still one for each.
        let Ok(answer) = serde_json::from_slice::<BatchAnswer>(&bytes) else {
            return Err(refusal(status, retry_after, &bytes));
        };
        if answer.results.len() != count {
            return Err(self.protocol(format!("{} answers to {count} messages", answer.results.len())));
        }
        Ok(answer.results)
    }

    /// What is known of a message of this sender; waits up to `wait` (at most a minute) until it is closed.
    pub async fn message(&self, name: &str, id: &str, wait: Duration) -> Result<MessageStatus, Error> {
        let path = format!("{}?wait={}", agent_path(name, &["messages", id]), wait.as_secs());
        let request = self.request(Method::GET, &path, Bytes::new())?;
        self.answer(request, ANSWER_WITHIN + wait).await
    }

    /// The highest number of this sender's stream that came in; 0 where none did.
    pub async fn stream_highest(&self, name: &str, stream: &str) -> Result<u64, Error> {
        self.get::<StreamInfo>(&agent_path(name, &["streams", stream])).await.map(|answer| answer.highest)
    }

    /// Commits an owner's order. Returns its position.
    pub async fn order(&self, name: &str, order: &Order) -> Result<Seq, Error> {
        let request = self.request(Method::POST, &agent_path(name, &["orders"]), order.encode().into())?;
        self.answer::<OrderTaken>(request, ANSWER_WITHIN).await.map(|answer| answer.seq)
    }

    /// Stops ticking until [`Client::resume`]. Returns the agent's status.
    pub async fn pause(&self, name: &str) -> Result<String, Error> {
        self.control(name, "pause").await
    }

    /// Goes on after a pause, or once more after a suspension. Returns the agent's status.
    pub async fn resume(&self, name: &str) -> Result<String, Error> {
        self.control(name, "resume").await
    }

    /// Checkpoints and stops an agent. Returns once it has stopped, with its status.
    pub async fn stop(&self, name: &str) -> Result<String, Error> {
        self.control(name, "stop").await
    }

    /// The journal from the commit that holds `from`; with `follow` it goes on until the
    /// agent's life is over.
    pub async fn journal(&self, name: &str, from: Seq, follow: bool) -> Result<CommitStream, Error> {
        let path = format!("{}?from={from}&follow={follow}", agent_path(name, &["journal"]));
        self.open(&path).await.map(|body| CommitStream::new(self.address.clone(), body))
    }

    /// What happens to an agent from now on, until its life is over.
    pub async fn events(&self, name: &str) -> Result<LineStream<Event>, Error> {
        self.open(&agent_path(name, &["events"])).await.map(|body| LineStream::new(self.address.clone(), body))
    }

    /// The other nodes that this one knows.
    pub async fn nodes(&self) -> Result<Vec<NodeRow>, Error> {
        let request = self.request(Method::GET, "/v1/nodes", Bytes::new())?;
        self.answer::<Nodes>(request, ANSWER_WITHIN).await.map(|answer| answer.nodes)
    }

    /// What would happen to the agents of this node if it died now.
    pub async fn check(&self) -> Result<Vec<AgentCheck>, Error> {
        let request = self.request(Method::GET, "/v1/node/check", Bytes::new())?;
        self.answer::<Check>(request, ANSWER_WITHIN).await.map(|answer| answer.agents)
    }

    /// Hands an agent to another node; gives how far that is, and whether it went well, as it goes on.
    pub async fn migrate(&self, name: &str, to: NodeId) -> Result<LineStream<MoveEvent>, Error> {
        let body = serde_json::to_vec(&Move { to }).map_err(|e| self.protocol(e.to_string()))?;
        let request = self.request(Method::POST, &agent_path(name, &["moves"]), body.into())?;
        self.stream(request).await.map(|body| LineStream::new(self.address.clone(), body))
    }

    /// Hands every agent of the node to others; gives what became of each as it goes on.
    pub async fn drain(&self) -> Result<LineStream<DrainEvent>, Error> {
        let request = self.request(Method::POST, "/v1/node/drain", Bytes::new())?;
        self.stream(request).await.map(|body| LineStream::new(self.address.clone(), body))
    }

    /// A blob, checked against its hash; nothing where the node does not have it.
    pub async fn blob(&self, hash: Hash, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        let body = match self.open(&format!("/v1/blobs/{hash}")).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            other => other?,
        };
        let limit = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let bytes = self.collect(body, limit).await?;
        if Hash::of_blob(&bytes) == hash {
            Ok(Some(bytes.into()))
        } else {
            Err(self.protocol("a blob was changed".into()))
        }
    }

    /// The metrics in the text format of Prometheus.
    pub async fn metrics(&self) -> Result<String, Error> {
        let body = self.open("/metrics").await?;
        let bytes = self.collect(body, ANSWER_BYTES_MAX).await?;
        String::from_utf8(bytes.into()).map_err(|_| self.protocol("metrics that are not text".into()))
    }

    async fn control(&self, name: &str, verb: &str) -> Result<String, Error> {
        let request = self.request(Method::POST, &agent_path(name, &[verb]), Bytes::new())?;
        // A stop waits for the tick that is under way and for the checkpoint.
        self.answer::<Controlled>(request, ANSWER_WITHIN * 2).await.map(|answer| answer.status)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.answer(self.request(Method::GET, path, Bytes::new())?, ANSWER_WITHIN).await
    }

    async fn answer<T: DeserializeOwned>(&self, request: Request<Body>, within: Duration) -> Result<T, Error> {
        let (status, retry_after, bytes) = self.exchange(request, within).await?;
        if !status.is_success() {
            return Err(refusal(status, retry_after, &bytes));
        }
        serde_json::from_slice(&bytes).map_err(|e| self.protocol(e.to_string()))
    }

    /// Sends a request and reads the whole answer.
    async fn exchange(
        &self,
        request: Request<Body>,
        within: Duration,
    ) -> Result<(StatusCode, Option<Duration>, Bytes), Error> {
        let response = self.call(request, within).await?;
        let (status, retry_after) = (response.status(), retry_after(&response));
        let bytes = match timeout(within, self.collect(response.into_body(), ANSWER_BYTES_MAX)).await {
            Ok(bytes) => bytes?,
            Err(_) => return Err(self.timeout(within)),
        };
        Ok((status, retry_after, bytes))
    }

    /// Sends a request whose answer is read as it comes.
    async fn open(&self, path: &str) -> Result<Incoming, Error> {
        self.stream(self.request(Method::GET, path, Bytes::new())?).await
    }

    /// The body of an answer that goes on.
    async fn stream(&self, request: Request<Body>) -> Result<Incoming, Error> {
        let response = self.call(request, ANSWER_WITHIN).await?;
        let (status, retry_after) = (response.status(), retry_after(&response));
        if status.is_success() {
            return Ok(response.into_body());
        }
        let bytes = self.collect(response.into_body(), ANSWER_BYTES_MAX).await?;
        Err(refusal(status, retry_after, &bytes))
    }

    async fn call(&self, request: Request<Body>, within: Duration) -> Result<Response<Incoming>, Error> {
        let unreachable = |source| Error::Unreachable { address: self.address.clone(), source };
        let connected = timeout(CONNECT_WITHIN, async {
            match &self.address {
                Address::Socket(path) => begin(UnixStream::connect(path).await?).await,
                Address::Tcp { address, .. } => begin(TcpStream::connect(address).await?).await,
            }
        });
        let mut connection = match connected.await {
            Ok(connection) => connection.map_err(unreachable)?,
            Err(_) => return Err(unreachable(io::ErrorKind::TimedOut.into())),
        };
        match timeout(within, connection.send_request(request)).await {
            Ok(response) => response.map_err(|e| self.interrupted(&e)),
            Err(_) => Err(self.timeout(within)),
        }
    }

    async fn collect(&self, body: Incoming, bytes_max: usize) -> Result<Bytes, Error> {
        match Limited::new(body, bytes_max).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(e) if e.is::<http_body_util::LengthLimitError>() => {
                Err(self.protocol(format!("an answer of more than {bytes_max} bytes")))
            }
            Err(e) => Err(self.interrupted(&*e)),
        }
    }

    fn json<T: Serialize>(&self, method: Method, path: &str, body: &T) -> Result<Request<Body>, Error> {
        let bytes = serde_json::to_vec(body).map_err(|e| self.protocol(e.to_string()))?;
        let mut request = self.request(method, path, bytes.into())?;
        request.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
        Ok(request)
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Body>, Error> {
        let builder = Request::builder().method(method).uri(path);
        let builder = match &self.address {
            Address::Socket(_) => builder.header(HOST, "localhost"),
            Address::Tcp { address, token } => {
                builder.header(HOST, address.to_string()).header(AUTHORIZATION, format!("Bearer {token}"))
            }
        };
        builder
            .body(Full::new(body).map_err(|never| match never {}).boxed_unsync())
            .map_err(|e| self.protocol(e.to_string()))
    }

    fn timeout(&self, within: Duration) -> Error {
        Error::Timeout { address: self.address.clone(), seconds: within.as_secs() }
    }

    fn interrupted(&self, why: &dyn std::error::Error) -> Error {
        Error::Interrupted { address: self.address.clone(), why: why.to_string() }
    }

    fn protocol(&self, why: String) -> Error {
        Error::Protocol { address: self.address.clone(), why }
    }
}

async fn begin<S>(stream: S) -> io::Result<http1::SendRequest<Body>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends when the response was read or dropped; its errors reach whoever reads the response.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn refusal(status: StatusCode, retry_after: Option<Duration>, bytes: &[u8]) -> Error {
    let (code, message) = match serde_json::from_slice::<Failure>(bytes) {
        Ok(Failure { error: ErrorBody { elsewhere: Some(elsewhere), message, .. } }) => {
            return Error::Moved { elsewhere, message };
        }
        Ok(Failure { error }) => (error.code, error.message),
        // The HTTP layer refuses what is no HTTP before the API sees it, without a body.
        Err(_) => ("http".to_owned(), format!("the node answered {status}")),
    };
    if status == StatusCode::NOT_FOUND {
        return Error::NotFound { code, message };
    }
    Error::Refused { status: status.as_u16(), code, message, retry_after }
}

fn retry_after(response: &Response<Incoming>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The path of an agent, or of something of it. Names and ids are other people's text, so all but plain characters
/// are escaped.
fn agent_path(name: &str, rest: &[&str]) -> String {
    let mut path = "/v1/agents".to_owned();
    for part in std::iter::once(&name).chain(rest) {
        path.push('/');
        path.push_str(&escaped(part));
    }
    path
}

/// A text as it stands in a path or a query.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.extend(["%", &hex::encode_upper([byte])]);
        }
    }
    escaped
}
