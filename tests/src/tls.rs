//! A certificate authority of a test's own, made with openssl, and a certificate for 127.0.0.1.

use std::path::{Path, PathBuf};

use crate::clients;

/// Files of a certificate for 127.0.0.1.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// What clients must trust.
    pub authority: PathBuf,
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub private_key: PathBuf,
}

/// Makes authority and certificate in a folder.
pub async fn certificate(folder: &Path) -> Certificate {
    let file = |name: &str| folder.join(name);
    let text = |name: &str| file(name).display().to_string();
    std::fs::write(file("san.cnf"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").expect("the folder is writable");
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let mut authority = clients::command("openssl", &["req", "-x509", "-days", "30", "-subj", "/CN=test authority"]);
    authority.args(key).args(["-keyout", &text("ca.key"), "-out", &text("ca.pem")]);
    clients::must(authority).await;
    let mut request = clients::command("openssl", &["req", "-subj", "/CN=127.0.0.1"]);
    request.args(key).args(["-keyout", &text("tls.key"), "-out", &text("tls.csr")]);
    clients::must(request).await;
    let mut sign = clients::command("openssl", &["x509", "-req", "-days", "30", "-CAcreateserial"]);
    sign.args(["-in", &text("tls.csr"), "-CA", &text("ca.pem"), "-CAkey", &text("ca.key")]);
    sign.args(["-extfile", &text("san.cnf"), "-out", &text("tls.pem")]);
    clients::must(sign).await;
    Certificate { authority: file("ca.pem"), certificate: file("tls.pem"), private_key: file("tls.key") }
}
