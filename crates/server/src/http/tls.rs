//! Certificates: read, checked, and handed to the listener.
//!
//! Owns: the TLS settings. Never: which routes are served over it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::TlsFiles;

/// Why certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate file cannot be read or holds none.
    #[error("names {}, {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key file cannot be read or holds none.
    #[error("names {}, {reason}", path.display())]
    PrivateKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and key do not belong together.
    #[error("does not go with tls.certificate: {0}")]
    Pair(rustls::Error),
}

impl TlsError {
    /// The key of `[tls]` that names the file.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Certificate { .. } => "certificate",
            Self::PrivateKey { .. } | Self::Pair(_) => "private_key",
        }
    }

    /// What was expected.
    pub const fn expected(&self) -> &'static str {
        match self {
            Self::Certificate { .. } => "a PEM file with the certificate chain",
            Self::PrivateKey { .. } => "a PEM file with a private key",
            Self::Pair(_) => "the private key of the first certificate",
        }
    }
}

/// The one crypto provider of the process.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Reads certificate and key into the configuration of a listener.
///
/// # Errors
/// If a file cannot be used; says which, and why.
pub fn server_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    PemPair::read(files)?.server_config(files)
}

/// The bytes of both files, read once, so that the pair that is checked is the pair that is served.
#[derive(PartialEq, Eq)]
pub(super) struct PemPair {
    certificate: Vec<u8>,
    private_key: Vec<u8>,
}

impl std::fmt::Debug for PemPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PemPair").finish_non_exhaustive()
    }
}

impl PemPair {
    pub(super) fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| format!("which cannot be read: {error}"));
        Ok(Self {
            certificate: read(&files.certificate)
                .map_err(|reason| TlsError::Certificate { path: files.certificate.clone(), reason })?,
            private_key: read(&files.private_key)
                .map_err(|reason| TlsError::PrivateKey { path: files.private_key.clone(), reason })?,
        })
    }

    pub(super) fn server_config(&self, files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
        let bad_certificate = |reason: String| TlsError::Certificate { path: files.certificate.clone(), reason };
        let chain = certificates(&self.certificate).map_err(bad_certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.private_key)
            .map_err(|error| TlsError::PrivateKey { path: files.private_key.clone(), reason: pem_reason(&error) })?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("the provider serves TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(TlsError::Pair)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// Reads a file with certificate authorities; the error says what was found instead.
///
/// # Errors
/// If the file cannot be read or holds no certificate.
pub fn certificate_authority(path: &Path) -> Result<Vec<u8>, String> {
    let named = |reason: String| format!("names {}, {reason}", path.display());
    let pem = std::fs::read(path).map_err(|error| named(format!("which cannot be read: {error}")))?;
    certificates(&pem).map_err(named)?;
    Ok(pem)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| pem_reason(&error))?;
    if chain.is_empty() { Err("which holds no certificate".to_owned()) } else { Ok(chain) }
}

fn pem_reason(error: &rustls_pki_types::pem::Error) -> String {
    use rustls_pki_types::pem::Error;
    match error {
        Error::Io(error) => format!("which cannot be read: {error}"),
        Error::NoItemsFound => "which holds no such item".to_owned(),
        other => format!("which is not PEM: {other}"),
    }
}
