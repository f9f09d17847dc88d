//! The TLS listener serves the same routes, by HTTP/1.1 and HTTP/2.

#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use common::Region;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};

#[tokio::test]
async fn both_versions_of_http_are_spoken_over_tls() {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");
    let region = Region::start(&format!(
        "listen_tls = \"127.0.0.1:0\"\n[tls]\ncertificate = \"{data}/tls.pem\"\nprivate_key = \"{data}/tls.key\""
    ));
    let address = region.address_tls.unwrap();
    assert_eq!(region.get("/livez").status, 200);

    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(format!("{data}/tls.pem")).unwrap()).unwrap();
    for protocol in ["http/1.1", "h2"] {
        let mut config = rustls::ClientConfig::builder_with_provider(transship::http::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
        let stream = connector.connect(ServerName::try_from("127.0.0.1").unwrap(), tcp).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
        let request = http::Request::get(format!("https://{address}/livez"))
            .header("host", address.to_string())
            .body(Empty::<bytes::Bytes>::new())
            .unwrap();
        let stream = TokioIo::new(stream);
        let response = if protocol == "h2" {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        };
        assert_eq!(response.status(), 200, "{protocol}");
        assert!(response.headers().contains_key("x-request-id"));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "{\"status\":\"ok\"}");
    }
}

fn data(name: &str) -> String {
    format!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/{}"), name)
}

/// Trusts both certificates of the tests.
fn connector() -> tokio_rustls::TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    for name in ["tls.pem", "renewed.pem"] {
        roots.add(CertificateDer::from_pem_file(data(name)).unwrap()).unwrap();
    }
    let config = rustls::ClientConfig::builder_with_provider(transship::http::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tokio_rustls::TlsConnector::from(Arc::new(config))
}

type Tls = tokio_rustls::client::TlsStream<tokio::net::TcpStream>;

async fn connect(region: &Region) -> Tls {
    let tcp = tokio::net::TcpStream::connect(region.address_tls.unwrap()).await.unwrap();
    connector().connect(ServerName::try_from("127.0.0.1").unwrap(), tcp).await.unwrap()
}

/// The certificate that a new connection is shown: `true` for the renewed one.
async fn is_renewed(region: &Region) -> bool {
    let stream = connect(region).await;
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    shown == CertificateDer::from_pem_file(data("renewed.pem")).unwrap()
}

async fn ask(stream: &mut Tls) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"{\"status\":\"ok\"}") {
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece).await.unwrap();
        assert!(read > 0, "the connection was closed: {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&piece[..read]);
    }
}

/// Puts a pair where the region looks for it, as Kubernetes does it: a folder of its own, and a link that is swapped.
fn swap(folder: &std::path::Path, certificate: &str, key: &str) {
    let version = tempfile::Builder::new().prefix("version-").tempdir_in(folder).unwrap().keep();
    std::fs::copy(data(certificate), version.join("tls.pem")).unwrap();
    std::fs::copy(data(key), version.join("tls.key")).unwrap();
    std::os::unix::fs::symlink(&version, folder.join("next")).unwrap();
    std::fs::rename(folder.join("next"), folder.join("current")).unwrap();
}

#[tokio::test]
async fn a_new_certificate_is_served_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let current = folder.path().join("current").display().to_string();
    swap(folder.path(), "tls.pem", "tls.key");
    let mut region = Region::start(&format!(
        "listen_tls = \"127.0.0.1:0\"\n[tls]\ncertificate = \"{current}/tls.pem\"\nprivate_key = \"{current}/tls.key\""
    ));
    let mut old = connect(&region).await;
    ask(&mut old).await;
    assert!(!is_renewed(&region).await);

    // A key of another certificate, a file that is no PEM, and none at all: the old pair stays, and the log says why.
    swap(folder.path(), "renewed.pem", "tls.key");
    let line = region.wait_for_log(|line| line["level"] == "ERROR");
    assert!(line["reason"].as_str().unwrap().contains("tls.private_key does not go with tls.certificate"), "{line}");
    std::fs::write(format!("{current}/tls.pem"), "no certificate").unwrap();
    region.signal("-HUP");
    let complains =
        |line: &serde_json::Value, text| line["level"] == "ERROR" && line["reason"].to_string().contains(text);
    region.wait_for_log(|line| complains(line, "which holds no certificate"));
    std::fs::remove_file(format!("{current}/tls.pem")).unwrap();
    region.signal("-HUP");
    region.wait_for_log(|line| complains(line, "cannot be read"));
    assert!(!is_renewed(&region).await);

    // A good pair is found by itself, and the connection that is open goes on.
    swap(folder.path(), "renewed.pem", "renewed.key");
    region.wait_for_log(|line| line["message"] == "a new certificate is served");
    assert!(is_renewed(&region).await);
    ask(&mut old).await;

    // And at once on SIGHUP, which says so also when there is nothing new.
    region.signal("-HUP");
    region.wait_for_log(|line| line["message"] == "the certificate has not changed");
    swap(folder.path(), "tls.pem", "tls.key");
    region.signal("-HUP");
    region.wait_for_log(|line| line["message"] == "a new certificate is served");
    assert!(!is_renewed(&region).await);
    ask(&mut old).await;
}

/// F35: certificates change all the time while clients come and go, and no request fails.
#[tokio::test]
async fn no_request_fails_while_certificates_change() {
    let folder = tempfile::tempdir().unwrap();
    let current = folder.path().join("current").display().to_string();
    swap(folder.path(), "tls.pem", "tls.key");
    let region = Region::start(&format!(
        "listen_tls = \"127.0.0.1:0\"\n[tls]\ncertificate = \"{current}/tls.pem\"\nprivate_key = \"{current}/tls.key\""
    ));
    let clients = async {
        let (mut kept, mut seen) = (connect(&region).await, [0, 0]);
        while seen.iter().any(|count| *count < 10) {
            seen[usize::from(is_renewed(&region).await)] += 1;
            ask(&mut connect(&region).await).await;
            ask(&mut kept).await;
        }
    };
    let changes = async {
        loop {
            for (certificate, key) in
                [("renewed.pem", "renewed.key"), ("renewed.pem", "tls.key"), ("tls.pem", "tls.key")]
            {
                swap(folder.path(), certificate, key);
                region.signal("-HUP");
                tokio::time::sleep(std::time::Duration::from_millis(30)).await;
            }
        }
    };
    tokio::select! {
        () = clients => {}
        () = changes => {}
    }
}

#[tokio::test]
async fn a_hang_up_does_not_end_a_region_without_tls() {
    let region = Region::start("");
    region.signal("-HUP");
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(region.get("/livez").status, 200);
}
