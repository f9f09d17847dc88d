//! Pushing one blob over connections that may break.
//!
//! Owns: when an upload continues, restarts or fails. Never holds the blob: the source returns a stream from any
//! offset.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use transship_oci::{Digest, ErrorCode, RepositoryName};

use crate::client::RegistryClient;
use crate::error::{ClientError, ErrorKind};
use crate::retry::Attempts;
use crate::source::BlobSource;
use crate::upload::{Flow, UploadSession, source_error};

/// Called with the number of additional bytes that are done. The calls add up to the blob's size, even if bytes were
/// sent twice.
pub type Progress<'a> = &'a (dyn Fn(u64) + Send + Sync);

impl RegistryClient {
    /// Pushes a blob and returns how many bytes were sent, including repeated ones.
    ///
    /// After a broken connection, a 5xx or a requested pause, it waits and continues from the bytes that the registry
    /// has. The number of attempts without progress is limited.
    ///
    /// # Errors
    /// A kind of `Retry` or `RetryAfter` means that the attempts are used up, or that the requested pause is too long
    /// to wait here.
    pub async fn push_blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        size_bytes: u64,
        source: &dyn BlobSource,
        progress: Progress<'_>,
    ) -> Result<u64, ClientError> {
        self.push(name.clone(), None, digest, size_bytes, source, progress).await
    }

    /// Like [`RegistryClient::push_blob`], but continues an existing session: from [`RegistryClient::mount_or_start`],
    /// or resumed.
    pub async fn push_blob_from(
        &self,
        session: UploadSession,
        digest: &Digest,
        size_bytes: u64,
        source: &dyn BlobSource,
        progress: Progress<'_>,
    ) -> Result<u64, ClientError> {
        self.push(session.name().clone(), Some(session), digest, size_bytes, source, progress).await
    }

    async fn push(
        &self,
        name: RepositoryName,
        session: Option<UploadSession>,
        digest: &Digest,
        size_bytes: u64,
        source: &dyn BlobSource,
        progress: Progress<'_>,
    ) -> Result<u64, ClientError> {
        let confirmed_bytes = session.as_ref().map_or(0, UploadSession::offset_bytes);
        let mut push = Push {
            client: self,
            name,
            digest,
            size_bytes,
            source,
            progress,
            session,
            is_doubtful: false,
            told_bytes: AtomicU64::new(0),
            confirmed_bytes,
            sent_bytes: 0,
            had_wrong_digest: false,
        };
        push.run().await
    }
}

struct Push<'a> {
    client: &'a RegistryClient,
    name: RepositoryName,
    digest: &'a Digest,
    size_bytes: u64,
    source: &'a dyn BlobSource,
    progress: Progress<'a>,
    session: Option<UploadSession>,
    /// Whether the session's offset must be queried before anything is sent.
    is_doubtful: bool,
    /// The number of bytes that were reported as progress.
    told_bytes: AtomicU64,
    /// The largest offset that the registry has ever confirmed.
    confirmed_bytes: u64,
    sent_bytes: u64,
    had_wrong_digest: bool,
}

impl Push<'_> {
    async fn run(&mut self) -> Result<u64, ClientError> {
        let mut attempts = Attempts::new(self.client.transport.first_backoff);
        loop {
            let confirmed_before = self.confirmed_bytes;
            let error = match self.attempt().await {
                Ok(()) => {
                    self.tell(self.size_bytes);
                    return Ok(self.sent_bytes);
                }
                Err(error) => self.judge(error).await,
            };
            if self.confirmed_bytes > confirmed_before {
                attempts.progress_was_made();
            }
            if error.kind() == ErrorKind::Permanent {
                self.drop_session().await;
            }
            let text = error.to_string();
            let pause = attempts.pause_after(error)?;
            tracing::debug!(digest = %self.digest, pause_ms = pause.as_millis(), error = text, "upload interrupted");
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(&mut self) -> Result<(), ClientError> {
        if self.is_doubtful && self.settle().await? {
            return Ok(());
        }
        if self.session.is_none() {
            self.session = Some(self.client.start_upload(&self.name).await?);
        }
        let session = self.session.as_mut().expect("it was set above");
        self.is_doubtful = true;
        let offset_bytes = session.offset_bytes();
        if offset_bytes < self.size_bytes {
            let stream = self.source.open(offset_bytes).await.map_err(|error| source_error(offset_bytes, &error))?;
            let flow = Arc::<Flow>::default();
            let told = (&self.told_bytes, self.progress);
            let tick = |sent_bytes| tell(told, offset_bytes + sent_bytes);
            let done = session.append_watched(offset_bytes, stream, self.size_bytes - offset_bytes, &flow, &tick).await;
            self.sent_bytes += flow.sent_bytes();
            done?;
            self.confirmed_bytes = self.confirmed_bytes.max(session.offset_bytes());
        }
        if session.offset_bytes() != self.size_bytes {
            let text = format!("{} of {} bytes arrived", session.offset_bytes(), self.size_bytes);
            return Err(ClientError::retry(format!("uploading {}", self.digest), text));
        }
        session.commit(self.digest).await
    }

    /// Queries the state of the session after a failure. Returns `true` if the blob is stored: then only the response
    /// was lost.
    async fn settle(&mut self) -> Result<bool, ClientError> {
        let Some(session) = &mut self.session else { return Ok(false) };
        match session.status().await {
            // A session that reports no bytes may hold one (the protocol cannot tell), so a new session is safer.
            Ok(offset_bytes) if offset_bytes == 0 || offset_bytes > self.size_bytes => {
                self.drop_session().await;
                Ok(false)
            }
            Ok(offset_bytes) => {
                self.confirmed_bytes = self.confirmed_bytes.max(offset_bytes);
                Ok(false)
            }
            Err(error) if error.is_session_lost() => {
                self.session = None;
                Ok(self.client.head_blob(&self.name, self.digest).await? == Some(self.size_bytes))
            }
            Err(error) => Err(error),
        }
    }

    /// Restarts the upload once after a wrong digest, because the bytes may have been damaged in transit.
    async fn judge(&mut self, error: ClientError) -> ClientError {
        if error.code() != Some(ErrorCode::DigestInvalid.as_str()) {
            return error;
        }
        self.drop_session().await;
        if std::mem::replace(&mut self.had_wrong_digest, true) {
            return error.into_permanent("for the second time");
        }
        error.into_retry("once more from the start")
    }

    async fn drop_session(&mut self) {
        let Some(session) = self.session.take() else { return };
        // A session that cannot be cancelled expires at the registry.
        if let Err(error) = session.cancel().await {
            tracing::debug!(%error, "upload session not cancelled");
        }
    }

    fn tell(&self, done_bytes: u64) {
        tell((&self.told_bytes, self.progress), done_bytes);
    }
}

fn tell((told_bytes, progress): (&AtomicU64, Progress<'_>), done_bytes: u64) {
    let before = told_bytes.fetch_max(done_bytes, Ordering::Relaxed);
    if done_bytes > before {
        progress(done_bytes - before);
    }
}
