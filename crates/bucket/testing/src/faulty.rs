//! A proxy between a client and a server of HTTP/1.1, which breaks requests as told.
//!
//! It reads requests whole, so that it knows when one is over; answers go through as they come. A client has one request
//! under way on a connection, as HTTP/1.1 without pipelining has it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// Longest head of a request.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Longest body of a request.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// What happens to the requests that come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They go through.
    None,
    /// They go through so much later.
    Late(Duration),
    /// The connection is cut after half of a request went through.
    CutRequest,
    /// A request goes through and is answered; the connection is cut before the answer.
    LoseAnswer,
    /// A request goes through and is answered; the connection is cut after the first half of what came of the answer.
    CutAnswer,
    /// They are answered with this status, and do not go through: 503 or 429.
    Answer(u16),
    /// They are taken, and never answered.
    Silent,
    /// Connections are cut, and refused from then on.
    Refuse,
}

/// A proxy whose fault can be set at any time. It ends when it is dropped.
pub struct Faulty {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    proxy: AbortHandle,
}

impl Faulty {
    /// Starts one in front of a server, on the runtime that this is called on.
    ///
    /// # Panics
    ///
    /// If there is no port on loopback, or no runtime.
    pub fn start(server: SocketAddr) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = bind(any).and_then(|socket| socket.listen(BACKLOG)).expect("a port on loopback");
        let address = listener.local_addr().expect("its address");
        let (fault, faults) = watch::channel(Fault::None);
        let proxy = tokio::spawn(accept(listener, address, server, faults)).abort_handle();
        Self { address, fault, proxy }
    }

    /// Its address, such as `http://127.0.0.1:40000`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What happens to requests that begin from now on.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.proxy.abort();
    }
}

/// Connections are tasks of this one, so they end with it.
async fn accept(
    listener: TcpListener,
    address: SocketAddr,
    server: SocketAddr,
    mut faults: watch::Receiver<Fault>,
) -> io::Result<()> {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        if *faults.borrow_and_update() == Fault::Refuse {
            // Bound without listening, before the other is closed: the port stays ours, and connections to it are refused.
            let held = bind(address)?;
            drop(listener.take());
            connections.shutdown().await;
            if faults.wait_for(|fault| *fault != Fault::Refuse).await.is_err() {
                return Ok(());
            }
            listener = Some(held.listen(BACKLOG)?);
        }
        let Some(listener) = &listener else { continue };
        tokio::select! {
            accepted = listener.accept() => {
                let (client, _) = accepted?;
                let faults = faults.clone();
                connections.spawn(async move { drop(carry(client, server, faults).await) });
            }
            changed = faults.changed() => if changed.is_err() { return Ok(()) },
            Some(_) = connections.join_next() => {}
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Carries the requests of one connection. An error, or the end, cuts both sides.
async fn carry(mut client: TcpStream, server: SocketAddr, faults: watch::Receiver<Fault>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut upstream: Option<TcpStream> = None;
    loop {
        let Some(request) = request(&mut client, &mut upstream).await? else { return Ok(()) };
        let fault = *faults.borrow();
        match fault {
            Fault::None | Fault::CutRequest | Fault::LoseAnswer | Fault::CutAnswer => {}
            Fault::Late(late) => tokio::time::sleep(late).await,
            Fault::Answer(status) => {
                let answer = format!("HTTP/1.1 {status} by the proxy\r\nContent-Length: 0\r\n\r\n");
                client.write_all(answer.as_bytes()).await?;
                continue;
            }
            Fault::Silent => {
                // Until the client gives up.
                while client.read(&mut [0; 1024]).await? > 0 {}
                return Ok(());
            }
            Fault::Refuse => return Ok(()),
        }
        let server = match &mut upstream {
            Some(server) => server,
            None => upstream.insert(TcpStream::connect(server).await?),
        };
        server.set_nodelay(true)?;
        if fault == Fault::CutRequest {
            server.write_all(&request[..request.len() / 2]).await?;
            return Ok(());
        }
        server.write_all(&request).await?;
        if fault == Fault::LoseAnswer {
            // Its first byte shows that the server has done what was asked.
            server.read_u8().await?;
            return Ok(());
        }
        if fault == Fault::CutAnswer {
            let mut answer = vec![0; 64 << 10];
            let length = server.read(&mut answer).await?;
            return client.write_all(&answer[..length / 2]).await;
        }
    }
}

/// Reads one request; meanwhile the answer to the one before goes through.
async fn request(client: &mut TcpStream, upstream: &mut Option<TcpStream>) -> io::Result<Option<Vec<u8>>> {
    let mut request = Vec::new();
    let (mut from_client, mut from_server) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        if let Some(length) = length(&request)? {
            if request.len() >= length {
                return Ok(Some(request));
            }
        } else if request.len() > HEAD_BYTES_MAX {
            return Err(io::Error::other("a head without end"));
        }
        let server = async {
            match upstream.as_mut() {
                Some(server) => server.read(&mut from_server).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            read = client.read(&mut from_client) => match read? {
                0 => return Ok(None),
                n => request.extend_from_slice(&from_client[..n]),
            },
            read = server => match read? {
                0 => return Ok(None),
                n => client.write_all(&from_server[..n]).await?,
            },
        }
    }
}

/// Length of the whole request, once its head is there.
fn length(request: &[u8]) -> io::Result<Option<usize>> {
    let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
    let body = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    let body = body.unwrap_or_default();
    if body > BODY_BYTES_MAX {
        return Err(io::Error::other("a body that is too long"));
    }
    Ok(Some(end + 4 + body))
}
