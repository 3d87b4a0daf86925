//! A small S3 in the test's process: objects in memory, path-style addresses, signatures not looked at. It is honest, or
//! lies in the way that some real servers do. It understands Google's and Azure's clients too, as far as they differ.

mod azure;

use crate::BUCKET;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

/// What it does with `If-None-Match: *`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conditions {
    /// What it says.
    Kept,
    /// Nothing: every write wins, as with Garage 2.5.
    Ignored,
    /// Looks whether there is an object, and writes so much later: who looks meanwhile wins too, as with s3s-fs.
    Raced(Duration),
}

/// What its listings show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listings {
    /// What there is.
    Fresh,
    /// What there was so long ago.
    Late(Duration),
    /// None of what was written.
    Never,
}

/// A server that lies as told. It ends when it is dropped.
pub struct Liar {
    address: SocketAddr,
    server: AbortHandle,
    objects: Arc<Mutex<Objects>>,
}

struct Object {
    bytes: Bytes,
    written: Instant,
}

struct Objects {
    conditions: Conditions,
    listings: Listings,
    by_key: BTreeMap<String, Object>,
}

impl Objects {
    /// Whether listings show this one by now.
    fn show(&self, object: &Object) -> bool {
        match self.listings {
            Listings::Fresh => true,
            Listings::Late(late) => object.written.elapsed() >= late,
            Listings::Never => false,
        }
    }
}

impl Liar {
    /// Starts one with an empty bucket [`BUCKET`].
    ///
    /// # Panics
    ///
    /// If there is no port on loopback.
    pub async fn start(conditions: Conditions, listings: Listings) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port on loopback");
        let address = listener.local_addr().expect("its address");
        let objects = Arc::new(Mutex::new(Objects { conditions, listings, by_key: BTreeMap::new() }));
        let server = tokio::spawn(serve(listener, Arc::clone(&objects))).abort_handle();
        Self { address, server, objects }
    }

    /// Its address, such as `http://127.0.0.1:40000`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The same as an address of a socket.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The keys that it has, whatever its listings show.
    pub fn keys(&self) -> Vec<String> {
        lock(&self.objects).by_key.keys().cloned().collect()
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(objects: &Mutex<Objects>) -> MutexGuard<'_, Objects> {
    objects.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connections are tasks of this one, so they end with it.
async fn serve(listener: TcpListener, objects: Arc<Mutex<Objects>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                let objects = Arc::clone(&objects);
                connections.spawn(async move {
                    let service = service_fn(move |request| answer(request, Arc::clone(&objects)));
                    // A client that breaks off is what some tests are about.
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(request: Request<Incoming>, objects: Arc<Mutex<Objects>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Ok(error(StatusCode::BAD_REQUEST, "IncompleteBody")) };
    let path = decoded(parts.uri.path().trim_start_matches('/'));
    let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
    if bucket != BUCKET {
        return Ok(error(StatusCode::NOT_FOUND, "NoSuchBucket"));
    }
    let is = |name: &str, expected: &str| parts.headers.get(name).is_some_and(|value| value == expected);
    let condition = is("if-none-match", "*") || is("x-goog-if-generation-match", "0");
    Ok(match parts.method {
        Method::POST => azure::batch(&objects, &body.to_bytes()),
        Method::PUT => put(&objects, key, body.to_bytes(), condition).await,
        Method::GET if key.is_empty() => list(&lock(&objects), parts.uri.query().unwrap_or_default()),
        Method::GET => match lock(&objects).by_key.get(key) {
            Some(object) => written(object.bytes.clone()),
            None => error(StatusCode::NOT_FOUND, "NoSuchKey"),
        },
        Method::DELETE => {
            lock(&objects).by_key.remove(key);
            let mut answer = Response::new(Full::default());
            *answer.status_mut() = StatusCode::NO_CONTENT;
            answer
        }
        _ => error(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
    })
}

/// Percent-decodes what has ASCII only.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(byte.map_or('?', char::from));
        decoded.push_str(part.get(2..).unwrap_or_default());
    }
    decoded
}

async fn put(objects: &Mutex<Objects>, key: &str, bytes: Bytes, condition: bool) -> Response<Full<Bytes>> {
    let conditions = lock(objects).conditions;
    let exists = || error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
    if let (Conditions::Raced(window), true) = (conditions, condition) {
        if lock(objects).by_key.contains_key(key) {
            return exists();
        }
        tokio::time::sleep(window).await;
    }
    let mut objects = lock(objects);
    if condition && conditions == Conditions::Kept && objects.by_key.contains_key(key) {
        return exists();
    }
    objects.by_key.insert(key.to_owned(), Object { bytes, written: Instant::now() });
    written(Bytes::new())
}

fn written(bytes: Bytes) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(bytes));
    let headers = answer.headers_mut();
    headers.insert("etag", hyper::header::HeaderValue::from_static("\"0\""));
    headers.insert("last-modified", hyper::header::HeaderValue::from_static("Thu, 01 Jan 2026 00:00:00 GMT"));
    answer
}

/// One page: of this prefix, behind this offset.
fn list(objects: &Objects, query: &str) -> Response<Full<Bytes>> {
    let of = |name: &str| {
        let value = query.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        decoded(value.unwrap_or_default())
    };
    // A page's token is the key that it ended with.
    let (prefix, after) = (of("prefix"), of("start-after").max(of("continuation-token")));
    let keys_max = |name: &str| of(name).parse().unwrap_or(1000).min(1000);
    if of("comp") == "list" {
        return azure::list(objects, &prefix, &of("startFrom").max(of("marker")), keys_max("maxresults"));
    }
    let keys_max = keys_max("max-keys");
    let is_shown =
        |key: &str, object: &Object| key.starts_with(&prefix) && key > after.as_str() && objects.show(object);
    let mut all = objects.by_key.iter().filter(|(key, object)| is_shown(key, object));
    let mut xml = "<?xml version=\"1.0\"?><ListBucketResult>".to_owned();
    let mut last = None;
    for (key, object) in all.by_ref().take(keys_max) {
        let _ = write!(
            xml,
            "<Contents><Key>{key}</Key><Size>{}</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
             <ETag>\"0\"</ETag></Contents>",
            object.bytes.len()
        );
        last = Some(key);
    }
    if let (Some(last), Some(_)) = (last, all.next()) {
        let _ = write!(xml, "<IsTruncated>true</IsTruncated><NextContinuationToken>{last}</NextContinuationToken>");
    }
    xml.push_str("</ListBucketResult>");
    Response::new(Full::new(Bytes::from(xml)))
}

fn error(status: StatusCode, code: &str) -> Response<Full<Bytes>> {
    let xml = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>it is so</Message></Error>");
    let mut answer = Response::new(Full::new(Bytes::from(xml)));
    *answer.status_mut() = status;
    answer
}
