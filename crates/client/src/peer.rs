//! Calls between regions beyond the registry protocol: get a token for a repository, list what is missing there, take
//! back a tag, and fetch a lost blob.
//!
//! Owns: the calls and their bodies, which both ends share. Never: permissions; the region that is called checks them.

use std::fmt;
use std::marker::PhantomData;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use transship_oci::{Digest, NamespaceName, RepositoryPath, Tag};

use crate::RegistryClient;
use crate::auth::Credentials;
use crate::blob::ByteStream;
use crate::error::ClientError;
use crate::settings::ClientSettings;
use crate::transport::Call;

/// Path at which a region proves its identity and gets a registry token.
pub const TOKEN_PATH: &str = "/transship/v1/token";
/// Path at which it asks which content a copy still needs.
pub const PREPARE_PATH: &str = "/transship/v1/prepare";
/// Path at which it asks to take back a tag.
pub const WITHDRAW_PATH: &str = "/transship/v1/withdraw";
/// Path at which it fetches a blob that it has lost.
pub const REPAIR_PATH: &str = "/transship/v1/blob";
/// Maximum number of manifests in one prepare request, as many as a walk of the closure visits at most (H14, limits
/// against resource abuse).
pub const MAX_PREPARE_MANIFESTS: usize = 1024;
/// Maximum number of blobs in one prepare request. A request has at most 4 MiB, which hold few more.
pub const MAX_PREPARE_BLOBS: usize = 10_000;
/// Maximum number of tags of signatures and the like in one prepare request: four per manifest.
pub const MAX_PREPARE_ATTACHED: usize = 4 * MAX_PREPARE_MANIFESTS;
/// Maximum size of a response: ten thousand digests, of either algorithm, take far less.
const MAX_REPLY_BYTES: usize = 8 << 20;

/// A request for a registry token, with a region token as Bearer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenRequest {
    /// The target organization; the region token names the same one.
    pub namespace: NamespaceName,
    /// The repository in it, which need not exist.
    pub repository: RepositoryPath,
}

/// A registry token for pull and push on exactly that repository.
#[derive(Clone, Serialize, Deserialize)]
pub struct TokenReply {
    /// The token.
    pub token: String,
    /// Its lifetime from now, in seconds.
    pub expires_in: u64,
}

/// Asks what is missing, with that registry token as Bearer.
///
/// The target creates the repository if it is absent, and mounts blobs that the user may read elsewhere in the region.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PrepareRequest {
    /// The target organization.
    pub namespace: NamespaceName,
    /// The repository in it.
    pub repository: RepositoryPath,
    /// The tag that will be written.
    pub tag: Tag,
    /// The digest that the tag will point at.
    pub digest: Digest,
    /// Category of the repository if it is created.
    pub category: String,
    /// Description of the repository if it is created.
    pub description: String,
    /// Every blob of the image.
    #[serde(deserialize_with = "at_most::<MAX_PREPARE_BLOBS, _, _>")]
    pub blobs: Vec<Digest>,
    /// Every manifest of the image.
    #[serde(deserialize_with = "at_most::<MAX_PREPARE_MANIFESTS, _, _>")]
    pub manifests: Vec<Digest>,
    /// The tags of signatures and the like, which belong to the digests of the image.
    #[serde(default, deserialize_with = "at_most::<MAX_PREPARE_ATTACHED, _, _>")]
    pub attached: Vec<Tag>,
}

/// Reads a list of at most `MOST` elements. It stops at the first one too many, because elements may take much more
/// memory than their text.
fn at_most<'de, const MOST: usize, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct AtMost<const MOST: usize, T>(PhantomData<T>);

    impl<'de, const MOST: usize, T: Deserialize<'de>> Visitor<'de> for AtMost<MOST, T> {
        type Value = Vec<T>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(formatter, "a list of at most {MOST}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(element) = access.next_element()? {
                if list.len() == MOST {
                    return Err(A::Error::invalid_length(MOST + 1, &self));
                }
                list.push(element);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_seq(AtMost::<MOST, T>(PhantomData))
}

/// The content that the target has and lacks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PrepareReply {
    /// The manifest that the tag points at now; `None` if it does not exist.
    pub tag_digest: Option<Digest>,
    /// The blobs to send.
    pub missing_blobs: Vec<Digest>,
    /// The manifests to send.
    pub missing_manifests: Vec<Digest>,
    /// The attached tags that exist, each with the digest that it points at.
    #[serde(default)]
    pub attached: Vec<(Tag, Digest)>,
}

/// Asks, with the same registry token, to restore a tag to its state before the calling region wrote it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WithdrawRequest {
    /// The target organization.
    pub namespace: NamespaceName,
    /// The repository in it.
    pub repository: RepositoryPath,
    /// The tag that was written.
    pub tag: Tag,
    /// The digest that it was pointed at. A tag that points elsewhere by now is left alone.
    pub digest: Digest,
    /// The digest that it pointed at before; `None` if it did not exist.
    pub before: Option<Digest>,
}

/// The result of a [`WithdrawRequest`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct WithdrawReply {
    /// Whether the tag still pointed at the digest that the calling region had written, and was taken back.
    pub withdrawn: bool,
}

/// A client of another region.
#[derive(Clone, Debug)]
pub struct PeerClient {
    registry: RegistryClient,
}

impl PeerClient {
    /// A client of the region at `url`, which trusts `extra_ca` besides the system's authorities.
    pub fn new(url: &str, extra_ca: Option<&[u8]>) -> Result<Self, ClientError> {
        let mut settings = ClientSettings::new(url);
        settings.extra_ca = extra_ca.map(<[u8]>::to_vec);
        Ok(Self { registry: RegistryClient::new(&settings)? })
    }

    /// Returns a client of the region's registry with these credentials.
    #[must_use]
    pub fn registry(&self, credentials: Credentials) -> RegistryClient {
        self.registry.with_credentials(credentials)
    }

    /// Checks that the region is reachable.
    pub async fn probe(&self) -> Result<(), ClientError> {
        let transport = &self.registry.transport;
        let call = Call::new(Method::GET, transport.path_url("/livez"));
        let response = transport.send(&call, None).await?;
        transport.expect(&call.text(), response, &[StatusCode::OK]).await.map(|_| ())
    }

    /// Gets a registry token with `region_token`, which proves the identity of this region.
    ///
    /// This is the first request of a copy. A region that closes the connection without a response counts as away
    /// ([`ClientError::is_away`]).
    pub async fn token(&self, region_token: &str, request: &TokenRequest) -> Result<TokenReply, ClientError> {
        self.ask(TOKEN_PATH, region_token, request).await.map_err(ClientError::of_probe)
    }

    /// Asks what the target lacks, in one request for a whole image.
    pub async fn prepare(&self, registry_token: &str, request: &PrepareRequest) -> Result<PrepareReply, ClientError> {
        self.ask(PREPARE_PATH, registry_token, request).await
    }

    /// Asks to restore a tag to its state before this region wrote it.
    pub async fn withdraw(
        &self,
        registry_token: &str,
        request: &WithdrawRequest,
    ) -> Result<WithdrawReply, ClientError> {
        self.ask(WITHDRAW_PATH, registry_token, request).await
    }

    /// Fetches a blob that this region has lost, with a token that names it; `None` if the peer does not provide it.
    ///
    /// The bytes are not verified.
    pub async fn blob(&self, repair_token: &str) -> Result<Option<ByteStream>, ClientError> {
        let transport = &self.registry.transport;
        let call = Call::new(Method::POST, transport.path_url(REPAIR_PATH));
        let authorization = bearer_header(&call, repair_token)?;
        let response = transport.send(&call, Some(&authorization)).await?;
        let response = transport.expect(&call.text(), response, &[StatusCode::OK, StatusCode::NOT_FOUND]).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(self.registry.body_stream(call.text(), response)))
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        bearer: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let transport = &self.registry.transport;
        let url: Url = transport.path_url(path);
        let mut call = Call::new(Method::POST, url);
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        call.body = serde_json::to_vec(body)
            .map_err(|error| ClientError::permanent(call.text(), format!("the request cannot be written: {error}")))?
            .into();
        let authorization = bearer_header(&call, bearer)?;
        let response = transport.send(&call, Some(&authorization)).await?;
        let response = transport.expect(&call.text(), response, &[StatusCode::OK]).await?;
        let bytes = transport.read(&call.text(), response, MAX_REPLY_BYTES).await?;
        // The parser's message could contain a part of the token.
        serde_json::from_slice(&bytes)
            .map_err(|_| ClientError::permanent(call.text(), "the answer is not what this call is answered with"))
    }
}

fn bearer_header(call: &Call, token: &str) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| ClientError::permanent(call.text(), format!("the token does not fit into {AUTHORIZATION}")))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{MAX_PREPARE_ATTACHED, MAX_PREPARE_BLOBS, MAX_PREPARE_MANIFESTS, PrepareRequest};

    /// A request of 4 MiB could name a million tags, which would all be read before they are counted.
    #[test]
    fn a_question_with_longer_lists_than_allowed_is_no_question() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let question = json!({
            "namespace": "team", "repository": "app", "tag": "v1", "digest": digest, "category": "other",
            "description": "", "blobs": [], "manifests": [],
        });
        for (list, most, element) in [
            ("blobs", MAX_PREPARE_BLOBS, digest.as_str()),
            ("manifests", MAX_PREPARE_MANIFESTS, &digest),
            ("attached", MAX_PREPARE_ATTACHED, "a"),
        ] {
            let with = |count: usize| {
                let mut question = question.clone();
                question[list] = Value::from(vec![element; count]);
                serde_json::from_value::<PrepareRequest>(question)
            };
            assert!(with(most).is_ok(), "{list}");
            let refused = with(most + 1).unwrap_err().to_string();
            assert!(refused.contains(&format!("at most {most}")), "{list}: {refused}");
        }
    }
}
