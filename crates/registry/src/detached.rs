//! Work that continues when nobody waits for it any more.

use crate::error::ServiceError;

/// Runs an operation to its end even if the request that started it is dropped (rule 5: commit is detached).
pub(crate) async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
) -> Result<T, ServiceError> {
    tokio::spawn(work).await.map_err(|error| ServiceError::Internal(format!("task ended early: {error}")))?
}
