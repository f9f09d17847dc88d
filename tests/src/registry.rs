//! A registry client of our own, for what real clients cannot do: many small images at once, single requests, and a
//! pull that checks every byte of a closure. Follows the token protocol of contract 7.6.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

use crate::http::{self, Reply};
use crate::image::{self, Image};
use crate::manage::User;
use crate::signature;

/// Accepts any manifest.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// What a pull found: every blob and manifest of an image, each checked against its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closure {
    /// Digest of the manifest that was asked for.
    pub digest: String,
    /// Digest to size of everything below it, and itself.
    pub parts: BTreeMap<String, usize>,
}

/// The registry protocol of one region, with or without a login.
#[derive(Clone, Debug)]
pub struct Registry {
    url: String,
    login: Option<(String, String)>,
    http: Client,
}

/// User and password of the long-term login of contract 7.5.
pub fn login_of(region: &str, user: &User) -> (String, String) {
    let password = signature::registry_password(&user.access_key, &user.secret_key);
    (format!("{region}@{}", user.access_key), password)
}

impl Registry {
    /// A client with this login; without one if `login` is `None`.
    pub fn new(url: &str, login: Option<(String, String)>) -> Self {
        Self { url: url.to_owned(), login, http: http::client() }
    }

    /// The answer of the token endpoint for a scope.
    pub async fn ask_token(&self, scope: &str) -> Reply {
        let ping = http::send(self.http.get(format!("{}/v2/", self.url))).await.expect(401);
        let challenge = ping.header("www-authenticate").expect("a challenge").to_owned();
        let realm = parameter(&challenge, "realm").unwrap_or_else(|| panic!("no realm in {challenge}"));
        let service = parameter(&challenge, "service").unwrap_or_else(|| panic!("no service in {challenge}"));
        let query =
            format!("service={}&scope={}", signature::encode(service.as_bytes()), signature::encode(scope.as_bytes()));
        let mut request = self.http.get(format!("{realm}?{query}"));
        if let Some((user, password)) = &self.login {
            request =
                request.header("Authorization", format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
        }
        http::send(request).await
    }

    /// One repository with a token for these actions (`pull` or `pull,push`). The token may grant less.
    pub async fn open(&self, repository: &str, actions: &str) -> Repository {
        let answer = self.ask_token(&format!("repository:{repository}:{actions}")).await.expect(200).json();
        let token = answer["token"].as_str().unwrap_or_else(|| panic!("no token in {answer}")).to_owned();
        Repository {
            base: format!("{}/v2/{repository}", self.url),
            origin: self.url.clone(),
            token,
            http: self.http.clone(),
        }
    }

    /// Pushes an image under a tag, blobs first.
    pub async fn push(&self, repository: &str, tag: &str, image: &Image) {
        self.open(repository, "pull,push").await.push(tag, image).await;
    }

    /// Pulls an image and checks every part of it.
    pub async fn pull(&self, repository: &str, reference: &str) -> Closure {
        self.open(repository, "pull").await.pull(reference).await
    }

    /// The digest a tag points at; `None` if there is no such tag or repository.
    pub async fn tag_digest(&self, repository: &str, tag: &str) -> Option<String> {
        self.open(repository, "pull").await.tag_digest(tag).await
    }
}

/// One repository, with a token.
#[derive(Clone, Debug)]
pub struct Repository {
    base: String,
    pub(crate) origin: String,
    pub(crate) token: String,
    pub(crate) http: Client,
}

impl Repository {
    /// A repository at this URL, with any token.
    pub fn with_token(url: &str, repository: &str, token: &str) -> Self {
        Self {
            base: format!("{url}/v2/{repository}"),
            origin: url.to_owned(),
            token: token.to_owned(),
            http: http::client(),
        }
    }

    /// A request with the token on it; `path` is below `/v2/<repository>/`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/{path}", self.base)).bearer_auth(&self.token)
    }

    /// A request with the token on it to a `Location` of the registry, which may be a path or a whole URL.
    pub fn request_at(&self, method: Method, location: &str) -> RequestBuilder {
        let url = if location.starts_with('/') { format!("{}{location}", self.origin) } else { location.to_owned() };
        self.http.request(method, url).bearer_auth(&self.token)
    }

    /// Uploads a blob in one `POST` and one `PUT`, unless it is there.
    pub async fn push_blob(&self, bytes: &[u8]) {
        let digest = image::digest(bytes);
        if http::send(self.request(Method::HEAD, &format!("blobs/{digest}"))).await.status == 200 {
            return;
        }
        let started =
            http::send(self.request(Method::POST, "blobs/uploads/").header("Content-Length", "0")).await.expect(202);
        let location = started.header("location").expect("an upload has a location");
        let url = if location.starts_with('/') { format!("{}{location}", self.origin) } else { location.to_owned() };
        let joint = if url.contains('?') { '&' } else { '?' };
        let put = self.http.put(format!("{url}{joint}digest={digest}")).bearer_auth(&self.token);
        http::send(put.header("Content-Type", "application/octet-stream").body(bytes.to_vec())).await.expect(201);
    }

    /// Puts a manifest under a tag or digest.
    pub async fn put_manifest(&self, reference: &str, media_type: &str, raw: &[u8]) -> Reply {
        let put = self.request(Method::PUT, &format!("manifests/{reference}")).header("Content-Type", media_type);
        http::send(put.body(raw.to_vec())).await
    }

    /// Pushes an image under a reference: blobs, then children, then itself.
    pub async fn push(&self, reference: &str, image: &Image) {
        for blob in &image.blobs {
            self.push_blob(blob).await;
        }
        for child in &image.children {
            Box::pin(self.push(&child.digest(), child)).await;
        }
        self.put_manifest(reference, image.media_type, &image.raw).await.expect(201);
    }

    /// The digest a tag points at.
    pub async fn tag_digest(&self, tag: &str) -> Option<String> {
        let reply = http::send(self.request(Method::HEAD, &format!("manifests/{tag}")).header("Accept", ACCEPT)).await;
        match reply.status {
            200 => reply.header("docker-content-digest").map(str::to_owned),
            404 => None,
            status => panic!("{}: status {status}", reply.asked),
        }
    }

    /// Pulls an image and checks every part of it against its digest.
    pub async fn pull(&self, reference: &str) -> Closure {
        let mut parts = BTreeMap::new();
        let digest = self.pull_manifest(reference, &mut parts).await;
        Closure { digest, parts }
    }

    async fn pull_manifest(&self, reference: &str, parts: &mut BTreeMap<String, usize>) -> String {
        let get = self.request(Method::GET, &format!("manifests/{reference}")).header("Accept", ACCEPT);
        let reply = http::send(get).await.expect(200);
        let digest = image::digest(&reply.body);
        assert_eq!(reply.header("docker-content-digest"), Some(digest.as_str()), "{}", reply.asked);
        if reference.starts_with("sha256:") {
            assert_eq!(reference, digest, "{}", reply.asked);
        }
        parts.insert(digest.clone(), reply.body.len());
        let manifest = reply.json();
        for child in array(&manifest["manifests"]) {
            Box::pin(self.pull_manifest(text(&child["digest"]), parts)).await;
        }
        let config = manifest.get("config").into_iter();
        for blob in config.chain(array(&manifest["layers"])) {
            let digest = text(&blob["digest"]);
            if !parts.contains_key(digest) {
                let bytes = http::send(self.request(Method::GET, &format!("blobs/{digest}"))).await.expect(200).body;
                assert_eq!(image::digest(&bytes), digest, "a blob of {} {reference}", self.base);
                assert_eq!(Some(bytes.len() as u64), blob["size"].as_u64(), "size of {digest} in {}", self.base);
                parts.insert(digest.to_owned(), bytes.len());
            }
        }
        digest
    }

    /// Digests of what refers to a manifest.
    pub async fn referrers(&self, digest: &str) -> Vec<String> {
        let index = http::send(self.request(Method::GET, &format!("referrers/{digest}"))).await.expect(200).json();
        array(&index["manifests"]).iter().map(|entry| text(&entry["digest"]).to_owned()).collect()
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A quoted parameter of a challenge.
pub fn parameter(challenge: &str, name: &str) -> Option<String> {
    let start = challenge.find(&format!("{name}=\""))? + name.len() + 2;
    let end = challenge[start..].find('"')?;
    Some(challenge[start..start + end].to_owned())
}
