//! Upload sessions (end-4 to end-6, end-11): one POST, a stream, chunks, a mount.
//!
//! All state is in the session's id, so a client that drops the query string of `Location` loses nothing.

use ::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use transship_oci::{
    ContentRange, ContentRangeError, Digest, DigestAlgorithm, ErrorCode, RepositoryName, Route, upload_range,
};
use transship_registry::{Mount, UploadStatus};

use super::Call;
use super::access;
use super::error::OciError;
use super::manifests::{DOCKER_CONTENT_DIGEST, text_header};

const DOCKER_UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// `POST /v2/{name}/blobs/uploads/`: opens a session; with `?digest=` takes a whole blob; with `?mount=` links one.
pub(super) async fn start(call: &Call, name: &RepositoryName, body: Body) -> Result<Response, OciError> {
    if let Some(text) = call.query.once("mount", ErrorCode::DigestInvalid)? {
        let digest = parse_digest(text)?;
        // If there is nothing to mount, the answer is an upload session, whatever the reason (H1, a mount is no
        // oracle).
        let from = call.query.first("from").and_then(|from| from.parse::<RepositoryName>().ok());
        if let Some(from) = from {
            match call.registry.content().mount_blob(call.may(name)?, &digest, &from).await? {
                Mount::Done => return Ok(created(name, &digest)),
                Mount::AskForMore => return Err(access::ask_for_more(call, name)),
                Mount::Nothing => {}
            }
        }
        let status = call.registry.content().start_upload(call.may(name)?, digest.algorithm()).await?;
        return Ok(session(StatusCode::ACCEPTED, name, &status));
    }
    let digest = call.query.once("digest", ErrorCode::DigestInvalid)?.map(parse_digest).transpose()?;
    let algorithm = match call.query.once("digest-algorithm", ErrorCode::DigestInvalid)? {
        Some(text) => text
            .parse::<DigestAlgorithm>()
            .map_err(|error| OciError::bad(ErrorCode::DigestInvalid, error.to_string()))?,
        None => DigestAlgorithm::Sha256,
    };
    if let Some(digest) = digest {
        require_room(call, name, None, Some(&digest)).await?;
        let pushed = call.registry.content().push_blob(call.may(name)?, frames(call, body), digest.clone()).await;
        pushed.map_err(|error| OciError::on(name, error))?;
        return Ok(created(name, &digest));
    }
    let status = call.registry.content().start_upload(call.may(name)?, algorithm).await?;
    Ok(session(StatusCode::ACCEPTED, name, &status))
}

/// `GET` on a session: how many bytes have arrived.
pub(super) async fn status(call: &Call, name: &RepositoryName, id: &str) -> Result<Response, OciError> {
    let status = call.registry.content().upload_status(call.may(name)?, id).await?;
    Ok(session(StatusCode::NO_CONTENT, name, &status))
}

/// `PATCH` on a session: a stream, or a chunk if there is a `Content-Range`.
pub(super) async fn append(call: &Call, name: &RepositoryName, id: &str, body: Body) -> Result<Response, OciError> {
    let range = chunk_range(call, name, id).await?;
    require_room(call, name, Some(id), None).await?;
    let appended = call.registry.content().append_upload(call.may(name)?, id, range, frames(call, body)).await;
    Ok(session(StatusCode::ACCEPTED, name, &appended.map_err(|error| OciError::on(name, error))?))
}

/// `PUT` on a session: the remaining bytes, if any, and the digest of the whole.
pub(super) async fn finish(call: &Call, name: &RepositoryName, id: &str, body: Body) -> Result<Response, OciError> {
    let text = call.query.once("digest", ErrorCode::DigestInvalid)?;
    let text = text.ok_or_else(|| {
        OciError::bad(ErrorCode::DigestInvalid, "the closing PUT needs the digest of the blob: ?digest=sha256:…")
    })?;
    let digest = parse_digest(text)?;
    let range = chunk_range(call, name, id).await?;
    require_room(call, name, Some(id), Some(&digest)).await?;
    let finished =
        call.registry.content().finish_upload(call.may(name)?, id, range, frames(call, body), digest.clone()).await;
    finished.map_err(|error| OciError::on(name, error))?;
    Ok(created(name, &digest))
}

/// `DELETE` on a session.
pub(super) async fn cancel(call: &Call, name: &RepositoryName, id: &str) -> Result<Response, OciError> {
    call.registry.content().cancel_upload(call.may(name)?, id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Refuses a body of known length before it is read if the organization has no room for it.
async fn require_room(
    call: &Call,
    name: &RepositoryName,
    session: Option<&str>,
    digest: Option<&Digest>,
) -> Result<(), OciError> {
    match content_length(call) {
        None | Some(0) => Ok(()),
        Some(length) => Ok(call.registry.content().require_room(call.may(name)?, session, digest, length).await?),
    }
}

fn content_length(call: &Call) -> Option<u64> {
    call.parts.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Returns the range that a chunk declares; its length must be the length of the body, if that is declared too.
async fn chunk_range(call: &Call, name: &RepositoryName, id: &str) -> Result<Option<ContentRange>, OciError> {
    let mut values = call.parts.headers.get_all(header::CONTENT_RANGE).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let bad = |message: String| OciError::bad(ErrorCode::BlobUploadInvalid, message);
    if values.next().is_some() {
        return Err(bad("there is more than one Content-Range".to_owned()));
    }
    let text = value.to_str().map_err(|_| bad("Content-Range is not text".to_owned()))?;
    let range = match text.parse::<ContentRange>() {
        Ok(range) => range,
        Err(ContentRangeError::Malformed(error)) => return Err(bad(error.to_string())),
        Err(error @ ContentRangeError::Backwards { .. }) => {
            let status = call.registry.content().upload_status(call.may(name)?, id).await?;
            return Err(OciError::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                ErrorCode::BlobUploadInvalid,
                error.to_string(),
            )
            .with(header::RANGE, upload_range(status.offset_bytes))
            .with(header::LOCATION, session_path(name, &status)));
        }
    };
    if let Some(length) = content_length(call)
        && length != range.size_bytes()
    {
        return Err(bad(format!(
            "Content-Range {range} covers {} bytes, Content-Length says {length}",
            range.size_bytes()
        )));
    }
    Ok(Some(range))
}

fn parse_digest(text: &str) -> Result<Digest, OciError> {
    text.parse()
        .map_err(|error: transship_oci::GrammarError| OciError::bad(ErrorCode::DigestInvalid, error.to_string()))
}

fn frames(call: &Call, body: Body) -> transship_registry::Body {
    let frames = body.into_data_stream().map(|frame| frame.map_err(|error| error.to_string()));
    transship_registry::Body::new(frames, content_length(call))
}

fn session_path(name: &RepositoryName, status: &UploadStatus) -> String {
    Route::Upload { name: name.clone(), session: status.session.clone() }.path()
}

fn session(code: StatusCode, name: &RepositoryName, status: &UploadStatus) -> Response {
    let mut response = code.into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, text_header(&session_path(name, status)));
    headers.insert(header::RANGE, text_header(&upload_range(status.offset_bytes)));
    headers.insert(DOCKER_UPLOAD_UUID, text_header(&status.session));
    if code != StatusCode::NO_CONTENT {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
    }
    response
}

fn created(name: &RepositoryName, digest: &Digest) -> Response {
    let location = Route::Blob { name: name.clone(), digest: digest.clone() }.path();
    let mut response = StatusCode::CREATED.into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, text_header(&location));
    headers.insert(DOCKER_CONTENT_DIGEST, text_header(digest.as_str()));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
    response
}
