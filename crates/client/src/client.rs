//! The client itself: a shared connection pool and the authorization of every call.
//!
//! Owns: the order "send, renew on 401, send once more". Each operation is in the module of its subject.

use std::sync::Arc;

use backon::Retryable;
use reqwest::{Response, StatusCode};

use crate::auth::{Access, Authorizer, Credentials};
use crate::error::ClientError;
use crate::retry;
use crate::settings::ClientSettings;
use crate::transport::{Call, Transport};

/// A client of one registry. Clones share connections and tokens.
#[derive(Clone, Debug)]
pub struct RegistryClient {
    pub(crate) transport: Arc<Transport>,
    pub(crate) auth: Arc<Authorizer>,
}

impl RegistryClient {
    /// A client without credentials.
    pub fn new(settings: &ClientSettings) -> Result<Self, ClientError> {
        let transport = Arc::new(Transport::new(settings)?);
        Ok(Self { transport, auth: Arc::new(Authorizer::new(Credentials::None)) })
    }

    /// Returns a client for the same registry that shares the connections, with these credentials and no tokens yet.
    #[must_use]
    pub fn with_credentials(&self, credentials: Credentials) -> Self {
        Self { transport: Arc::clone(&self.transport), auth: Arc::new(Authorizer::new(credentials)) }
    }

    /// Sends a call with authorization, and retries a repeatable one after a momentary failure.
    ///
    /// A response whose status is not in `wanted` becomes an error.
    pub(crate) async fn call(
        &self,
        call: &Call,
        access: Access<'_>,
        wanted: &[StatusCode],
    ) -> Result<Response, ClientError> {
        let once = || async {
            let response = self.send_authorized(call, access).await?;
            self.transport.expect(&call.text(), response, wanted).await
        };
        if !call.repeatable {
            return once().await;
        }
        once.retry(retry::in_place()).when(ClientError::is_momentary).await
    }

    async fn send_authorized(&self, call: &Call, access: Access<'_>) -> Result<Response, ClientError> {
        let authorization = self.auth.header(access).await?;
        let response = self.transport.send(call, authorization.as_ref()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        match self.auth.renew(&self.transport, access, &response, authorization.as_ref()).await? {
            Some(renewed) => self.transport.send(call, Some(&renewed)).await,
            None => Ok(response),
        }
    }
}
