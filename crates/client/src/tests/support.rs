//! Servers and sources for the tests.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use axum::response::IntoResponse as _;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use transship_oci::{Digest, DigestAlgorithm, RepositoryName};

use crate::{BlobSource, ClientSettings, RegistryClient, SourceStream};

pub(super) fn name() -> RepositoryName {
    "team/app".parse().unwrap()
}

pub(super) fn sha256(content: &[u8]) -> Digest {
    Digest::of(DigestAlgorithm::Sha256, content)
}

/// Short times: no test waits for a real time-out.
pub(super) fn settings(base_url: &str) -> ClientSettings {
    ClientSettings {
        idle_timeout: Duration::from_millis(300),
        first_backoff: Duration::from_millis(1),
        ..ClientSettings::new(base_url)
    }
}

pub(super) fn client(base_url: &str) -> RegistryClient {
    RegistryClient::new(&settings(base_url)).unwrap()
}

/// Content that differs at every offset.
pub(super) fn content(len: usize) -> Bytes {
    (0..len).map(|i| u8::try_from((i * 31 + i / 251) % 256).unwrap()).collect::<Vec<u8>>().into()
}

/// A source in memory, in small pieces.
pub(super) struct Memory(pub(super) Bytes);

#[async_trait]
impl BlobSource for Memory {
    async fn open(&self, offset_bytes: u64) -> io::Result<SourceStream> {
        let rest = self.0.slice(usize::try_from(offset_bytes).unwrap()..);
        let pieces: Vec<_> = rest.chunks(10_000).map(|piece| Ok(rest.slice_ref(piece))).collect();
        Ok(stream::iter(pieces).boxed())
    }
}

/// A request as a server saw it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.uri)
    }
}

/// A server that sends prepared responses in order, and repeats the last one.
pub(super) struct Script {
    pub(super) base: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// An answer that can be given more than once.
pub(super) type Reply = Box<dyn Fn() -> Response<Body> + Send + Sync>;

pub(super) fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
    let headers: Vec<(String, String)> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let body = body.into();
    Box::new(move || {
        let mut builder = Response::builder().status(status);
        for (name, value) in &headers {
            builder = builder.header(name, value);
        }
        builder.body(Body::from(body.clone())).unwrap()
    })
}

impl Script {
    pub(super) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::start_with(move |_| replies.into_iter().collect()).await
    }

    /// With replies that know the server's own address.
    pub(super) async fn start_with(replies: impl FnOnce(&str) -> Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let replies: VecDeque<Reply> = replies(&base).into();
        let replies = Arc::new(Mutex::new(replies));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let app = axum::Router::new().fallback(move |request: Request| {
            let (replies, log) = (Arc::clone(&replies), Arc::clone(&log));
            async move {
                let (parts, body) = request.into_parts();
                let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
                log.lock().await.push(Seen { method: parts.method, uri: parts.uri, headers: parts.headers, body });
                let mut replies = replies.lock().await;
                if replies.len() > 1 { replies.pop_front().unwrap()() } else { replies[0]() }
            }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { base, seen }
    }

    pub(super) async fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().await)
    }
}

/// A registry that keeps uploads and blobs in memory, and fails as configured.
pub(super) struct Lossy {
    pub(super) base: String,
    pub(super) state: Arc<Mutex<LossyState>>,
}

#[derive(Default)]
pub(super) struct LossyState {
    pub(super) blobs: HashMap<String, Vec<u8>>,
    pub(super) sessions: HashMap<String, Vec<u8>>,
    /// "METHOD path" of every request.
    pub(super) log: Vec<String>,
    /// The next `PATCH` requests break off after this many bytes of their body.
    pub(super) cuts: VecDeque<usize>,
    /// Whether a session dies with its cut connection.
    pub(super) forgets: bool,
    /// Bytes of all PATCH bodies that arrived.
    pub(super) received_bytes: usize,
    /// The next closing `PUT` requests: the answer is lost after the blob was stored.
    pub(super) lost_answers: usize,
    /// The next `PATCH` requests get these responses before their body is read.
    pub(super) patch_answers: VecDeque<(u16, Vec<(&'static str, String)>)>,
    /// The next committed uploads have a flipped bit.
    pub(super) flips: usize,
    next_session: usize,
}

impl Lossy {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(LossyState::default()));
        let shared = Arc::clone(&state);
        let app = axum::Router::new().fallback(move |request: Request| lossy(Arc::clone(&shared), request));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { base, state }
    }

    pub(super) async fn count(&self, method: &str) -> usize {
        self.state.lock().await.log.iter().filter(|line| line.starts_with(method)).count()
    }
}

/// Breaks the connection: the task that serves it ends, without an answer and without a message.
fn cut() -> ! {
    std::panic::resume_unwind(Box::new("cut"))
}

fn range_of(session: &[u8]) -> String {
    transship_oci::range::upload_range(session.len() as u64)
}

async fn lossy(state: Arc<Mutex<LossyState>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let id = path.rsplit('/').next().unwrap().to_owned();
    state.lock().await.log.push(format!("{} {path}", parts.method));
    match parts.method.as_str() {
        "POST" => {
            let mut state = state.lock().await;
            state.next_session += 1;
            let id = format!("s{}", state.next_session);
            state.sessions.insert(id.clone(), Vec::new());
            (StatusCode::ACCEPTED, [(header::LOCATION, format!("{path}{id}?_state=secret"))]).into_response()
        }
        "PATCH" => patch(state, &id, &parts.headers, body).await,
        "PUT" => commit(state, &id, parts.uri.query().unwrap_or_default()).await,
        "GET" => match state.lock().await.sessions.get(&id) {
            Some(session) => (StatusCode::NO_CONTENT, [(header::RANGE, range_of(session))]).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        "HEAD" => match state.lock().await.blobs.get(&id) {
            Some(blob) => (StatusCode::OK, [(header::CONTENT_LENGTH, blob.len())]).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        "DELETE" => match state.lock().await.sessions.remove(&id) {
            Some(_) => StatusCode::NO_CONTENT.into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

async fn patch(state: Arc<Mutex<LossyState>>, id: &str, headers: &HeaderMap, body: Body) -> Response<Body> {
    let cut_after = {
        let mut state = state.lock().await;
        if let Some((status, headers)) = state.patch_answers.pop_front() {
            let mut builder = Response::builder().status(status);
            for (name, value) in headers {
                builder = builder.header(name, value);
            }
            return builder.body(Body::empty()).unwrap();
        }
        let Some(session) = state.sessions.get(id) else { return StatusCode::NOT_FOUND.into_response() };
        let range = headers[header::CONTENT_RANGE].to_str().unwrap();
        assert!(headers.contains_key(header::CONTENT_LENGTH), "the body's length is announced");
        if !range.starts_with(&format!("{}-", session.len())) {
            return (StatusCode::RANGE_NOT_SATISFIABLE, [(header::RANGE, range_of(session))]).into_response();
        }
        state.cuts.pop_front()
    };
    let mut pieces = body.into_data_stream();
    let mut read_bytes = 0;
    while let Some(Ok(piece)) = pieces.next().await {
        let mut state = state.lock().await;
        let kept = cut_after.map_or(piece.len(), |limit| piece.len().min(limit - read_bytes));
        state.received_bytes += piece.len();
        state.sessions.get_mut(id).unwrap().extend_from_slice(&piece[..kept]);
        read_bytes += kept;
        if cut_after == Some(read_bytes) {
            if state.forgets {
                state.sessions.remove(id);
            }
            drop(state);
            cut();
        }
    }
    let state = state.lock().await;
    let location = format!("/v2/team/app/blobs/uploads/{id}?_state=secret");
    (StatusCode::ACCEPTED, [(header::LOCATION, location), (header::RANGE, range_of(&state.sessions[id]))])
        .into_response()
}

async fn commit(state: Arc<Mutex<LossyState>>, id: &str, query: &str) -> Response<Body> {
    let mut state = state.lock().await;
    let Some(mut bytes) = state.sessions.remove(id) else { return StatusCode::NOT_FOUND.into_response() };
    assert!(query.starts_with("_state=secret&"), "the query of the location is kept: {query}");
    if state.flips > 0 {
        state.flips -= 1;
        bytes[0] ^= 1;
    }
    let digest = sha256(&bytes).to_string();
    if query.rsplit_once("digest=").unwrap().1.replace("%3A", ":") != digest {
        let body = r#"{"errors":[{"code":"DIGEST_INVALID","message":"other bytes"}]}"#;
        return (StatusCode::BAD_REQUEST, body).into_response();
    }
    state.blobs.insert(digest, bytes);
    if state.lost_answers > 0 {
        state.lost_answers -= 1;
        drop(state);
        cut();
    }
    StatusCode::CREATED.into_response()
}
