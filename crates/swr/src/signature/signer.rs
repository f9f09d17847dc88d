//! Signing, as a client does it.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{DATE_HEADER, SignatureError, SignedRequest, authorization_header, date_text};

/// An access key and its secret, which sign requests.
#[derive(Clone)]
pub struct Signer {
    access_key: String,
    secret_key: String,
}

impl fmt::Debug for Signer {
    /// Shows the access key, never the secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Signer").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

impl Signer {
    /// A signer with this access key and its secret.
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self { access_key: access_key.into(), secret_key: secret_key.into() }
    }

    /// Signs a request at the time `now_seconds` (Unix time) and returns the two headers to add to it: `X-Sdk-Date` and
    /// `Authorization`.
    ///
    /// The signature covers every header that the request has so far, and the host if `request.authority` gives it.
    /// Headers that a proxy or an HTTP library may change must be added after signing. Headers with an underscore in
    /// the name are not signed, as the SDKs do not sign them either (contract 7.2).
    ///
    /// ```
    /// use http::{HeaderMap, header};
    /// use transship_swr::signature::{SignedRequest, Signer};
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.insert(header::CONTENT_TYPE, "application/json".parse()?);
    /// let signer = Signer::new("EXAMPLEACCESSKEY0001", "examplesecretkeyexamplesecretkey00000001");
    /// let request = SignedRequest {
    ///     method: "GET",
    ///     path: "/v2/manage/regions",
    ///     query: None,
    ///     headers: &headers,
    ///     authority: Some("127.0.0.1:8080"),
    /// };
    /// let [date, authorization] = signer.sign(request, b"", 1_735_787_045)?;
    /// assert_eq!(date.1, "20250102T030405Z");
    /// assert!(authorization.1.to_str()?.contains("SignedHeaders=content-type;host;x-sdk-date"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When a header to sign is repeated or not text.
    pub fn sign(
        &self,
        request: SignedRequest<'_>,
        body: &[u8],
        now_seconds: i64,
    ) -> Result<[(HeaderName, HeaderValue); 2], SignatureError> {
        let date = HeaderName::from_static(DATE_HEADER);
        let date_value = HeaderValue::try_from(date_text(now_seconds))
            .map_err(|_| SignatureError::Header(format!("{DATE_HEADER} cannot hold the time {now_seconds}")))?;
        let mut headers: HeaderMap = request.headers.clone();
        headers.remove(header::AUTHORIZATION);
        headers.insert(date.clone(), date_value.clone());
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).filter(|name| !name.contains('_')).collect();
        if request.authority.is_some() && !headers.contains_key(header::HOST) {
            names.push(header::HOST.as_str());
        }
        let request = SignedRequest { headers: &headers, ..request };
        let text = authorization_header(request, &names, body, &self.access_key, &self.secret_key)?;
        let mut authorization = HeaderValue::try_from(text)
            .map_err(|_| SignatureError::Header("authorization cannot hold the access key".to_owned()))?;
        authorization.set_sensitive(true);
        Ok([(date, date_value), (header::AUTHORIZATION, authorization)])
    }
}
