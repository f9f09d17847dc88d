//! Single steps of an upload, as a client sees them that outlives its region: each may get no answer.

use reqwest::{Method, RequestBuilder};

use crate::http::{self, Reply};
use crate::image;
use crate::registry::Repository;

/// Why a step was not acknowledged: no answer, or an unexpected one.
pub type Lost = String;

/// An upload session of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its path, as the region gave it.
    pub path: String,
}

/// Sends, and returns the answer if it has this status.
///
/// # Errors
/// What came instead.
pub async fn acknowledged(request: RequestBuilder, status: u16) -> Result<Reply, Lost> {
    let reply = http::try_send(request).await.map_err(|error| format!("{error:?}"))?;
    if reply.status == status { Ok(reply) } else { Err(format!("{}: {} {}", reply.asked, reply.status, reply.text())) }
}

/// The number of bytes that an upload's `Range` header reports. `0-0` counts as none: no test sends a single byte.
pub fn offset_of(reply: &Reply) -> usize {
    let range = reply.header("range").unwrap_or_else(|| panic!("{}: no Range", reply.asked));
    let last = range.strip_prefix("0-").and_then(|last| last.parse::<usize>().ok());
    let last = last.unwrap_or_else(|| panic!("{}: Range is {range:?}", reply.asked));
    if last == 0 { 0 } else { last + 1 }
}

impl Session {
    /// Opens one.
    ///
    /// # Errors
    /// What came instead.
    pub async fn start(repository: &Repository) -> Result<Self, Lost> {
        let post = repository.request(Method::POST, "blobs/uploads/").header("Content-Length", "0");
        let reply = acknowledged(post, 202).await?;
        let path = reply.header("location").ok_or("a session without a location")?;
        Ok(Self { path: path.to_owned() })
    }

    fn request(&self, repository: &Repository, method: Method, query: &str) -> RequestBuilder {
        let url = format!("{}{}{query}", repository.origin, self.path);
        repository.http.request(method, url).bearer_auth(&repository.token)
    }

    /// `PATCH`: a chunk from `at`, or a stream when `None`.
    pub fn patch(&self, repository: &Repository, at: Option<usize>, bytes: &[u8]) -> RequestBuilder {
        ranged(self.request(repository, Method::PATCH, ""), at, bytes)
    }

    /// The closing `PUT`, with what is left.
    pub fn put(&self, repository: &Repository, digest: &str, at: Option<usize>, bytes: &[u8]) -> RequestBuilder {
        ranged(self.request(repository, Method::PUT, &format!("?digest={digest}")), at, bytes)
    }

    /// `GET`: where it stands.
    pub fn status(&self, repository: &Repository) -> RequestBuilder {
        self.request(repository, Method::GET, "")
    }

    /// `DELETE`.
    pub fn cancel(&self, repository: &Repository) -> RequestBuilder {
        self.request(repository, Method::DELETE, "")
    }

    /// How many bytes the region has; `None` when the session is gone.
    pub async fn offset(&self, repository: &Repository) -> Option<usize> {
        let reply = http::send(self.status(repository)).await;
        match reply.status {
            204 => Some(offset_of(&reply)),
            404 => None,
            status => panic!("{}: status {status}: {}", reply.asked, reply.text()),
        }
    }

    /// Continues at `at` with the rest of a blob, and closes the session.
    ///
    /// # Errors
    /// What came instead of the 201.
    pub async fn finish_from(&self, repository: &Repository, content: &[u8], at: usize) -> Result<(), Lost> {
        let rest = &content[at..];
        if !rest.is_empty() {
            acknowledged(self.patch(repository, Some(at), rest), 202).await?;
        }
        acknowledged(self.put(repository, &image::digest(content), None, &[]), 201).await.map(drop)
    }
}

fn ranged(request: RequestBuilder, at: Option<usize>, bytes: &[u8]) -> RequestBuilder {
    let request = request.header("Content-Type", "application/octet-stream").body(bytes.to_vec());
    match at {
        Some(at) if !bytes.is_empty() => request.header("Content-Range", format!("{at}-{}", at + bytes.len() - 1)),
        _ => request,
    }
}
