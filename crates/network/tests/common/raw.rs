//! The wire by hand, for peers that do what no library would: TCP, multistream-select, Noise, Yamux.

use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{
    Multiaddr, core::upgrade::OutboundConnectionUpgrade, identity::Keypair, multiaddr::Protocol, noise,
    tcp::tokio::TcpStream,
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
};

pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Where a TCP or UDP address leads.
pub(crate) fn socket(address: &Multiaddr) -> SocketAddr {
    let mut parts = address.iter();
    match (parts.next(), parts.next()) {
        (Some(Protocol::Ip4(ip)), Some(Protocol::Tcp(port) | Protocol::Udp(port))) => (ip, port).into(),
        other => panic!("no address of a test: {other:?}"),
    }
}

/// A TCP connection from this loopback address.
pub(crate) async fn tcp(from: [u8; 4], to: SocketAddr) -> io::Result<tokio::net::TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind((IpAddr::from(from), 0).into())?;
    socket.connect(to).await
}

/// A multistream-select message.
pub(crate) fn message(text: &str) -> Vec<u8> {
    let mut message = vec![u8::try_from(text.len() + 1).expect("short")];
    message.extend(text.as_bytes());
    message.push(b'\n');
    message
}

/// Agrees on this protocol, as the side that proposes.
pub(crate) async fn agree(io: &mut (impl Io + ?Sized), protocol: &str) -> io::Result<()> {
    let proposal = [message("/multistream/1.0.0"), message(protocol)].concat();
    io.write_all(&proposal).await?;
    io.flush().await?;
    let mut answer = vec![0; proposal.len()];
    io.read_exact(&mut answer).await?;
    if answer == proposal { Ok(()) } else { Err(io::Error::other(format!("answered {answer:?}"))) }
}

/// An authenticated connection on which Yamux was agreed on, and nothing sent since.
pub(crate) async fn connect(key: &Keypair, from: [u8; 4], to: SocketAddr) -> io::Result<Box<dyn Io>> {
    secure(key, tcp(from, to).await?).await
}

/// The same over a connection that was made.
pub(crate) async fn secure(key: &Keypair, io: tokio::net::TcpStream) -> io::Result<Box<dyn Io>> {
    let mut io = TcpStream(io);
    agree(&mut io, "/noise").await?;
    let config = noise::Config::new(key).expect("a key");
    let (_, mut io) = config.upgrade_outbound(io, "/noise").await.map_err(io::Error::other)?;
    agree(&mut io, "/yamux/1.0.0").await?;
    Ok(Box::new(io))
}

pub(crate) const DATA: u8 = 0;
pub(crate) const WINDOW: u8 = 1;
pub(crate) const SYN: u8 = 1;

/// A Yamux frame; `length` is what it says.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, length: u32, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, kind, 0, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(length.to_be_bytes());
    frame.extend(body);
    frame
}

/// A data frame.
pub(crate) fn data(flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    frame(DATA, flags, stream, u32::try_from(body.len()).expect("short"), body)
}

/// The beginning of a stream that proposes this protocol and sends this without waiting.
pub(crate) fn begin(stream: u32, protocol: &str, body: &[u8]) -> Vec<u8> {
    data(SYN, stream, &[&message("/multistream/1.0.0")[..], &message(protocol), body].concat())
}

/// Reads and drops whatever comes, until the other side ends it. Gives how many bytes came.
pub(crate) async fn drain(io: &mut (impl Io + ?Sized)) -> usize {
    let (mut buffer, mut total) = (vec![0; 1 << 16], 0);
    while let Ok(read @ 1..) = io.read(&mut buffer).await {
        total += read;
    }
    total
}
