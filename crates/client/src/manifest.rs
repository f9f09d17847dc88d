//! Reading and writing manifests, as raw bytes.
//!
//! Owns: verifying that a manifest matches its digest, before it is returned or sent.

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use reqwest::{Method, Response, StatusCode};
use transship_oci::manifest::{MAX_MANIFEST_BYTES, ManifestView};
use transship_oci::{Digest, DigestAlgorithm, Reference, RepositoryName, Route, Tag, media};

use crate::auth::Access;
use crate::client::RegistryClient;
use crate::error::{ClientError, printable};
use crate::transport::{Call, header};

const DIGEST_HEADER: &str = "docker-content-digest";
/// The response header with the tags that a push by digest with `?tag=` has set.
const TAG_HEADER: &str = "oci-tag";

/// The condition under which a manifest is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutCondition {
    /// No condition: an existing manifest is replaced.
    Always,
    /// The reference does not exist.
    IfAbsent,
    /// The reference names this manifest.
    IfDigest(Digest),
}

impl RegistryClient {
    /// Returns the digest, media type and verified raw bytes of a manifest; `None` if the reference does not exist.
    ///
    /// # Errors
    /// A permanent error if the bytes do not match the digest in the reference or in the registry's digest header.
    pub async fn get_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<(Digest, String, Bytes)>, ClientError> {
        let call = self.manifest_call(Method::GET, name, reference);
        let Some(response) = self.find_manifest(&call, name).await? else { return Ok(None) };
        let told = told_digest(&call, &response)?;
        let media_type = header(response.headers(), CONTENT_TYPE.as_str())
            .map(|text| printable(text.split(';').next().unwrap_or_default().trim()));
        let raw = self.transport.read(&call.text(), response, MAX_MANIFEST_BYTES).await?;

        let wanted = match reference {
            Reference::Digest(digest) => Some(digest),
            Reference::Tag(_) => told.as_ref(),
        };
        let digest = Digest::of(wanted.map_or(DigestAlgorithm::Sha256, Digest::algorithm), &raw);
        if wanted.is_some_and(|wanted| *wanted != digest) {
            let wanted = wanted.map_or("", Digest::as_str);
            return Err(ClientError::permanent(call.text(), format!("answered bytes of {digest} instead of {wanted}")));
        }
        let media_type = match media_type {
            Some(media_type) => media_type,
            None => {
                ManifestView::parse(None, &raw)
                    .map_err(|error| ClientError::permanent(call.text(), format!("answered no manifest: {error}")))?
                    .media_type
            }
        };
        Ok(Some((digest, media_type, raw)))
    }

    /// Returns the digest that a reference has now; `None` if it does not exist.
    pub async fn head_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<Digest>, ClientError> {
        let call = self.manifest_call(Method::HEAD, name, reference);
        let Some(response) = self.find_manifest(&call, name).await? else { return Ok(None) };
        match (told_digest(&call, &response)?, reference) {
            (Some(told), Reference::Digest(wanted)) if told != *wanted => {
                Err(ClientError::permanent(call.text(), format!("answered with {told}")))
            }
            (Some(told), _) => Ok(Some(told)),
            // The header is optional in the protocol; the digest of the bytes is always available.
            (None, _) => Ok(self.get_manifest(name, reference).await?.map(|(digest, _, _)| digest)),
        }
    }

    /// Writes a manifest and returns its digest.
    ///
    /// # Errors
    /// [`crate::ErrorKind::PreconditionFailed`] if the condition does not hold.
    pub async fn put_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
        media_type: &str,
        raw: Bytes,
        condition: PutCondition,
    ) -> Result<Digest, ClientError> {
        let call = self.manifest_call(Method::PUT, name, reference);
        let digest = match reference {
            Reference::Tag(_) => Digest::of(DigestAlgorithm::Sha256, &raw),
            Reference::Digest(wanted) => wanted.clone(),
        };
        self.put(call, name, &digest, media_type, raw, condition).await?;
        Ok(digest)
    }

    /// Sends a manifest with this digest, and checks the digest that the registry reports.
    async fn put(
        &self,
        mut call: Call,
        name: &RepositoryName,
        digest: &Digest,
        media_type: &str,
        raw: Bytes,
        condition: PutCondition,
    ) -> Result<Response, ClientError> {
        let wrong = |message: String| ClientError::permanent(call.text(), message);
        let actual = Digest::of(digest.algorithm(), &raw);
        if actual != *digest {
            return Err(wrong(format!("not sent: the manifest is {actual}, not {digest}")));
        }
        let media_type = HeaderValue::from_str(media_type)
            .map_err(|_| wrong(format!("not sent: media type {media_type:?} cannot be a header")))?;
        call.headers.insert(CONTENT_TYPE, media_type);
        // After a lost response, a retry would find that the first attempt has broken the condition.
        call.repeatable = condition == PutCondition::Always;
        match &condition {
            PutCondition::Always => {}
            PutCondition::IfAbsent => {
                call.headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
            }
            PutCondition::IfDigest(current) => {
                let value = HeaderValue::try_from(format!("\"{current}\"")).expect("a quoted digest makes a header");
                call.headers.insert(IF_MATCH, value);
            }
        }
        call.body = raw;
        let response = self.call(&call, Access::write(name), &[StatusCode::CREATED, StatusCode::OK]).await?;
        match told_digest(&call, &response)? {
            Some(told) if told.algorithm() == digest.algorithm() && told != *digest => {
                Err(ClientError::permanent(call.text(), format!("stored {told} instead of {digest}")))
            }
            _ => Ok(response),
        }
    }

    /// Writes a manifest under its digest and points a tag at it. The condition applies to the tag.
    ///
    /// A push by tag stores the manifest under its sha256 digest. A manifest with a digest of another algorithm is
    /// pushed by digest, with the tag as a parameter (OCI distribution 1.1, `?tag=`).
    ///
    /// # Errors
    /// As [`RegistryClient::put_manifest`]; permanent if the registry does not know the parameter.
    pub async fn put_tagged(
        &self,
        name: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
        media_type: &str,
        raw: Bytes,
        condition: PutCondition,
    ) -> Result<(), ClientError> {
        let by_tag = Reference::Tag(tag.clone());
        if digest.algorithm() == DigestAlgorithm::Sha256 {
            let call = self.manifest_call(Method::PUT, name, &by_tag);
            self.put(call, name, digest, media_type, raw, condition).await?;
            return Ok(());
        }
        let mut call = self.manifest_call(Method::PUT, name, &Reference::Digest(digest.clone()));
        call.url.query_pairs_mut().append_pair("tag", tag.as_str());
        let text = call.text();
        let response = self.put(call, name, digest, media_type, raw, condition).await?;
        let set = header(response.headers(), TAG_HEADER).unwrap_or_default();
        if set.split(',').any(|set| set.trim() == tag.as_str()) {
            return Ok(());
        }
        // A registry of an older specification stores the manifest and ignores the parameter.
        let message = format!("the registry does not set tags in a push by digest, so {tag} cannot point at {digest}");
        Err(ClientError::permanent(text, message))
    }

    async fn find_manifest(&self, call: &Call, name: &RepositoryName) -> Result<Option<Response>, ClientError> {
        let found = &[StatusCode::OK, StatusCode::NOT_FOUND];
        let response = self.call(call, Access::read(name), found).await?;
        Ok(Some(response).filter(|response| response.status() == StatusCode::OK))
    }

    fn manifest_call(&self, method: Method, name: &RepositoryName, reference: &Reference) -> Call {
        let route = Route::Manifest { name: name.clone(), reference: reference.clone() };
        let mut call = Call::new(method, self.transport.url(&route));
        if call.method != Method::PUT {
            call.headers.insert(ACCEPT, HeaderValue::from_static(media::ACCEPT_MANIFESTS));
        }
        call
    }
}

fn told_digest(call: &Call, response: &Response) -> Result<Option<Digest>, ClientError> {
    let Some(text) = header(response.headers(), DIGEST_HEADER) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        ClientError::permanent(call.text(), format!("answered with the digest {:?}, which is none", printable(text)))
    })
}
