//! Manual replication: contract section 3.

use axum::Json;
use axum::response::IntoResponse as _;
use transship_oci::{NamespaceName, Tag};
use transship_registry::{JobState, SyncImages, TagOutcome};

use super::fields::Fields;
use super::route::RepositoryAt;
use super::tags::parse_tag;
use super::{Answer, Call};
use crate::config::SyncImagesResponse;
use crate::http::manage_error::{ManageCode, ManageError};

/// `POST …/repos/{repository}/sync_images`: 200 with an array of tags, contract 3.
///
/// Under reading A, the default, the array names the tags that did not get to the target; under reading B those that did.
pub(super) async fn create_manual_image_sync_repo(call: &Call, at: &RepositoryAt) -> Answer {
    let name = at.name()?;
    let request = parse(&call.body)?;
    let reading = call.parts.extensions.get::<SyncImagesResponse>().copied().unwrap_or_default();
    let outcomes = call.registry.sync_images(&call.principal, &name, request).await?;
    let listed: Vec<String> =
        outcomes.into_iter().filter(|outcome| is_listed(reading, outcome)).map(|outcome| outcome.tag).collect();
    Ok(Json(listed).into_response())
}

/// The body, field by field, in the order of the table of contract 3.5: what is missing first.
fn parse(body: &[u8]) -> Result<SyncImages, ManageError> {
    let fields = Fields::parse(body)?;
    let tags = fields.texts("imageTag")?;
    let region = fields.text("remoteRegionId")?.to_owned();
    let namespace = fields.text("remoteNamespace")?;
    let override_existing = fields.optional_bool("override")?.unwrap_or(false);
    let tags: Vec<Tag> = tags.into_iter().map(parse_tag).collect::<Result<_, _>>()?;
    let namespace: NamespaceName = namespace.parse().map_err(|error: transship_oci::GrammarError| {
        ManageError::new(ManageCode::BadParameter, format!("remoteNamespace: {error}"))
    })?;
    Ok(SyncImages { tags, region, namespace, override_existing })
}

/// Jobs that are still open when the wait ends are in neither list; their fate is in `sync_job` (contract 3.2).
fn is_listed(reading: SyncImagesResponse, outcome: &TagOutcome) -> bool {
    match reading {
        SyncImagesResponse::Failed => {
            matches!(outcome.state, JobState::Failed | JobState::Timeout | JobState::Cancel)
        }
        SyncImagesResponse::Succeeded => matches!(outcome.state, JobState::Success | JobState::Existed),
    }
}

#[cfg(test)]
mod tests;
