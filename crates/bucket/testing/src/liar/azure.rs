//! What Azure says otherwise than S3: its listings, and deletions, which come as batches.

use super::{Object, Objects, lock};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use std::fmt::Write as _;
use std::sync::Mutex;

/// One page: of this prefix, from this key on.
pub(super) fn list(objects: &Objects, prefix: &str, from: &str, keys_max: usize) -> Response<Full<Bytes>> {
    let is_shown = |key: &str, object: &Object| key.starts_with(prefix) && key >= from && objects.show(object);
    let mut all = objects.by_key.iter().filter(|(key, object)| is_shown(key, object));
    let mut xml = "<?xml version=\"1.0\"?><EnumerationResults><Blobs>".to_owned();
    for (key, object) in all.by_ref().take(keys_max) {
        let _ = write!(
            xml,
            "<Blob><Name>{key}</Name><Properties><Last-Modified>Thu, 01 Jan 2026 00:00:00 GMT</Last-Modified>\
             <Content-Length>{}</Content-Length><Content-Type>x</Content-Type><Etag>0</Etag></Properties></Blob>",
            object.bytes.len()
        );
    }
    let marker = all.next().map_or("", |(key, _)| key.as_str());
    let _ = write!(xml, "</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>");
    Response::new(Full::new(Bytes::from(xml)))
}

/// Deletes what a batch names, and answers for each.
pub(super) fn batch(objects: &Mutex<Objects>, body: &[u8]) -> Response<Full<Bytes>> {
    let body = String::from_utf8_lossy(body);
    let mut answer = String::new();
    let paths = body.lines().filter_map(|line| line.strip_prefix("DELETE /")?.split(' ').next());
    for (n, path) in paths.enumerate() {
        let key = path.split_once('/').map_or("", |(_, key)| key);
        let status = match lock(objects).by_key.remove(key) {
            Some(_) => "202 Accepted",
            None => "404 The specified blob does not exist.",
        };
        let _ = write!(
            answer,
            "--parts\r\nContent-Type: application/http\r\nContent-ID: {n}\r\n\r\nHTTP/1.1 {status}\r\n\r\n\r\n"
        );
    }
    answer.push_str("--parts--\r\n");
    let mut answer = Response::new(Full::new(Bytes::from(answer)));
    *answer.status_mut() = hyper::StatusCode::ACCEPTED;
    let parts = hyper::header::HeaderValue::from_static("multipart/mixed; boundary=parts");
    answer.headers_mut().insert("content-type", parts);
    answer
}
