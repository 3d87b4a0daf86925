//! Certificates are checked against this machine's list: a server whose authority is on it works, another does not.
//!
//! The list is that of a process, so each case is a process of its own.

mod common;

use common::{bytes, open};
use igor_bucket::Bucket;
use igor_bucket_testing::{Conditions, Liar, Listings};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

const CHILD: &str = "IGOR_TEST_TLS_ENDPOINT";

/// Takes TLS off what goes to a server.
async fn terminate(listener: TcpListener, config: ServerConfig, server: SocketAddr) {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    while let Ok((client, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let mut client = acceptor.accept(client).await.ok()?;
            let mut server = TcpStream::connect(server).await.ok()?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await.ok()
        });
    }
}

/// What a process says that creates an object and reads it, and trusts this list.
fn child(endpoint: &str, trusted: &Path) -> String {
    let output = Command::new(std::env::current_exe().expect("this test again"))
        .args(["--exact", "a_server_is_trusted_by_the_list_of_the_machine", "--nocapture"])
        .env(CHILD, endpoint)
        .env("SSL_CERT_FILE", trusted)
        .env_remove("SSL_CERT_DIR")
        .output()
        .expect("this test again");
    [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_trusted_by_the_list_of_the_machine() {
    if let Ok(endpoint) = std::env::var(CHILD) {
        let bucket = open(&endpoint, "x");
        println!("\ncreated {:?}", bucket.create("a", bytes("over TLS")).await);
        println!("read {:?}", bucket.get("a", 100).await);
        return;
    }
    let named = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (own, other) = (named(), named());
    let directory = tempfile::tempdir().unwrap();
    let [own_list, other_list, empty_list] = ["own", "other", "empty"].map(|name| directory.path().join(name));
    std::fs::write(&own_list, own.cert.pem()).unwrap();
    std::fs::write(&other_list, other.cert.pem()).unwrap();
    std::fs::write(&empty_list, "").unwrap();
    let key = PrivateKeyDer::try_from(own.key_pair.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let server = Liar::start(Conditions::Kept, Listings::Fresh).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(terminate(listener, config, server.address()));

    let said =
        tokio::task::spawn_blocking(move || [&own_list, &other_list, &empty_list].map(|list| child(&endpoint, list)));
    let [trusted, untrusted, nothing] = said.await.unwrap();
    assert!(trusted.contains("created Ok(New)\nread Ok(Some(b\"over TLS\"))"), "{trusted}");
    assert!(untrusted.contains("created Err(Unknown { why: \"cannot connect to localhost:"), "{untrusted}");
    assert!(untrusted.contains("certificate"), "{untrusted}");
    assert!(nothing.contains("Roots") && !nothing.contains("created"), "{nothing}");
}
