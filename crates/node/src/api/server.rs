//! Sockets: who listens, how many are let in, and how it ends.
//!
//! Invariants kept here:
//! - The socket file belongs to the process that holds the home's lock: what lies there before is left over.
//! - Connections are bounded, and so is telling those who come then that there are too many. Each way in has places of
//!   its own: who floods one is not felt in the other.
//! - Who does not read an answer loses the connection, so that no place is held for nothing.

use super::{HEADER_BYTES_MAX, HEADERS_MAX, Limits, guard::Peer, patient::Patient, refusal::Refusal, wire::Failure};
use crate::{Error, node::Node};
use axum::{Extension, Router, http::StatusCode};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{fs, io, net::SocketAddr, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UnixListener},
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// Time that open requests get when the server ends.
const END_WITHIN: Duration = Duration::from_secs(2);
/// Callers that are being told at once that there is no place for them.
const DOORSTEP: usize = 16;
/// Pause after the system refused to accept, for instance because too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A server that runs. Dropping it ends it at once; [`Server::shut_down`] lets requests finish.
pub struct Server {
    /// Kept, so that the home is locked for as long as the socket is this one's.
    _node: Arc<Node>,
    socket: PathBuf,
    tcp: Option<SocketAddr>,
    desks: [Desk; 2],
    ending: watch::Sender<bool>,
    acceptors: Vec<JoinHandle<()>>,
}

/// One way in: what each of its connections needs, and how many there may be.
#[derive(Clone)]
struct Desk {
    router: Router,
    limits: Limits,
    places: Arc<Semaphore>,
    places_max: usize,
    doorstep: Arc<Semaphore>,
    ending: watch::Receiver<bool>,
}

impl Server {
    pub(super) async fn listen(node: &Arc<Node>, limits: Limits, router: Router) -> Result<Self, Error> {
        let socket = node.home().prepare_socket()?;
        let failed = |source| Error::Listen { at: socket.display().to_string(), source };
        // The node holds the home's lock, so nobody listens on what lies here.
        match fs::remove_file(&socket) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        let unix = UnixListener::bind(&socket).map_err(failed)?;
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let tcp = match node.config().api.listen {
            Some(at) => {
                let listener = TcpListener::bind(at).await;
                Some(listener.map_err(|source| Error::Listen { at: at.to_string(), source })?)
            }
            None => None,
        };
        let (ending, ended) = watch::channel(false);
        let desk = |places_max| Desk {
            router: router.clone(),
            limits,
            places: Arc::new(Semaphore::new(places_max)),
            places_max,
            doorstep: Arc::new(Semaphore::new(DOORSTEP)),
            ending: ended.clone(),
        };
        let (at_socket, over_tcp) = (desk(limits.connections), desk(limits.tcp_connections));
        let desks = [at_socket.clone(), over_tcp.clone()];
        let address = tcp.as_ref().and_then(|listener| listener.local_addr().ok());
        let mut acceptors = vec![tokio::spawn(accept_unix(unix, at_socket))];
        acceptors.extend(tcp.map(|listener| tokio::spawn(accept_tcp(listener, over_tcp))));
        tracing::info!(socket = %socket.display(), tcp = ?address, "the API listens");
        Ok(Self { _node: node.clone(), socket, tcp: address, desks, ending, acceptors })
    }

    /// Where its socket is.
    pub const fn socket(&self) -> &PathBuf {
        &self.socket
    }

    /// Where it listens over TCP, if it does.
    pub const fn tcp(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// Stops listening and lets open requests finish, for a moment.
    pub async fn shut_down(self) {
        self.stop_listening();
        self.ending.send_replace(true);
        let all_left = async {
            for desk in &self.desks {
                let all = u32::try_from(desk.places_max).unwrap_or(u32::MAX);
                drop(desk.places.acquire_many(all).await);
            }
        };
        // Whoever is not done by then is cut off when the process ends.
        drop(timeout(END_WITHIN, all_left).await);
    }

    fn stop_listening(&self) {
        for acceptor in &self.acceptors {
            acceptor.abort();
        }
        drop(fs::remove_file(&self.socket));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop_listening();
    }
}

async fn accept_unix(listener: UnixListener, desk: Desk) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => match stream.peer_cred() {
                Ok(peer) => desk.receive(stream, Peer::User(peer.uid())),
                Err(e) => tracing::debug!(error = %e, "a connection from nobody known was closed"),
            },
            Err(e) => refused(&e).await,
        }
    }
}

async fn accept_tcp(listener: TcpListener, desk: Desk) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                drop(stream.set_nodelay(true));
                desk.receive(stream, Peer::Network);
            }
            Err(e) => refused(&e).await,
        }
    }
}

async fn refused(error: &io::Error) {
    tracing::warn!(%error, "the system does not let a connection in; the next attempt follows");
    sleep(ACCEPT_PAUSE).await;
}

impl Desk {
    /// Serves a connection as a task of its own, or turns it away.
    fn receive<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S, peer: Peer) {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            // Being told takes a place as well; who finds none of those either is closed at once.
            if let Ok(place) = self.doorstep.clone().try_acquire_owned() {
                let within = self.limits.header_within;
                tokio::spawn(async move {
                    turn_away(stream, within).await;
                    drop(place);
                });
            }
            return;
        };
        let desk = self.clone();
        tokio::spawn(async move {
            desk.serve(stream, peer).await;
            drop(place);
        });
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(mut self, stream: S, peer: Peer) {
        let service = TowerToHyperService::new(self.router.layer(Extension(peer)));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_within)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEADER_BYTES_MAX)
            // What is sent is not copied: a blob is in memory once, and its place is free when it is gone.
            .writev(true)
            .serve_connection(TokioIo::new(Patient::new(stream, self.limits.taken_within)), service);
        let mut connection = std::pin::pin!(connection);
        let ending = async { drop(self.ending.wait_for(|ending| *ending).await) };
        let served = tokio::select! {
            served = &mut connection => served,
            () = ending => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(e) = served {
            tracing::debug!(error = %e, "a connection ended early");
        }
    }
}

/// Tells a caller that there are too many, once it has said what it wants: who is still writing may not listen.
async fn turn_away<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, within: Duration) {
    let words = "too many connections to this node; try again in a moment";
    let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_connections", words);
    let body = serde_json::to_string(&Failure { error: refusal.body() }).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let told = async {
        let mut header = Vec::new();
        while header.len() < HEADER_BYTES_MAX && !header.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            if stream.read_buf(&mut header).await? == 0 {
                break;
            }
        }
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    };
    drop(timeout(within, told).await);
}
