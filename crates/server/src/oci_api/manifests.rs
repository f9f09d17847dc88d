//! Manifests: pull, push and delete (end-2, end-7, end-9).

use ::http::request::Parts;
use ::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use transship_oci::{Digest, ErrorCode, MAX_MANIFEST_BYTES, Reference, RepositoryName, Route, Tag};
use transship_registry::{ManifestPush, PushCondition};

use super::Call;
use super::error::OciError;
use crate::http::whole::{Sender, Whole, read_whole};
use crate::http::{context, pieces};

/// Maximum number of `?tag=` parameters in one push; the specification asks for at least ten.
const MAX_TAG_PARAMETERS: usize = 46;

pub(super) const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");

/// `GET` and `HEAD /v2/{name}/manifests/{reference}`: the stored bytes, whatever the client accepts.
pub(super) async fn get(call: &Call, name: &RepositoryName, reference: &Reference) -> Result<Response, OciError> {
    let granted = call.may(name)?;
    let stored = call.registry.content().find_manifest(granted, reference).await?;
    let etag = format!("\"{}\"", stored.digest);
    let matches = call.parts.headers.get(header::IF_NONE_MATCH).is_some_and(|value| lists_etag(value, &etag));
    let status = if matches { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let size_bytes = stored.size_bytes;
    let body = match &stored.raw {
        _ if matches || call.parts.method == Method::HEAD => Body::empty(),
        Some(raw) => Body::from(raw.clone()),
        None => {
            let granted = granted.from_address(context::client());
            pieces::manifest(
                Box::pin(call.registry.content().send_manifest(granted, reference, &stored)).await?,
                size_bytes,
            )
        }
    };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, text_header(&stored.media_type));
    headers.insert(DOCKER_CONTENT_DIGEST, text_header(stored.digest.as_str()));
    headers.insert(header::ETAG, text_header(&etag));
    if !matches {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size_bytes));
    }
    Ok(response)
}

/// `PUT /v2/{name}/manifests/{reference}`, with `?tag=` for more tags, and `If-Match` or `If-None-Match: *` for pushes
/// that must not move a tag that somebody else has moved.
pub(super) async fn put(
    call: &Call,
    name: &RepositoryName,
    reference: Reference,
    body: Body,
) -> Result<Response, OciError> {
    let tags = tag_parameters(call)?;
    let condition = condition(call)?;
    let content_type = match only(&call.parts, &header::CONTENT_TYPE)? {
        None => None,
        Some(value) => {
            let text = value.to_str().map_err(|_| bad_manifest("Content-Type is not text"))?;
            Some(text.split(';').next().unwrap_or("").trim().to_owned())
        }
    };
    if call.parts.headers.contains_key(header::CONTENT_ENCODING) {
        return Err(OciError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorCode::ManifestInvalid,
            "a manifest is pushed as it is; leave Content-Encoding out",
        ));
    }
    let body = read_manifest(call, body).await?;
    let raw = body.bytes.clone();
    let push = ManifestPush { reference, tags: tags.clone(), content_type, raw, condition };
    let pushed =
        call.registry.content().push_manifest(call.may(name)?, push).await.map_err(|e| OciError::on(name, e))?;
    let location = Route::Manifest { name: name.clone(), reference: Reference::Digest(pushed.digest.clone()) }.path();
    let mut response = StatusCode::CREATED.into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, text_header(&location));
    headers.insert(DOCKER_CONTENT_DIGEST, text_header(pushed.digest.as_str()));
    if let Some(subject) = &pushed.subject {
        headers.insert(OCI_SUBJECT, text_header(subject.as_str()));
    }
    if !tags.is_empty() {
        let accepted: Vec<&str> = tags.iter().map(Tag::as_str).collect();
        headers.insert(OCI_TAG, text_header(&accepted.join(", ")));
    }
    Ok(response)
}

/// `DELETE /v2/{name}/manifests/{reference}`: a tag alone, or a manifest with its tags.
pub(super) async fn delete(call: &Call, name: &RepositoryName, reference: &Reference) -> Result<Response, OciError> {
    call.registry.content().delete_manifest(call.may(name)?, reference).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

fn tag_parameters(call: &Call) -> Result<Vec<Tag>, OciError> {
    let values: Vec<&str> = call.query.all("tag").collect();
    if values.len() > MAX_TAG_PARAMETERS {
        return Err(OciError::new(
            StatusCode::URI_TOO_LONG,
            ErrorCode::Unsupported,
            format!("{} tag parameters; at most {MAX_TAG_PARAMETERS} are taken", values.len()),
        ));
    }
    values.into_iter().map(|value| value.parse::<Tag>().map_err(|error| bad_manifest(error.to_string()))).collect()
}

fn condition(call: &Call) -> Result<PushCondition, OciError> {
    let get = |name| call.parts.headers.get(name).map(|value| value.to_str().unwrap_or("").trim());
    match (get(header::IF_MATCH), get(header::IF_NONE_MATCH)) {
        (None, None) => Ok(PushCondition::Always),
        (None, Some("*")) => Ok(PushCondition::IfAbsent),
        (Some(etag), None) => {
            let digest = etag.trim_matches('"').parse::<Digest>();
            digest.map(PushCondition::IfDigest).map_err(|_| bad_manifest("If-Match must be one digest in quotes"))
        }
        _ => Err(bad_manifest("a push takes If-Match with one digest, or If-None-Match: *, not both")),
    }
}

/// Returns a header that may occur once: of two, one reader would take the first and another the last.
fn only<'a>(parts: &'a Parts, name: &HeaderName) -> Result<Option<&'a HeaderValue>, OciError> {
    let mut values = parts.headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(bad_manifest(format!("there is more than one header {name}")));
    }
    Ok(first)
}

/// Reads the whole manifest; reads nothing if the announced length is too large.
async fn read_manifest(call: &Call, body: Body) -> Result<Whole, OciError> {
    let account = call.grant.principal.as_ref().map(|principal| principal.account_id.as_str());
    let sender = account.map_or(Sender::Stranger, Sender::Proved);
    Ok(read_whole(&call.parts, body, MAX_MANIFEST_BYTES, sender).await?)
}

fn bad_manifest(message: impl Into<String>) -> OciError {
    OciError::bad(ErrorCode::ManifestInvalid, message)
}

fn lists_etag(value: &HeaderValue, etag: &str) -> bool {
    let listed = |text: &str| {
        text.split(',').any(|part| matches!(part.trim().trim_start_matches("W/"), t if t == etag || t == "*"))
    };
    value.to_str().is_ok_and(listed)
}

/// Parsed digests, paths and media types hold only bytes that a header may hold.
pub(super) fn text_header(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
