//! The TLS listener serves the same routes, by HTTP/1.1 and HTTP/2.

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
