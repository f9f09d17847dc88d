//! `_catalog` and `tags/list`, paged in byte order.

use ::http::header;
use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use transship_oci::{ErrorCode, Link, RepositoryName, Route};

use super::Call;
use super::error::OciError;

/// Maximum number of entries on a page, and the number if the client names none.
const PAGE: usize = 1000;

/// `GET /v2/_catalog`: the repositories that the holder of the token may pull from.
pub(super) async fn catalog(call: &Call) -> Result<Response, OciError> {
    let page = call.query.page_size(PAGE)?;
    let last = call.query.once("last", ErrorCode::Unsupported)?;
    let mut names = call.registry.content().repository_names(call.grant.principal.as_ref(), last, page + 1).await?;
    let link = next_page(&Route::Catalog, &mut names, page, String::as_str);
    Ok(with_link(link, Json(json!({ "repositories": names }))))
}

/// `GET /v2/{name}/tags/list` (end-8a, end-8b).
pub(super) async fn tags(call: &Call, name: &RepositoryName) -> Result<Response, OciError> {
    let page = call.query.page_size(PAGE)?;
    let last = call.query.once("last", ErrorCode::Unsupported)?;
    let mut tags = call.registry.content().tag_names(call.may(name)?, last, page + 1).await?;
    let link = next_page(&Route::TagsList { name: name.clone() }, &mut tags, page, |tag| tag.as_str());
    Ok(with_link(link, Json(json!({ "name": name, "tags": tags }))))
}

/// Cuts a list that was queried for one entry more than a page, and links to the next page if there is one.
fn next_page<T>(route: &Route, entries: &mut Vec<T>, page: usize, text: impl Fn(&T) -> &str) -> Option<Link> {
    let more = entries.len() > page;
    entries.truncate(page);
    let last = entries.last().filter(|_| more)?;
    Some(Link::next(&route.path(), &[("n", &page.to_string()), ("last", text(last))]))
}

fn with_link(link: Option<Link>, body: Json<serde_json::Value>) -> Response {
    match link {
        Some(link) => ([(header::LINK, link.to_string())], body).into_response(),
        None => body.into_response(),
    }
}
