//! The referrers of a manifest (end-12a, end-12b).

use ::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use transship_oci::{Digest, ErrorCode, Link, ManifestView, RepositoryName, Route, media};

use super::Call;
use super::error::OciError;

const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
/// Referrers on one page: with annotations of ordinary size far below the 4 MiB that clients accept.
const PAGE: usize = 100;

/// `GET /v2/{name}/referrers/{digest}?artifactType=`: an index of the manifests whose subject this is.
pub(super) async fn list(call: &Call, name: &RepositoryName, subject: &Digest) -> Result<Response, OciError> {
    let filter = call.query.once("artifactType", ErrorCode::Unsupported)?;
    let after = match call.query.once("last", ErrorCode::Unsupported)? {
        None => None,
        Some(text) => Some(text.parse::<Digest>().map_err(|e| OciError::bad(ErrorCode::DigestInvalid, e.to_string()))?),
    };
    let found = call.registry.referrers(name, subject, after.as_ref(), PAGE).await?;
    let mut manifests = Vec::with_capacity(found.len());
    for stored in &found {
        let Ok(view) = ManifestView::parse(Some(&stored.media_type), &stored.raw) else { continue };
        if filter.is_some_and(|wanted| view.artifact_type.as_deref() != Some(wanted)) {
            continue;
        }
        let mut descriptor = json!({
            "mediaType": stored.media_type,
            "digest": stored.digest,
            "size": stored.raw.len(),
        });
        if let Some(artifact_type) = &view.artifact_type {
            descriptor["artifactType"] = json!(artifact_type);
        }
        if !view.annotations.is_empty() {
            descriptor["annotations"] = json!(view.annotations);
        }
        manifests.push(descriptor);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": manifests });
    let mut response = axum::Json(index).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media::OCI_INDEX));
    if filter.is_some() {
        headers.insert(OCI_FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    if let Some(last) = found.last().filter(|_| found.len() == PAGE) {
        let route = Route::Referrers { name: name.clone(), digest: subject.clone() };
        let mut parameters = vec![("last", last.digest.as_str())];
        parameters.extend(filter.map(|wanted| ("artifactType", wanted)));
        headers
            .insert(header::LINK, super::manifests::text_header(&Link::next(&route.path(), &parameters).to_string()));
    }
    Ok(response)
}
