use super::*;
use igor_protocol::Hash;
use igor_sandbox::compile;
use igor_store::Store;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    task::yield_now,
    time::timeout,
};

const BLOB_BYTES: usize = 8 << 20;

/// A served node whose places can be counted, and a blob that no socket takes at once.
struct Served {
    _home: TempDir,
    api: Shared,
    server: Server,
    blob: Hash,
}

impl Served {
    async fn open(limits: Limits) -> Self {
        let home = tempfile::tempdir().unwrap();
        let compiler = compile::Compiler::new("nothing is compiled here".into(), compile::Limits::default());
        let node = Node::open(home.path(), compiler).unwrap();
        let blob = node.store().put_blob(vec![7; BLOB_BYTES]).await.unwrap();
        let doors = Arc::new(Doors::of(&node).unwrap());
        let api = Api::new(&node, limits);
        let server = Server::listen(&node, limits, router(api.clone(), doors)).await.unwrap();
        Self { _home: home, api, server, blob }
    }

    /// Asks for the blob, and reads no more than the first byte of the answer.
    async fn ask(&self) -> UnixStream {
        let mut stream = UnixStream::connect(self.server.socket()).await.unwrap();
        let request = format!("GET /v1/blobs/{} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", self.blob);
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(within(stream.read_u8()).await.unwrap(), b'H');
        stream
    }

    async fn until_blobs_are_free(&self) {
        within(async {
            while self.api.blobs.available_permits() < BLOBS_AT_ONCE {
                yield_now().await;
            }
        })
        .await;
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), future).await.expect("this takes too long")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_has_its_place_until_it_is_sent() {
    let served = Served::open(Limits::default()).await;
    let mut slow = served.ask().await;
    assert_eq!(served.api.blobs.available_permits(), BLOBS_AT_ONCE - 1, "its bytes are still in memory");
    let mut rest = Vec::new();
    within(slow.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.ends_with(&vec![7; BLOB_BYTES]));
    served.until_blobs_are_free().await;
    // Whoever goes away in the middle leaves no bytes behind.
    drop(served.ask().await);
    served.until_blobs_are_free().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_is_cut_off() {
    let limits = Limits { taken_within: Duration::from_millis(200), ..Limits::default() };
    let served = Served::open(limits).await;
    let mut stalled = [served.ask().await, served.ask().await];
    served.until_blobs_are_free().await;
    for stream in &mut stalled {
        let mut rest = Vec::new();
        drop(within(stream.read_to_end(&mut rest)).await);
        assert!(rest.len() < BLOB_BYTES, "the answer was cut off");
    }
}
