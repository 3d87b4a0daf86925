//! What happens on streams that peers begin: admission, then the node's [`Handler`].
//!
//! Invariants kept here:
//! - A stream is served only while it holds a place, of its peer's and of all; the place is given back when it ends.
//! - Transfers take long: listed peers have places for them that others cannot take.
//! - A peer that is over a limit is told that the node is busy, where that costs little, and is refused otherwise; a
//!   peer that keeps on being refused loses its connections.
//! - A request is read whole, within its limits of size and time, before the node sees it.

use crate::{
    ASK, Config, Handler, Limits, MOVE, Refusal, Request, Response, SEEN, Stream, Times,
    bucket::Bucket,
    counters::Counters,
    frame,
    gate::Lists,
    limits::{FORGIVEN_PER_SECOND, STRIKES_MAX},
    message::{self, MESSAGE_BYTES_MAX, Why},
    network::State,
    seen,
    stream::Begun,
};
use futures_util::AsyncWriteExt;
use igor_protocol::{NodeId, codec};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};

/// Refusals that are being written at once; others are refused without a word.
const POLITE_MAX: usize = 32;
/// Peers whose rates are remembered although they are not connected.
const REMEMBERED_MAX: usize = 1024;

/// Serves the streams of all peers.
pub(crate) struct Server {
    handler: Arc<dyn Handler>,
    state: Arc<State>,
    counters: Arc<Counters>,
    limits: Limits,
    times: Times,
    requests: Arc<Semaphore>,
    transfers: Arc<Semaphore>,
    transfers_of_strangers: Arc<Semaphore>,
    lists: Lists,
    polite: Arc<Semaphore>,
    guests: Mutex<HashMap<NodeId, Arc<Guest>>>,
    stop: watch::Sender<bool>,
}

/// What one peer has taken, over all of its connections.
#[derive(Debug)]
pub(crate) struct Guest {
    node: NodeId,
    listed: bool,
    requests: Arc<Semaphore>,
    transfers: Arc<Semaphore>,
    rates: Mutex<Rates>,
    rest: Duration,
}

#[derive(Debug)]
struct Rates {
    requests: Bucket,
    strikes: Bucket,
    /// When it may begin a transfer again.
    transfers_from: Instant,
}

/// What is to be done with a peer after one of its streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Stay,
    /// It was refused too often.
    Leave,
}

impl Server {
    pub(crate) fn new(handler: Arc<dyn Handler>, state: Arc<State>, lists: Lists, config: &Config) -> Self {
        let (limits, times) = (config.limits.clone(), config.times.clone());
        Self {
            handler,
            lists,
            counters: Arc::clone(&state.counters),
            state,
            requests: Arc::new(Semaphore::new(limits.requests)),
            transfers: Arc::new(Semaphore::new(limits.transfers)),
            transfers_of_strangers: Arc::new(Semaphore::new(limits.transfers_of_strangers)),
            polite: Arc::new(Semaphore::new(POLITE_MAX)),
            limits,
            times,
            guests: Mutex::new(HashMap::new()),
            stop: watch::Sender::new(false),
        }
    }

    /// What this peer has taken. Remembered while it is connected, and after it until its rates have recovered, so that
    /// connecting again gives nothing back.
    pub(crate) fn guest(&self, node: NodeId) -> Arc<Guest> {
        let now = Instant::now();
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        if guests.len() >= REMEMBERED_MAX && !guests.contains_key(&node) {
            guests.retain(|_, guest| Arc::strong_count(guest) > 1 || !guest.is_rested(now));
            if guests.len() >= REMEMBERED_MAX {
                // All of them were busy a moment ago; those that are gone are forgotten rather than held for ever.
                guests.retain(|_, guest| Arc::strong_count(guest) > 1);
            }
        }
        let limits = &self.limits;
        let guest = || Guest {
            node,
            listed: self.lists.is_listed(node),
            requests: Arc::new(Semaphore::new(limits.requests_per_peer)),
            transfers: Arc::new(Semaphore::new(limits.transfers_per_peer)),
            rates: Mutex::new(Rates {
                requests: Bucket::new(limits.request_burst, limits.requests_per_second, now),
                strikes: Bucket::new(STRIKES_MAX, FORGIVEN_PER_SECOND, now),
                transfers_from: now,
            }),
            rest: self.times.rest,
        };
        Arc::clone(guests.entry(node).or_insert_with(|| Arc::new(guest())))
    }

    /// Takes a stream that a peer began, or refuses it. Returns at once.
    pub(crate) fn take(self: &Arc<Self>, guest: &Arc<Guest>, io: libp2p::Stream, protocol: &str) -> Verdict {
        let admitted = if protocol == MOVE { self.admit_transfer(guest) } else { self.admit_request(guest) };
        let (server, node) = (Arc::clone(self), guest.node);
        match admitted {
            Ok(places) if protocol == ASK => {
                self.spawn(async move { server.answer(node, io, places).await });
            }
            Ok(places) if protocol == SEEN => {
                self.spawn(async move { server.tell_where(node, io, places).await });
            }
            Ok(places) => {
                self.counters.transfers_in(1);
                let frame_bytes = self.limits.frame_bytes;
                let counters = Arc::clone(&self.counters);
                let begun: Arc<dyn Begun> = Arc::clone(guest) as _;
                let stream = Stream::new(io, node, frame_bytes, &self.times, counters, Some(begun), Arc::new(places));
                self.spawn(async move { server.handler.transfer(node, stream).await });
            }
            Err(why) => {
                self.counters.refuse(why, &node, &format_args!("a stream of {protocol}: over a limit"));
                if !guest.strike() {
                    self.counters.refuse(Refusal::Flood, &node, &"refused too often; its connections are closed");
                    return Verdict::Leave;
                }
                if protocol == ASK {
                    self.say_busy(io);
                }
            }
        }
        Verdict::Stay
    }

    /// Ends everything that is being served.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Runs until it is done or everything ends.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut stop = self.stop.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                () = work => {}
                // It fails only when the server is gone, which ends it as well.
                _ = stop.wait_for(|stop| *stop) => {}
            }
        });
    }

    fn admit_request(&self, guest: &Guest) -> Result<[OwnedSemaphorePermit; 2], Refusal> {
        if !guest.rates().requests.take(1, Instant::now()) {
            return Err(Refusal::RequestRate);
        }
        places(&guest.requests, &self.requests).ok_or(Refusal::Requests)
    }

    fn admit_transfer(&self, guest: &Guest) -> Result<[OwnedSemaphorePermit; 2], Refusal> {
        if Instant::now() < guest.rates().transfers_from {
            return Err(Refusal::Transfers);
        }
        let all = if guest.listed { &self.transfers } else { &self.transfers_of_strangers };
        places(&guest.transfers, all).ok_or(Refusal::Transfers)
    }

    /// Tells an honest peer to come later. A dishonest one learns nothing that it did not know.
    fn say_busy(&self, mut io: libp2p::Stream) {
        let Ok(place) = Arc::clone(&self.polite).try_acquire_owned() else { return };
        let limit = self.times.negotiation;
        tokio::spawn(async move {
            // Who does not take the word in time sees the stream end.
            let busy = encoded(&Response::Refused { why: Why::Busy });
            let _ = timeout(limit, write(&mut io, &busy)).await;
            drop(place);
        });
    }

    async fn answer(&self, node: NodeId, mut io: libp2p::Stream, places: [OwnedSemaphorePermit; 2]) {
        let served = timeout(self.times.request, self.answer_in_time(node, &mut io)).await;
        if served.is_err() {
            self.counters.refuse(Refusal::Slow, &node, &"a request was not sent, answered and taken in time");
        }
        drop(places);
    }

    /// Says where the peer is seen, itself included.
    async fn tell_where(&self, node: NodeId, mut io: libp2p::Stream, places: [OwnedSemaphorePermit; 2]) {
        let addresses = self.state.book().addresses(node);
        let told = timeout(self.times.request, write(&mut io, &seen::encode(&addresses))).await;
        if told.is_err() {
            self.counters.refuse(Refusal::Slow, &node, &"a list of addresses was not taken in time");
        }
        drop(places);
    }

    async fn answer_in_time(&self, node: NodeId, io: &mut libp2p::Stream) {
        let bytes = match frame::read(io, MESSAGE_BYTES_MAX).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return self.counters.refuse(Refusal::Malformed, &node, &"a request without content"),
            Err(why @ frame::Error::TooLarge { .. }) => {
                return self.counters.refuse(Refusal::TooLarge, &node, &why);
            }
            Err(why) => return tracing::debug!(from = %node, "a request did not come: {why}"),
        };
        let response = match Request::decode(&bytes) {
            Ok(request) => {
                self.counters.requests_in(1);
                drop(bytes);
                self.handler.answer(node, request).await.unwrap_or_else(|why| Response::Refused { why })
            }
            Err(_) if message::is_newer(&bytes) => Response::Refused { why: Why::Unknown },
            Err(why) => {
                self.counters.refuse(Refusal::Malformed, &node, &why);
                Response::Refused { why: Why::Malformed }
            }
        };
        if let Err(why) = write(io, &encoded(&response)).await {
            tracing::debug!(from = %node, "a response was not taken: {why}");
        }
    }
}

/// A place of the peer's and one of all, or none.
fn places(own: &Arc<Semaphore>, all: &Arc<Semaphore>) -> Option<[OwnedSemaphorePermit; 2]> {
    let own = Arc::clone(own).try_acquire_owned().ok()?;
    let all = Arc::clone(all).try_acquire_owned().ok()?;
    Some([own, all])
}

/// The bytes of a response; where they would be too many, those of one that says so little that they are not.
fn encoded(response: &Response) -> Vec<u8> {
    response.encode().unwrap_or_else(|error| {
        tracing::error!("the node's answer cannot be sent: {error}");
        codec::encode(&Response::Refused { why: Why::Failed })
    })
}

/// Writes this as the only frame, and ends the stream.
async fn write(io: &mut libp2p::Stream, content: &[u8]) -> Result<(), frame::Error> {
    io.write_all(&frame::header(content, MESSAGE_BYTES_MAX)?).await?;
    io.write_all(content).await?;
    Ok(io.close().await?)
}

impl Guest {
    /// Counts a refusal against it; says whether it may stay.
    fn strike(&self) -> bool {
        self.rates().strikes.take(1, Instant::now())
    }

    fn is_rested(&self, now: Instant) -> bool {
        let mut rates = self.rates();
        rates.requests.is_full(now) && rates.strikes.is_full(now) && rates.transfers_from <= now
    }

    fn rates(&self) -> MutexGuard<'_, Rates> {
        // No update can fail in the middle.
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Begun for Guest {
    fn is_slow(&self) {
        self.rates().transfers_from = Instant::now() + self.rest;
    }
}
