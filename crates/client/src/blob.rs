//! Reading blobs.
//!
//! Owns: HEAD and GET of a blob. Never verifies the bytes: the caller that stores them hashes them once, as they
//! arrive.

use std::ops::Range;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use transship_oci::range::{ByteRange, ServedRange};
use transship_oci::{Digest, RepositoryName, Route};

use crate::auth::Access;
use crate::client::RegistryClient;
use crate::error::ClientError;
use crate::transport::{Call, header};

/// The bytes of a blob as they arrive.
pub type ByteStream = BoxStream<'static, Result<Bytes, ClientError>>;

impl RegistryClient {
    /// Returns the size of a blob; `None` if the repository does not have it.
    pub async fn head_blob(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<u64>, ClientError> {
        let call = Call::new(Method::HEAD, self.blob_url(name, digest));
        let found = &[StatusCode::OK, StatusCode::NOT_FOUND];
        let response = self.call(&call, Access::read(name), found).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        // `Response::content_length` returns the length of the body, and the response to a HEAD has no body.
        let length = header(response.headers(), CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
        length.map(Some).ok_or_else(|| ClientError::permanent(call.text(), "answered 200 without a Content-Length"))
    }

    /// Returns the unverified bytes of a blob, or of a part of it.
    ///
    /// # Errors
    /// If the repository does not have the blob ([`ClientError::is_not_found`]), or the response is not the requested
    /// part. The stream ends with an error if the connection breaks before the announced end.
    pub async fn get_blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        range: Option<Range<u64>>,
    ) -> Result<ByteStream, ClientError> {
        let mut call = Call::new(Method::GET, self.blob_url(name, digest));
        let wanted = match &range {
            None => StatusCode::OK,
            Some(range) if range.is_empty() => return Ok(stream::empty().boxed()),
            Some(range) => {
                let value = ByteRange::header(range.start, Some(range.end - 1));
                call.headers.insert(RANGE, HeaderValue::try_from(value).expect("digits and signs make a header"));
                StatusCode::PARTIAL_CONTENT
            }
        };
        let response = self.call(&call, Access::read(name), &[StatusCode::OK, StatusCode::PARTIAL_CONTENT]).await?;
        let broken = |what: &str| Err(ClientError::permanent(call.text(), what.to_owned()));
        if response.status() != wanted {
            return broken("answered with the whole blob instead of a part, or the other way round");
        }
        if let Some(range) = range {
            let served = header(response.headers(), CONTENT_RANGE.as_str()).and_then(|text| text.parse().ok());
            if !served.is_some_and(|served: ServedRange| (served.first..served.last + 1) == range) {
                return broken("answered with another part than was asked for");
            }
        }
        if header(response.headers(), CONTENT_ENCODING.as_str()).is_some_and(|coding| coding != "identity") {
            return broken("answered with an encoding that was not asked for");
        }
        Ok(self.body_stream(call.text(), response))
    }

    pub(crate) fn body_stream(&self, request: String, response: Response) -> ByteStream {
        let idle = self.transport.idle_timeout;
        stream::try_unfold(response, move |mut response| {
            let request = request.clone();
            async move {
                let piece = tokio::time::timeout(idle, response.chunk())
                    .await
                    .map_err(|_| ClientError::silence(&request, idle))?
                    .map_err(|error| ClientError::from_network(&request, error))?;
                Ok(piece.map(|piece| (piece, response)))
            }
        })
        .boxed()
    }

    fn blob_url(&self, name: &RepositoryName, digest: &Digest) -> reqwest::Url {
        self.transport.url(&Route::Blob { name: name.clone(), digest: digest.clone() })
    }
}
