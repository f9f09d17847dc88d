//! Replaces the certificate without a restart: reads the files every few seconds, and at once on SIGHUP.
//!
//! It compares contents, not times or inodes. So a swapped symbolic link (as Kubernetes makes it), a rename and a write
//! in place all look the same, and a file that was only touched changes nothing. Owns: when the pair is replaced.
//! Never: what a valid pair is (see [`super::tls`]), or connections, which keep the pair that they began with.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::sync::{mpsc, watch};

use super::tls::{PemPair, TlsError};
use crate::config::TlsFiles;

/// Interval between two reads of the files. They are small, and a renewed certificate is needed long before the old one
/// expires.
const LOOK: Duration = Duration::from_secs(5);

/// Keeps the listener's pair as new as the files.
#[derive(Debug)]
pub struct Reloader {
    files: TlsFiles,
    sender: watch::Sender<Arc<ServerConfig>>,
    served: PemPair,
    /// The last error, so that one bad file is reported once and not every few seconds.
    complaint: Option<String>,
}

impl Reloader {
    /// Reads the pair for the first time, and returns the listener's end of the channel.
    ///
    /// # Errors
    /// If a file cannot be used; says which, and why.
    pub fn start(files: TlsFiles) -> Result<(Self, watch::Receiver<Arc<ServerConfig>>), TlsError> {
        let served = PemPair::read(&files)?;
        let (sender, receiver) = watch::channel(served.server_config(&files)?);
        Ok((Self { files, sender, served, complaint: None }, receiver))
    }

    /// Reads the files at intervals, and whenever `asked` delivers the files to read; runs until it is dropped.
    pub async fn run(mut self, mut asked: mpsc::UnboundedReceiver<TlsFiles>) {
        loop {
            let files = tokio::select! {
                () = tokio::time::sleep(LOOK) => None,
                Some(files) = asked.recv() => Some(files),
            };
            let asked = files.is_some();
            if let Some(files) = files {
                self.files = files;
            }
            self.look(asked);
        }
    }

    /// Reads both files, and serves the pair from now on if it is new and valid. If somebody asked, the log gets an
    /// answer in any case.
    fn look(&mut self, asked: bool) {
        let read = PemPair::read(&self.files);
        let checked = read.and_then(|pair| {
            let same = pair == self.served;
            Ok((same, pair.server_config(&self.files)?, pair))
        });
        match checked {
            Ok((true, ..)) => {
                self.complaint = None;
                if asked {
                    tracing::info!("the certificate has not changed");
                }
            }
            Ok((false, config, pair)) => {
                self.complaint = None;
                self.served = pair;
                self.sender.send_replace(config);
                tracing::info!(certificate = %self.files.certificate.display(), "a new certificate is served");
            }
            Err(error) => {
                let complaint = format!("tls.{} {error}; expected {}", error.key(), error.expected());
                if asked || self.complaint.as_ref() != Some(&complaint) {
                    tracing::error!(reason = complaint, "the new certificate cannot be used, the old one stays");
                }
                self.complaint = Some(complaint);
            }
        }
    }
}
