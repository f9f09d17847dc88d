//! The management API as one user sees it: every call is signed with that user's access key.

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::http::{self, Reply};
use crate::{pair, signature};

/// Somebody with an access key. The same in both regions of a pair.
#[derive(Clone, Debug)]
pub struct User {
    /// Name within the account.
    pub name: String,
    /// Access key.
    pub access_key: String,
    /// Secret key.
    pub secret_key: String,
    /// Password for IAM tokens and for a login by user and password.
    pub password: String,
}

impl User {
    /// A user with keys made of the name.
    pub fn named(name: &str) -> Self {
        let key = name.to_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "");
        Self {
            name: name.to_owned(),
            access_key: format!("TESTKEY{key:0>13}"),
            secret_key: format!("secret-of-{name}-0123456789abcdefghijklmnop"),
            password: format!("Password-of-{name}-1"),
        }
    }
}

/// A replication job as `sync_job` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The job's number.
    pub id: i64,
    /// The tag it copies.
    pub tag: String,
    /// `waiting`, `running`, `success`, `failed`, `timeout`, `cancel` or `existed`.
    pub status: String,
}

impl Job {
    /// True if the job is final.
    pub fn is_final(&self) -> bool {
        !matches!(self.status.as_str(), "waiting" | "running")
    }
}

/// What goes into the body of `sync_images`.
#[derive(Clone, Debug)]
pub struct Sync<'a> {
    /// Tags to copy.
    pub tags: &'a [&'a str],
    /// Target region.
    pub region: &'a str,
    /// Target organization.
    pub namespace: &'a str,
    /// Whether a different image of that name may be replaced.
    pub replace: bool,
}

impl<'a> Sync<'a> {
    /// These tags, to the target of the printed samples, nothing replaced.
    pub fn of(tags: &'a [&'a str]) -> Self {
        Self { tags, region: pair::TARGET, namespace: pair::SDSAD, replace: false }
    }

    /// The same, and a different image of that name is replaced.
    #[must_use]
    pub fn replacing(mut self) -> Self {
        self.replace = true;
        self
    }

    /// The body as JSON.
    pub fn body(&self) -> Value {
        json!({"imageTag": self.tags, "remoteRegionId": self.region, "remoteNamespace": self.namespace, "override": self.replace})
    }
}

/// The management API of one region for one user.
#[derive(Clone, Debug)]
pub struct Manage {
    host: String,
    user: User,
    http: Client,
}

impl Manage {
    /// A caller of the region that listens at `host` (`127.0.0.1:PORT`).
    pub fn new(host: &str, user: &User) -> Self {
        Self { host: host.to_owned(), user: user.clone(), http: http::client() }
    }

    /// Sends a signed call; `target` is path and query as they go over the wire. Returns `None` if there is no answer.
    pub async fn try_call(&self, method: &str, target: &str, body: Option<&[u8]>) -> Option<Reply> {
        let raw = body.unwrap_or_default().to_vec();
        let User { access_key, secret_key, .. } = &self.user;
        let verb = Method::from_bytes(method.as_bytes()).expect("a test names a real method");
        let mut request = self.http.request(verb, format!("http://{}{target}", self.host));
        for (name, value) in signature::sign(method, &self.host, target, &raw, access_key, secret_key) {
            request = request.header(name, value);
        }
        if body.is_some() {
            request = request.header("Content-Type", "application/json").body(raw);
        }
        let reply = http::try_send(request).await.ok()?;
        // Every answer carries a request id, refusals too: support starts there.
        assert!(reply.header("x-request-id").is_some_and(|id| !id.is_empty()), "{}: no X-Request-Id", reply.asked);
        Some(reply)
    }

    /// A signed call with a raw body.
    pub async fn call_raw(&self, method: &str, target: &str, body: Option<&[u8]>) -> Reply {
        let answer = self.try_call(method, target, body).await;
        answer.unwrap_or_else(|| panic!("no answer to {method} {target} at {}", self.host))
    }

    /// A signed call with a JSON body, or none.
    pub async fn call(&self, method: &str, target: &str, body: Option<Value>) -> Reply {
        let raw = body.map(|value| value.to_string().into_bytes());
        self.call_raw(method, target, raw.as_deref()).await
    }

    /// Makes an organization.
    pub async fn create_namespace(&self, namespace: &str) {
        self.call("POST", "/v2/manage/namespaces", Some(json!({"namespace": namespace}))).await.expect(201);
    }

    /// Makes a private repository.
    pub async fn create_repository(&self, namespace: &str, repository: &str) {
        let target = format!("/v2/manage/namespaces/{namespace}/repos");
        let body = json!({"repository": repository, "is_public": false, "category": "other", "description": ""});
        self.call("POST", &target, Some(body)).await.expect(200);
    }

    /// Gives users a level on an organization.
    pub async fn grant_namespace(&self, namespace: &str, grants: &[(&str, &str, i64)]) {
        let target = format!("/v2/manage/namespaces/{namespace}/access");
        self.call("POST", &target, Some(grants_body(grants))).await.expect(200);
    }

    /// Gives users a level on a repository.
    pub async fn grant_repository(&self, namespace: &str, repository: &str, grants: &[(&str, &str, i64)]) {
        let target = format!("{}/access", repository_path(namespace, repository));
        self.call("POST", &target, Some(grants_body(grants))).await.expect(201);
    }

    /// Calls `sync_images`.
    pub async fn sync_images(&self, namespace: &str, repository: &str, sync: &Sync<'_>) -> Reply {
        let target = format!("{}/sync_images", repository_path(namespace, repository));
        self.call("POST", &target, Some(sync.body())).await
    }

    /// Calls `sync_images`, expects status 200, and returns the array of the answer.
    pub async fn sync(&self, namespace: &str, repository: &str, sync: &Sync<'_>) -> Vec<String> {
        let answer = self.sync_images(namespace, repository, sync).await.expect(200).json();
        let tags = answer.as_array().unwrap_or_else(|| panic!("sync_images answered {answer}, not an array"));
        tags.iter().map(|tag| tag.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The jobs of a repository, newest first. `None` when the region does not answer.
    pub async fn try_jobs(&self, namespace: &str, repository: &str) -> Option<Vec<Job>> {
        let path = repository_path(namespace, repository);
        let filter = signature::encode(b"limit::1000|offset::0|order::desc");
        let answer = self.try_call("GET", &format!("{path}/sync_job?filter={filter}"), None).await?.expect(200).json();
        let jobs = answer.as_array().unwrap_or_else(|| panic!("sync_job answered {answer}, not an array"));
        let text = |job: &Value, field: &str| job[field].as_str().unwrap_or_default().to_owned();
        Some(
            jobs.iter()
                .map(|job| Job {
                    id: job["id"].as_i64().unwrap_or_else(|| panic!("a job without an id: {job}")),
                    tag: text(job, "tag"),
                    status: text(job, "status"),
                })
                .collect(),
        )
    }

    /// The jobs of a repository, newest first.
    pub async fn jobs(&self, namespace: &str, repository: &str) -> Vec<Job> {
        let jobs = self.try_jobs(namespace, repository).await;
        jobs.unwrap_or_else(|| panic!("no answer to sync_job at {}", self.host))
    }

    /// The status of the newest job of a tag.
    pub async fn job_status(&self, namespace: &str, repository: &str, tag: &str) -> Option<String> {
        self.jobs(namespace, repository).await.into_iter().find(|job| job.tag == tag).map(|job| job.status)
    }
}

/// `/v2/manage/namespaces/{namespace}/repos/{repository}`, the repository's slashes written as `$`.
pub fn repository_path(namespace: &str, repository: &str) -> String {
    format!("/v2/manage/namespaces/{namespace}/repos/{}", repository.replace('/', "$"))
}

fn grants_body(grants: &[(&str, &str, i64)]) -> Value {
    grants.iter().map(|(id, name, level)| json!({"user_id": id, "user_name": name, "auth": level})).collect()
}
