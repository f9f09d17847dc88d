//! One upload session: open or mount, append a stream, query the offset, commit, cancel.
//!
//! Owns: the session's location and offset, and the idle time-out of a streamed request. Never: retries (`push` does
//! them).

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE};
use reqwest::{Body, Method, Response, StatusCode, Url};
use transship_oci::range::{ContentRange, parse_upload_range};
use transship_oci::{Digest, ErrorCode, RepositoryName, Route};

use crate::auth::Access;
use crate::client::RegistryClient;
use crate::error::{ClientError, request_text, url_text};
use crate::source::SourceStream;
use crate::transport::{Call, header};

/// Maximum time to commit an upload, in idle times: a registry over an object store copies the whole blob before it
/// responds.
const COMMIT_PATIENCE: u32 = 10;
/// How often the progress of a stream is checked and reported.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

/// The result of a mount request.
#[derive(Debug)]
pub enum Mount {
    /// The blob is in the repository now; no bytes need to be sent.
    Mounted,
    /// The registry needs the bytes.
    Session(UploadSession),
}

/// An open upload of one blob.
pub struct UploadSession {
    client: RegistryClient,
    name: RepositoryName,
    location: Url,
    offset_bytes: u64,
    chunk_min_bytes: Option<u64>,
}

impl std::fmt::Debug for UploadSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The query may hold the secret state of the session.
        write!(f, "UploadSession({} at {})", url_text(&self.location), self.offset_bytes)
    }
}

impl RegistryClient {
    /// Opens an upload session.
    pub async fn start_upload(&self, name: &RepositoryName) -> Result<UploadSession, ClientError> {
        let call = Call::new(Method::POST, self.transport.url(&Route::UploadStart { name: name.clone() }));
        let response = self.call(&call, Access::write(name), &[StatusCode::ACCEPTED]).await?;
        self.session(name, &call, &response)
    }

    /// Asks the registry to mount the blob from another of its repositories; otherwise opens an upload session.
    pub async fn mount_or_start(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        from: &RepositoryName,
    ) -> Result<Mount, ClientError> {
        let mut call = Call::new(Method::POST, self.transport.url(&Route::UploadStart { name: name.clone() }));
        call.url.query_pairs_mut().append_pair("mount", digest.as_str()).append_pair("from", from.as_str());
        let access = Access { repository: name, write: true, from: Some(from) };
        match self.call(&call, access, &[StatusCode::CREATED, StatusCode::ACCEPTED]).await {
            Ok(response) if response.status() == StatusCode::CREATED => Ok(Mount::Mounted),
            Ok(response) => self.session(name, &call, &response).map(Mount::Session),
            // Registries differ in the status by which they refuse a mount or the other repository. If they refused
            // this repository, the plain upload fails as well.
            Err(error) if matches!(error.status(), Some(400 | 401 | 403 | 404 | 405)) => {
                self.start_upload(name).await.map(Mount::Session)
            }
            Err(error) => Err(error),
        }
    }

    /// Resumes a session that was opened earlier, possibly by another process, and queries its offset.
    ///
    /// # Errors
    /// [`ClientError::is_session_lost`] if the registry does not know the session any more.
    pub async fn resume_upload(&self, name: &RepositoryName, location: &str) -> Result<UploadSession, ClientError> {
        let start = self.transport.url(&Route::UploadStart { name: name.clone() });
        let location = self
            .transport
            .own_url(&start, location)
            .map_err(|why| ClientError::permanent("resuming an upload", format!("the saved session {why}")))?;
        let client = self.clone();
        let mut session =
            UploadSession { client, name: name.clone(), location, offset_bytes: 0, chunk_min_bytes: None };
        session.status().await?;
        Ok(session)
    }

    fn session(&self, name: &RepositoryName, call: &Call, response: &Response) -> Result<UploadSession, ClientError> {
        let location = self
            .location(&call.url, response.headers())
            .map_err(|why| ClientError::permanent(call.text(), why))?
            .ok_or_else(|| ClientError::permanent(call.text(), "answered without a Location for the upload"))?;
        let chunk_min_bytes = header(response.headers(), "oci-chunk-min-length").and_then(|text| text.parse().ok());
        Ok(UploadSession { client: self.clone(), name: name.clone(), location, offset_bytes: 0, chunk_min_bytes })
    }

    fn location(&self, asked: &Url, headers: &HeaderMap) -> Result<Option<Url>, String> {
        let Some(value) = headers.get(LOCATION) else { return Ok(None) };
        self.transport.own_url(asked, &String::from_utf8_lossy(value.as_bytes())).map(Some)
    }
}

impl UploadSession {
    /// The repository that the session uploads to.
    pub(crate) fn name(&self) -> &RepositoryName {
        &self.name
    }

    /// The location of the session, for [`RegistryClient::resume_upload`]. It changes with every call, and may contain
    /// a secret.
    pub fn location(&self) -> &str {
        self.location.as_str()
    }

    /// How many bytes the registry has, as far as it has reported.
    pub fn offset_bytes(&self) -> u64 {
        self.offset_bytes
    }

    /// Minimum size of a piece that the registry accepts, except for the last one.
    pub fn chunk_min_bytes(&self) -> Option<u64> {
        self.chunk_min_bytes
    }

    /// Appends `len_bytes` bytes of `stream`, which holds the blob from `offset_bytes` on.
    ///
    /// # Errors
    /// After an error, [`UploadSession::status`] returns how many bytes have arrived.
    pub async fn append(&mut self, offset_bytes: u64, stream: SourceStream, len_bytes: u64) -> Result<(), ClientError> {
        self.append_watched(offset_bytes, stream, len_bytes, &Arc::default(), &|_| ()).await
    }

    /// Like [`UploadSession::append`], but counts the sent bytes in `flow` and regularly reports them to `tick`.
    pub(crate) async fn append_watched(
        &mut self,
        offset_bytes: u64,
        stream: SourceStream,
        len_bytes: u64,
        flow: &Arc<Flow>,
        tick: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), ClientError> {
        if len_bytes == 0 {
            return Ok(());
        }
        let end_bytes = offset_bytes + len_bytes;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(CONTENT_LENGTH, len_bytes.into());
        if let Some(range) = ContentRange::of_chunk(offset_bytes, len_bytes) {
            let value = HeaderValue::try_from(range.to_string()).expect("digits and a hyphen make a header");
            headers.insert(CONTENT_RANGE, value);
        }
        let request = request_text(&Method::PATCH, &self.location);
        let response = self.send_stream(headers, exactly(stream, len_bytes, Arc::clone(flow)), flow, tick).await;
        if let Some(error) = flow.source_error.get() {
            return Err(source_error(offset_bytes + flow.sent_bytes(), error));
        }
        let response = response?;
        self.take_location(&request, response.headers())?;
        match response.status() {
            StatusCode::ACCEPTED | StatusCode::CREATED | StatusCode::NO_CONTENT => {
                self.offset_bytes = arrived(response.headers(), end_bytes).unwrap_or(end_bytes);
                Ok(())
            }
            _ => Err(self.refusal(&request, response).await),
        }
    }

    /// Sends the body once. A stream cannot be sent twice, so after a 401 the caller must retry with a new one.
    async fn send_stream(
        &self,
        headers: HeaderMap,
        body: Body,
        flow: &Flow,
        tick: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Response, ClientError> {
        let (transport, access) = (&self.client.transport, Access::write(&self.name));
        let request = request_text(&Method::PATCH, &self.location);
        let authorization = self.client.auth.header(access).await?;
        let mut sending = transport.stream_request(Method::PATCH, self.location.clone(), headers, body);
        if let Some(value) = &authorization {
            sending = sending.header(reqwest::header::AUTHORIZATION, value);
        }
        let sending = sending.send();
        tokio::pin!(sending);
        let idle = transport.idle_timeout;
        let mut clock = tokio::time::interval(WATCH_INTERVAL.min(idle / 2).max(Duration::from_millis(1)));
        let (mut seen_bytes, mut seen_at) = (0, Instant::now());
        let answer = loop {
            tokio::select! {
                answer = &mut sending => break answer,
                _ = clock.tick() => {
                    let sent_bytes = flow.sent_bytes();
                    tick(sent_bytes);
                    if sent_bytes != seen_bytes {
                        (seen_bytes, seen_at) = (sent_bytes, Instant::now());
                    } else if seen_at.elapsed() >= idle {
                        return Err(ClientError::silence(request, idle));
                    }
                }
            }
        };
        tick(flow.sent_bytes());
        let response = answer.map_err(|error| ClientError::from_network(&request, error))?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let renewed = self.client.auth.renew(transport, access, &response, authorization.as_ref()).await?;
            let refusal = transport.refusal(&request, response).await;
            return Err(if renewed.is_some() { refusal.into_retry("the token was renewed") } else { refusal });
        }
        Ok(response)
    }

    /// Queries how many bytes the registry has.
    ///
    /// The protocol reports `0-0` both for an empty session and for one with a single byte; both are returned as empty.
    ///
    /// # Errors
    /// [`ClientError::is_session_lost`] if the session has ended.
    pub async fn status(&mut self) -> Result<u64, ClientError> {
        let call = Call::new(Method::GET, self.location.clone());
        let wanted = [StatusCode::NO_CONTENT, StatusCode::ACCEPTED, StatusCode::OK];
        let response = match self.client.call(&call, Access::write(&self.name), &wanted).await {
            Err(error) if is_lost(&error) => return Err(lost(&call.text(), &error)),
            other => other?,
        };
        self.take_location(&call.text(), response.headers())?;
        // Without a range the offset to continue from is unknown.
        self.offset_bytes = arrived(response.headers(), 0)
            .ok_or_else(|| ClientError::session_lost(call.text(), "answered without the range that has arrived"))?;
        Ok(self.offset_bytes)
    }

    /// Commits the upload: the registry verifies the digest and stores the blob.
    pub async fn commit(&mut self, digest: &Digest) -> Result<(), ClientError> {
        let mut call = Call::new(Method::PUT, self.location.clone());
        call.url.query_pairs_mut().append_pair("digest", digest.as_str());
        // After a lost response the session is gone, and a retry would only hide that.
        call.repeatable = false;
        call.patience = COMMIT_PATIENCE;
        let wanted = [StatusCode::CREATED, StatusCode::NO_CONTENT];
        match self.client.call(&call, Access::write(&self.name), &wanted).await {
            Ok(_) => Ok(()),
            Err(error) if is_lost(&error) => Err(lost(&call.text(), &error)),
            Err(error) if error.status() == Some(409) => Err(error.into_retry("the session is busy")),
            Err(error) => Err(error),
        }
    }

    /// Cancels the session. Succeeds if it has already ended.
    pub async fn cancel(self) -> Result<(), ClientError> {
        let call = Call::new(Method::DELETE, self.location.clone());
        let wanted = [StatusCode::NO_CONTENT, StatusCode::ACCEPTED, StatusCode::OK, StatusCode::NOT_FOUND];
        self.client.call(&call, Access::write(&self.name), &wanted).await.map(|_| ())
    }

    fn take_location(&mut self, request: &str, headers: &HeaderMap) -> Result<(), ClientError> {
        let location = self.client.location(&self.location, headers);
        if let Some(location) = location.map_err(|why| ClientError::permanent(request, why))? {
            self.location = location;
        }
        Ok(())
    }

    async fn refusal(&self, request: &str, response: Response) -> ClientError {
        let error = self.client.transport.refusal(request, response).await;
        match error.status() {
            _ if is_lost(&error) => lost(request, &error),
            // An earlier request of ours still holds the session, or the offsets differ; querying the status resolves
            // both.
            Some(409 | 416) => error.into_retry("the offset has to be asked for"),
            _ => error,
        }
    }
}

/// The state of a stream that is being sent.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    sent_bytes: AtomicU64,
    source_error: OnceLock<io::Error>,
}

impl Flow {
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }
}

/// Returns a body of exactly `len_bytes` bytes: if the source is shorter or longer, the request is aborted.
fn exactly(source: SourceStream, len_bytes: u64, flow: Arc<Flow>) -> Body {
    let pieces = stream::unfold((source, 0), move |(mut source, sent_bytes)| {
        let flow = Arc::clone(&flow);
        async move {
            if sent_bytes == len_bytes {
                return None;
            }
            let piece = match source.next().await {
                Some(Ok(piece)) if piece.len() as u64 <= len_bytes - sent_bytes => Ok(piece),
                Some(Ok(_)) => Err(io::Error::new(io::ErrorKind::InvalidData, "the source is longer than announced")),
                Some(Err(error)) => Err(error),
                None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the source is shorter than announced")),
            };
            match piece {
                Ok(piece) => {
                    let len = piece.len() as u64;
                    flow.sent_bytes.fetch_add(len, Ordering::Relaxed);
                    Some((Ok(piece), (source, sent_bytes + len)))
                }
                Err(error) => {
                    let _ = flow.source_error.set(error);
                    Some((Err::<Bytes, _>(io::Error::other("the source broke off")), (source, len_bytes)))
                }
            }
        }
    });
    Body::wrap_stream(pieces)
}

pub(crate) fn source_error(offset_bytes: u64, error: &io::Error) -> ClientError {
    let request = format!("reading the source at byte {offset_bytes}");
    match error.kind() {
        // A retry does not help: the source has lost the blob, has a wrong one, or may not read it.
        io::ErrorKind::NotFound | io::ErrorKind::InvalidData | io::ErrorKind::PermissionDenied => {
            ClientError::permanent(request, error.to_string())
        }
        _ => ClientError::retry(request, error.to_string()),
    }
}

/// Returns how many bytes `Range: 0-<last>` reports. `0-0` means one byte or none, so `expected_bytes` decides.
fn arrived(headers: &HeaderMap, expected_bytes: u64) -> Option<u64> {
    let text = header(headers, RANGE.as_str())?;
    match parse_upload_range(text)? {
        0 if text == "0-0" && expected_bytes == 1 => Some(1),
        bytes => Some(bytes),
    }
}

/// Whether the registry reports that the session cannot continue; distribution 2.8 does (404) after every broken
/// connection.
fn is_lost(error: &ClientError) -> bool {
    error.is_not_found()
        || error.code() == Some(ErrorCode::BlobUploadUnknown.as_str())
        || error.status() == Some(400) && error.code() == Some(ErrorCode::BlobUploadInvalid.as_str())
}

fn lost(request: &str, error: &ClientError) -> ClientError {
    ClientError::session_lost(request, error.to_string())
}
