//! One HTTP exchange: a request goes out, and status, headers and the whole body come back. Bodies are read whole:
//! tests keep them small.

use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder};
use serde_json::Value;

/// What came back.
#[derive(Debug)]
pub struct Reply {
    /// The request, for messages: method and URL.
    pub asked: String,
    /// HTTP status.
    pub status: u16,
    /// Every header.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
}

/// The codes of the distribution specification, and no others.
pub const CODES: [&str; 14] = [
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
];

/// A client that follows no redirect and uses no proxy.
pub fn client() -> Client {
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("an HTTP client without options can be built")
}

/// Sends, and reads the whole answer.
///
/// # Errors
/// When the connection is refused or breaks.
pub async fn try_send(request: RequestBuilder) -> Result<Reply, reqwest::Error> {
    let (client, request) = request.build_split();
    let request = request?;
    let asked = format!("{} {}", request.method(), request.url());
    let mut response = client.execute(request).await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        body.extend_from_slice(&piece);
    }
    Ok(Reply { asked, status, headers, body })
}

/// Sends, and panics if there is no answer.
pub async fn send(request: RequestBuilder) -> Reply {
    try_send(request).await.unwrap_or_else(|error| panic!("no answer: {error:?}"))
}

impl Reply {
    /// Panics unless the status is this one.
    #[expect(clippy::return_self_not_must_use, reason = "often the status is all that matters")]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.asked, self.text());
        self
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{} answered {}, not JSON ({error}): {}", self.asked, self.status, self.text())
        })
    }

    /// One header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The code of an error of the management API, without its prefix: `4040058`.
    pub fn error_code(&self) -> String {
        let json = self.json();
        let code = json["error_code"].as_str().unwrap_or_default();
        // The three places that clients read must agree, whatever the test is about.
        assert_eq!(json["errors"][0]["errorCode"].as_str(), Some(code), "{}: {}", self.asked, self.text());
        assert_eq!(json["errors"][0]["errorMessage"], json["error_msg"], "{}: {}", self.asked, self.text());
        code.strip_prefix("SVCSTG.SWR.").unwrap_or(code).to_owned()
    }

    /// The sentence of an error of the management API.
    pub fn error_message(&self) -> String {
        self.json()["error_msg"].as_str().unwrap_or_default().to_owned()
    }
}
