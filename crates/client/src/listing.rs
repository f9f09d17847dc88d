//! Lists that come in pages: tags and referrers.
//!
//! Owns: following `Link` within the origin, up to a limit.

use reqwest::header::{ACCEPT, HeaderValue, LINK};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use transship_oci::link::Link;
use transship_oci::manifest::{Descriptor, MAX_MANIFEST_BYTES};
use transship_oci::{Digest, Reference, RepositoryName, Route, Tag, media};

use crate::auth::Access;
use crate::client::RegistryClient;
use crate::error::{ClientError, printable};
use crate::transport::{Call, header};

/// The requested page size; registries may return fewer items.
const PAGE_ITEMS: &str = "1000";
/// Maximum number of pages, so that an endless chain of links ends.
const MAX_PAGES: usize = 1000;
/// Maximum number of items: some megabytes of tags.
const MAX_ITEMS: usize = 100_000;

#[derive(Deserialize)]
struct TagPage {
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct ReferrerPage {
    manifests: Option<Vec<Descriptor>>,
}

impl RegistryClient {
    /// Returns all tags of a repository; none if it does not exist.
    pub async fn list_tags(&self, name: &RepositoryName) -> Result<Vec<Tag>, ClientError> {
        let mut first = self.transport.url(&Route::TagsList { name: name.clone() });
        first.query_pairs_mut().append_pair("n", PAGE_ITEMS);
        let tags = self
            .pages(name, first, "application/json", |page: TagPage| {
                let tags = page.tags.unwrap_or_default();
                tags.iter().map(|tag| tag.parse().map_err(|_| format!("the tag {:?}", printable(tag)))).collect()
            })
            .await?;
        Ok(tags.unwrap_or_default())
    }

    /// Returns the manifests that name `digest` as their subject.
    ///
    /// For a registry without the referrers API, the referrers tag is read instead.
    pub async fn referrers(&self, name: &RepositoryName, digest: &Digest) -> Result<Vec<Descriptor>, ClientError> {
        let first = self.transport.url(&Route::Referrers { name: name.clone(), digest: digest.clone() });
        let take = |page: ReferrerPage| Ok(page.manifests.unwrap_or_default());
        if let Some(referrers) = self.pages(name, first, media::OCI_INDEX, take).await? {
            return Ok(referrers);
        }
        let tag = digest.referrers_tag();
        let Some((found, media_type, raw)) = self.get_manifest(name, &Reference::Tag(tag)).await? else {
            return Ok(Vec::new());
        };
        if media_type != media::OCI_INDEX {
            return Ok(Vec::new());
        }
        let page: ReferrerPage = serde_json::from_slice(&raw).map_err(|error| {
            ClientError::permanent(format!("reading the referrers index {found}"), format!("it is broken: {error}"))
        })?;
        Ok(page.manifests.unwrap_or_default())
    }

    /// Returns all items of a list; `None` if the list does not exist.
    async fn pages<Page, Item>(
        &self,
        name: &RepositoryName,
        first: Url,
        accept: &'static str,
        take: impl Fn(Page) -> Result<Vec<Item>, String>,
    ) -> Result<Option<Vec<Item>>, ClientError>
    where
        Page: for<'de> Deserialize<'de>,
    {
        let mut items = Vec::new();
        let mut url = first;
        for page_number in 1..=MAX_PAGES {
            let mut call = Call::new(Method::GET, url.clone());
            call.headers.insert(ACCEPT, HeaderValue::from_static(accept));
            let wrong = |message: String| ClientError::permanent(call.text(), message);
            let wanted = &[StatusCode::OK, StatusCode::NOT_FOUND];
            let response = self.call(&call, Access::read(name), wanted).await?;
            if response.status() == StatusCode::NOT_FOUND {
                // A list that disappears between two pages has been deleted.
                return Ok((page_number > 1).then_some(items));
            }
            let next = header(response.headers(), LINK.as_str()).and_then(|text| text.parse::<Link>().ok());
            let body = self.transport.read(&call.text(), response, MAX_MANIFEST_BYTES).await?;
            let page = serde_json::from_slice(&body)
                .map_err(|error| wrong(format!("answered a list that cannot be read: {error}")))?;
            items.extend(take(page).map_err(|what| wrong(format!("answered with {what}, which breaks the grammar")))?);
            if items.len() > MAX_ITEMS {
                return Err(wrong(format!("answered more than {MAX_ITEMS} items")));
            }
            let Some(next) = next else { return Ok(Some(items)) };
            url = self.transport.own_url(&url, next.target()).map_err(|why| wrong(format!("the next page: {why}")))?;
        }
        let request = Call::new(Method::GET, url).text();
        Err(ClientError::permanent(request, format!("the list has more than {MAX_PAGES} pages")))
    }
}
