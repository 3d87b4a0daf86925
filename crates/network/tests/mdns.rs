//! Nodes on one local network find each other. In a process of its own: whoever else runs here with mDNS is found too.

mod common;

use common::*;
use std::{net::UdpSocket, time::Duration};

/// Whether this machine passes multicast on, back to itself too; containers often do not.
fn has_multicast() -> bool {
    let receiver = UdpSocket::bind("0.0.0.0:0").expect("a port");
    receiver.set_read_timeout(Some(Duration::from_secs(2))).expect("a time limit");
    let port = receiver.local_addr().expect("bound").port();
    let joined = receiver.join_multicast_v4(&[224, 0, 0, 251].into(), &[0, 0, 0, 0].into());
    let sent = joined.and_then(|()| UdpSocket::bind("0.0.0.0:0")?.send_to(b"?", ("224.0.0.251", port)));
    sent.and_then(|_| receiver.recv_from(&mut [0; 9])).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_find_each_other() {
    if !has_multicast() {
        println!("SKIPPED: this machine has no network with multicast, so nothing was tested");
        return;
    }
    let member = |seed| {
        let mut config = config(seed, &["/ip4/0.0.0.0/tcp/0"]);
        config.mdns = true;
        config
    };
    // Only these two: with a private node, others on this network are left alone.
    let (mut first, mut second) = (member(101), member(102));
    for (one, other) in [(&mut first, 102), (&mut second, 101)] {
        one.private = true;
        one.allow = [common::config(other, &[]).node()].into();
    }
    let (first, second) = (start(first).await, start(second).await);
    until("they are connected", || first.is_connected(second.id()) && second.is_connected(first.id())).await;
    echo(&first.network, second.id(), b"found").await;
}
