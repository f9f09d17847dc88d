//! One region alone: the stage of the tests of the registry protocol.

use reqwest::{Method, RequestBuilder};

use crate::http::{self, Reply};
use crate::image::Image;
use crate::manage::User;
use crate::pair::{GROUP, SOURCE};
use crate::region::{ACCOUNT, Region, RegionSettings};
use crate::registry::{Registry, Repository};

/// The repository that most tests use.
pub const APP: &str = "group/app";

/// One region with the organization `group`.
#[derive(Debug)]
pub struct Single {
    /// The region.
    pub region: Region,
    /// The administrator of its account.
    pub admin: User,
}

impl Single {
    /// Starts it with the defaults.
    pub async fn start() -> Self {
        Self::start_with(&[], &[]).await
    }

    /// Starts it with more sections in its configuration, and with more users.
    pub async fn start_with(sections: &[&str], users: &[&User]) -> Self {
        let admin = User::named("admin");
        let mut settings = RegionSettings::named(SOURCE);
        settings.sections.extend(sections.iter().map(|&section| section.to_owned()));
        let mut region = Region::prepare(settings, &admin).await;
        region.start().await;
        if !users.is_empty() {
            region.terminate().await;
            for user in users {
                region.add_user(ACCOUNT, user).await;
            }
            region.start().await;
        }
        region.manage(&admin).create_namespace(GROUP).await;
        Self { region, admin }
    }

    /// The registry for the administrator.
    pub fn registry(&self) -> Registry {
        self.region.registry(&self.admin)
    }

    /// The usual repository with a token for everything.
    pub async fn app(&self) -> Repository {
        self.registry().open(APP, "pull,push,delete").await
    }

    /// A request to the region, as it is.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        http::client().request(method, format!("{}{path}", self.region.url()))
    }

    /// Makes a repository public.
    pub async fn publish(&self, repository: &str) {
        let path = format!("/v2/manage/namespaces/{GROUP}/repos/{repository}");
        let body = serde_json::json!({"is_public": true, "category": "other", "description": ""});
        let reply = self.region.manage(&self.admin).call("PATCH", &path, Some(body)).await;
        assert!(matches!(reply.status, 200 | 201), "{}: {}", reply.asked, reply.text());
    }
}

/// Sends a request of a repository, without a body.
pub async fn ask(repository: &Repository, method: Method, path: &str) -> Reply {
    http::send(repository.request(method, path)).await
}

/// Starts an upload and returns its path below the repository.
pub async fn start_upload(repository: &Repository) -> String {
    let reply = http::send(repository.request(Method::POST, "blobs/uploads/").header("Content-Length", "0")).await;
    path_of(&reply.expect(202))
}

/// The path below the usual repository in a `Location` or `Link`.
pub fn path_of(reply: &Reply) -> String {
    let location = reply.header("location").unwrap_or_else(|| panic!("{}: no Location", reply.asked));
    below_app(location)
}

/// The path below the usual repository that a `Link` leads to, if there is one.
pub fn next_page(reply: &Reply) -> Option<String> {
    let link = reply.header("link")?;
    assert!(link.ends_with("; rel=\"next\""), "{link}");
    Some(below_app(link.split(['<', '>']).nth(1).expect("a link has a target")))
}

fn below_app(path: &str) -> String {
    let (before, below) = path.split_once(&format!("/v2/{APP}/")).unwrap_or_else(|| panic!("the path is {path}"));
    assert_eq!(before, "", "relative, so that it holds behind any proxy");
    below.to_owned()
}

/// Appends a chunk with its range.
pub async fn patch(repository: &Repository, upload: &str, first: usize, bytes: &[u8]) -> Reply {
    let range = format!("{first}-{}", first + bytes.len() - 1);
    let request = repository.request(Method::PATCH, upload).header("Content-Range", range);
    http::send(request.header("Content-Type", "application/octet-stream").body(bytes.to_vec())).await
}

/// Closes an upload without more bytes.
pub async fn finish(repository: &Repository, upload: &str, digest: &str) -> Reply {
    http::send(repository.request(Method::PUT, &format!("{upload}?digest={digest}")).header("Content-Length", "0"))
        .await
}

/// Asks for a blob.
pub async fn blob(repository: &Repository, digest: &str) -> Reply {
    ask(repository, Method::GET, &format!("blobs/{digest}")).await
}

/// The code of a registry error; its body must have the one shape that the specification gives.
pub fn code(reply: &Reply) -> String {
    assert_eq!(reply.header("content-type"), Some("application/json"), "{}", reply.asked);
    let body = reply.json();
    let code = body["errors"][0]["code"].as_str().unwrap_or_default();
    assert!(http::CODES.contains(&code), "{}: {body}", reply.asked);
    assert!(body["errors"][0]["message"].as_str().is_some_and(|text| !text.is_empty()), "{}: {body}", reply.asked);
    code.to_owned()
}

/// Pushes the manifest of an image whose blobs are there already, under another tag.
pub async fn tag(repository: &Repository, tag: &str, image: &Image) {
    repository.put_manifest(tag, image.media_type, &image.raw).await.expect(201);
}
