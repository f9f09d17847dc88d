//! What is known about the request that the current task handles: its id, where it came from, and who sent it once that
//! is proved.
//!
//! Owns: the task-local value behind the access log and `request_id` fields. Never: authentication.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};

use transship_registry::Principal;

tokio::task_local! {
    static CURRENT: Arc<RequestContext>;
}

/// One request, as the log knows it.
#[derive(Debug)]
pub struct RequestContext {
    id: String,
    client: IpAddr,
    caller: OnceLock<String>,
}

impl RequestContext {
    /// A context for the request with this id, from this client.
    pub fn new(id: String, client: IpAddr) -> Arc<Self> {
        Arc::new(Self { id, client, caller: OnceLock::new() })
    }

    /// The request id, as `X-Request-Id` shows it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where the request came from: the peer of the connection, or whom a trusted proxy names.
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// The id of the user, once known.
    pub fn caller(&self) -> Option<&str> {
        self.caller.get().map(String::as_str)
    }

    /// Runs a future as the handler of this request.
    pub async fn scope<F: Future>(self: Arc<Self>, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }
}

/// The id of the current request; empty outside of one.
pub fn request_id() -> String {
    CURRENT.try_with(|context| context.id.clone()).unwrap_or_default()
}

/// Where the current request came from.
pub fn client() -> IpAddr {
    // Outside of a request there is nobody to be held back.
    CURRENT.try_with(|context| context.client).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// Notes who sent the current request, for the access log. The first note stays.
pub fn set_caller(principal: &Principal) {
    let _ = CURRENT.try_with(|context| context.caller.set(principal.user_id.clone()));
}
