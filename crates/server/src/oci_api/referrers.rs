//! The referrers of a manifest (end-12a, end-12b).

use ::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use serde::Serialize;
use transship_oci::{Descriptor, Digest, ErrorCode, Link, RepositoryName, Route, media};

use super::Call;
use super::error::OciError;
use super::manifests::text_header;
use crate::http::{context, pieces};

const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: i32,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
}

/// `GET /v2/{name}/referrers/{digest}?artifactType=`: an index of the manifests whose subject this is.
pub(super) async fn list(call: &Call, name: &RepositoryName, subject: &Digest) -> Result<Response, OciError> {
    let filter = call.query.once("artifactType", ErrorCode::Unsupported)?;
    let after = match call.query.once("last", ErrorCode::Unsupported)? {
        None => None,
        Some(text) => Some(text.parse::<Digest>().map_err(|e| OciError::bad(ErrorCode::DigestInvalid, e.to_string()))?),
    };
    let granted = call.may(name)?.from_address(context::client());
    let page = call.registry.content().referrers(granted, subject, filter, after.as_ref()).await?;
    let index = Index { schema_version: 2, media_type: media::OCI_INDEX, manifests: page.entries };
    let mut response = pieces::json(&index, page.room);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media::OCI_INDEX));
    if filter.is_some() {
        headers.insert(OCI_FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    if let Some(next) = &page.next {
        let route = Route::Referrers { name: name.clone(), digest: subject.clone() };
        let mut parameters = vec![("last", next.as_str())];
        parameters.extend(filter.map(|wanted| ("artifactType", wanted)));
        headers.insert(header::LINK, text_header(&Link::next(&route.path(), &parameters).to_string()));
    }
    Ok(response)
}
