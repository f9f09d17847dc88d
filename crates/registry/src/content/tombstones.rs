//! Deletes bytes that no row names any more.

use transship_store::Location;

use crate::content::service::Content;
use crate::error::ServiceError;

impl Content {
    /// Deletes bytes that no row names any more, and then their tombstone.
    ///
    /// A failure leaves the tombstone, so the next round tries again.
    pub(crate) async fn sweep_location(&self, location: &str) -> bool {
        let swept = async {
            self.store().delete(&Location::from(location.to_owned())).await?;
            self.catalog().forget_tombstone(location).await?;
            Ok::<(), ServiceError>(())
        };
        if let Err(error) = swept.await {
            tracing::warn!(location, reason = error.log_reason(), "bytes could not be deleted yet: {error}");
            return false;
        }
        true
    }
}
