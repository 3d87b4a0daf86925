//! Tells a service manager how this process is, by the protocol of `sd_notify(3)`: lines in one datagram to the socket
//! that `NOTIFY_SOCKET` names. Where nobody asked for it, nobody is told.

use std::os::{
    linux::net::SocketAddrExt,
    unix::{
        ffi::OsStrExt,
        net::{SocketAddr, UnixDatagram},
    },
};

const VARIABLE: &str = "NOTIFY_SOCKET";

/// Whoever started this process and wants to know.
pub(super) struct Manager(Option<(UnixDatagram, SocketAddr)>);

impl Manager {
    /// The one that the environment names.
    pub(super) fn of_environment() -> Self {
        let Some(name) = std::env::var_os(VARIABLE) else { return Self(None) };
        let address = match name.as_bytes() {
            // The kernel's abstract names begin with a zero byte, which is written as `@`.
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(&name),
        };
        match address.and_then(|address| Ok((UnixDatagram::unbound()?, address))) {
            Ok(manager) => Self(Some(manager)),
            Err(error) => {
                tracing::warn!(%error, ?name, "{VARIABLE} names no socket; nobody is told how this node is");
                Self(None)
            }
        }
    }

    /// Says lines of `KEY=VALUE`.
    pub(super) fn tell(&self, lines: &str) {
        let Some((socket, address)) = &self.0 else { return };
        if let Err(error) = socket.send_to_addr(lines.as_bytes(), address) {
            tracing::warn!(%error, lines, "the service manager was not told");
        }
    }
}
