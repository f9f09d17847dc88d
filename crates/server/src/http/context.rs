//! What is known about the request that the current task handles: its id, its address, and its sender once proved.
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

    /// The address of the client: the peer of the connection, or the client that a trusted proxy names.
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// The id of the user, once known.
    pub fn caller(&self) -> Option<&str> {
        self.caller.get().map(String::as_str)
    }

    /// Runs a future as the handler of this request.
    pub fn scope<F: Future>(self: Arc<Self>, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, future)
    }
}

/// The id of the current request; empty outside a request.
pub fn request_id() -> String {
    CURRENT.try_with(|context| context.id.clone()).unwrap_or_default()
}

/// The address of the client of the current request.
pub fn client() -> IpAddr {
    // Outside a request there is no client to throttle.
    CURRENT.try_with(|context| context.client).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// Records who sent the current request, for the access log; the first call wins.
pub fn set_caller(principal: &Principal) {
    let _ = CURRENT.try_with(|context| context.caller.set(principal.user_id.clone()));
}
