//! The certificates that the client trusts.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;

use super::support::{name, settings, sha256};
use crate::{ClientSettings, ErrorKind, RegistryClient};

fn openssl(dir: &Path, arguments: &str) {
    let status = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "openssl {arguments}");
}

/// A server with a certificate for 127.0.0.1 by an authority of its own, which answers 404 to everything.
async fn start(dir: &Path) -> String {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(dir, &format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=ca -days 2"));
    openssl(dir, &format!("req {key} -keyout leaf.key -out leaf.csr -subj /CN=leaf"));
    std::fs::write(dir.join("leaf.ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    openssl(dir, "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -days 2 -extfile leaf.ext -out leaf.pem");

    let chain = vec![CertificateDer::from_pem_file(dir.join("leaf.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(dir.join("leaf.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust us ends the handshake.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n").await;
            let _ = stream.shutdown().await;
        }
    });
    base
}

#[tokio::test]
async fn an_authority_is_trusted_when_it_is_named() {
    if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_err() {
        println!("skipped: openssl is not here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let base = start(dir.path()).await;
    let digest = sha256(b"x");

    // A handshake may be slow on a busy machine.
    let strict = ClientSettings { idle_timeout: std::time::Duration::from_secs(30), ..settings(&base) };
    let trusting =
        ClientSettings { extra_ca: Some(std::fs::read(dir.path().join("ca.pem")).unwrap()), ..strict.clone() };
    let trusting = RegistryClient::new(&trusting).unwrap();
    assert_eq!(trusting.head_blob(&name(), &digest).await.unwrap(), None);

    // Without `extra_ca`, the machine may have no certificates at all, which is an error as well.
    if let Ok(strict) = RegistryClient::new(&strict) {
        let error = strict.head_blob(&name(), &digest).await.unwrap_err();
        assert_eq!((error.kind(), error.is_away()), (ErrorKind::Retry, false), "{error}");
        assert!(error.to_string().to_lowercase().contains("certificate"), "{error}");
    }
}

#[test]
fn an_authority_that_cannot_be_read_is_an_error() {
    for pem in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let settings = ClientSettings { extra_ca: Some(pem.as_bytes().to_vec()), ..settings("https://127.0.0.1") };
        RegistryClient::new(&settings).expect_err(pem);
    }
}
