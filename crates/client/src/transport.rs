//! One HTTP connection pool to one origin: URLs, sending, time-outs, size-limited bodies.
//!
//! Owns: the only origin that requests may go to, and the limits of responses. Never: credentials (`auth`) or the
//! meaning of a response.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Body, Certificate, Client, Method, Response, StatusCode, Url};
use transship_oci::{ErrorBody, Route};

use crate::error::{ClientError, request_text, url_text};
use crate::retry;
use crate::settings::ClientSettings;

/// Maximum size of an error or token response.
pub(crate) const MAX_SMALL_BODY_BYTES: usize = 64 * 1024;
/// Maximum number of redirects within the origin that a read follows; writes follow none.
const MAX_REDIRECTS: usize = 3;
/// Maximum time to read a small body, in idle times, so that a trickle of bytes does not hold a job for ever.
const SMALL_BODY_PATIENCE: u32 = 4;
/// How long an idle connection is kept. Servers close theirs after about a minute, so the client closes first.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// A request whose body is small enough to be sent again.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether the request may be sent twice without harm.
    pub(crate) repeatable: bool,
    /// Maximum time for the response, in idle times.
    pub(crate) patience: u32,
}

impl Call {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Bytes::new(), repeatable: true, patience: 1 }
    }

    pub(crate) fn text(&self) -> String {
        request_text(&self.method, &self.url)
    }
}

#[derive(Debug)]
pub(crate) struct Transport {
    http: Client,
    base: Url,
    pub(crate) idle_timeout: Duration,
    pub(crate) first_backoff: Duration,
}

impl Transport {
    pub(crate) fn new(settings: &ClientSettings) -> Result<Self, ClientError> {
        let wrong = |message: String| ClientError::permanent("registry client", message);
        let base = Url::parse(&settings.base_url)
            .map_err(|error| wrong(format!("base URL {:?} is no URL: {error}", settings.base_url)))?;
        let is_origin = matches!(base.scheme(), "http" | "https")
            && base.host().is_some()
            && !has_user(&base)
            && base.path() == "/"
            && base.query().is_none()
            && base.fragment().is_none();
        if !is_origin {
            return Err(wrong(format!("base URL {} is not of the form http(s)://host[:port]", url_text(&base))));
        }
        let mut builder = Client::builder()
            .user_agent(&settings.user_agent)
            .connect_timeout(settings.connect_timeout)
            .redirect(Policy::none())
            .referer(false)
            .no_proxy()
            .tcp_nodelay(true)
            .pool_idle_timeout(POOL_IDLE)
            // The flow-control windows of HTTP/2 would limit a high-latency path to a few megabytes per second.
            .http1_only();
        if base.scheme() == "http" {
            // Without TLS no certificates are needed, and the client must work on a machine that has none.
            builder = builder.tls_certs_only([]);
        } else if let Some(pem) = &settings.extra_ca {
            let certificates = Certificate::from_pem_bundle(pem)
                .map_err(|error| wrong(format!("the extra CA certificates cannot be read: {error}")))?;
            if certificates.is_empty() {
                return Err(wrong("the extra CA certificates hold no PEM certificate".to_owned()));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let http = builder.build().map_err(|error| ClientError::from_network("registry client", error))?;
        Ok(Self { http, base, idle_timeout: settings.idle_timeout, first_backoff: settings.first_backoff })
    }

    /// The URL of a route under `/v2/`.
    pub(crate) fn url(&self, route: &Route) -> Url {
        let mut url = self.base.clone();
        url.set_path(&route.path());
        url
    }

    /// The URL of a fixed path of the origin.
    pub(crate) fn path_url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    /// Resolves a URL from the response to `asked`, relative or absolute, and refuses it if it is not on our own
    /// origin.
    ///
    /// The registry chooses the URLs of its sessions, pages and tokens, but only within the configured origin: others
    /// would send data or credentials to a host that nobody configured.
    pub(crate) fn own_url(&self, asked: &Url, text: &str) -> Result<Url, String> {
        let url = asked.join(text).map_err(|error| format!("named a URL that cannot be read: {error}"))?;
        if url.origin() != self.base.origin() || has_user(&url) {
            let target = url_text(&url);
            return Err(format!(
                "named {target}, which is not on {}; refused",
                self.base.origin().ascii_serialization()
            ));
        }
        Ok(url)
    }

    /// Sends a call once; a read follows redirects within the origin. Returns every other response, whatever its
    /// status.
    pub(crate) async fn send(&self, call: &Call, authorization: Option<&HeaderValue>) -> Result<Response, ClientError> {
        let mut url = call.url.clone();
        let is_read = matches!(call.method, Method::GET | Method::HEAD);
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.http.request(call.method.clone(), url.clone()).headers(call.headers.clone());
            if let Some(value) = authorization {
                request = request.header(reqwest::header::AUTHORIZATION, value);
            }
            if is_read {
                request = request.header(reqwest::header::ACCEPT_ENCODING, "identity");
            } else {
                // The length is sent for an empty body too, because some registries refuse a POST without it.
                request = request.header(reqwest::header::CONTENT_LENGTH, call.body.len()).body(call.body.clone());
            }
            let response = self.answer(&call.text(), self.idle_timeout * call.patience, request.send()).await?;
            match response.headers().get(LOCATION) {
                Some(location) if is_read && response.status().is_redirection() => {
                    let text = String::from_utf8_lossy(location.as_bytes());
                    url = self.own_url(&url, &text).map_err(|why| {
                        ClientError::permanent(call.text(), format!("answered {}: {why}", response.status().as_u16()))
                    })?;
                }
                _ => return Ok(response),
            }
        }
        Err(ClientError::permanent(call.text(), format!("answered more than {MAX_REDIRECTS} redirects")))
    }

    /// Builds a request with a streamed body; the caller watches its progress.
    pub(crate) fn stream_request(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Body,
    ) -> reqwest::RequestBuilder {
        self.http.request(method, url).headers(headers).body(body)
    }

    async fn answer(
        &self,
        request: &str,
        patience: Duration,
        sending: impl Future<Output = reqwest::Result<Response>>,
    ) -> Result<Response, ClientError> {
        match tokio::time::timeout(patience, sending).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(ClientError::from_network(request, error)),
            Err(_) => Err(ClientError::silence(request, patience)),
        }
    }

    /// Reads a body of at most `max_bytes`.
    pub(crate) async fn read(
        &self,
        request: &str,
        mut response: Response,
        max_bytes: usize,
    ) -> Result<Bytes, ClientError> {
        let whole = async {
            let mut body = BytesMut::new();
            loop {
                let piece = tokio::time::timeout(self.idle_timeout, response.chunk())
                    .await
                    .map_err(|_| ClientError::silence(request, self.idle_timeout))?
                    .map_err(|error| ClientError::from_network(request, error))?;
                let Some(piece) = piece else { return Ok(body.freeze()) };
                if body.len() + piece.len() > max_bytes {
                    return Err(ClientError::permanent(request, format!("answered more than {max_bytes} bytes")));
                }
                body.extend_from_slice(&piece);
            }
        };
        let patience = self.idle_timeout * SMALL_BODY_PATIENCE;
        tokio::time::timeout(patience, whole).await.map_err(|_| ClientError::silence(request, patience))?
    }

    /// Turns a response into an error, with the registry's message from its body.
    pub(crate) async fn refusal(&self, request: &str, response: Response) -> ClientError {
        let status = response.status();
        if status.is_redirection() {
            return ClientError::permanent(
                request,
                format!("answered {}, which is not followed here", status.as_u16()),
            );
        }
        let pause = retry::retry_after(response.headers());
        // If the body cannot be read, the status is enough.
        let body = self.read(request, response, MAX_SMALL_BODY_BYTES).await.ok();
        let body = body.and_then(|bytes| serde_json::from_slice::<ErrorBody>(&bytes).ok());
        ClientError::from_answer(request, status.as_u16(), pause, body.as_ref())
    }

    /// Returns the response if its status is in `wanted`, or else turns it into an error.
    pub(crate) async fn expect(
        &self,
        request: &str,
        response: Response,
        wanted: &[StatusCode],
    ) -> Result<Response, ClientError> {
        if wanted.contains(&response.status()) {
            return Ok(response);
        }
        Err(self.refusal(request, response).await)
    }
}

fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Returns a header of a response as text.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
