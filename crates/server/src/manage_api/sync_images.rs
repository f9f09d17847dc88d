//! Manual replication: contract section 3.

use ::http::HeaderName;
use axum::Json;
use axum::response::IntoResponse as _;
use transship_registry::{JobState, SyncImages, TagOutcome};
use transship_swr::PathValues;
use transship_swr::replication::CreateManualImageSyncRepoRequestBody;

use super::{Answer, Call};
use crate::config::SyncImagesResponse;
use crate::http::whole::Whole;

/// Number of tags whose jobs were open when the call stopped waiting. Under reading A these are listed.
const OPEN: HeaderName = HeaderName::from_static("x-transship-open");

/// `POST …/repos/{repository}/sync_images`: 200 with an array of tags, contract 3.
///
/// Under reading A, the default, the array names the tags that are not in the target; under reading B, those that are.
/// A call that does not wait does not know the state of any tag, and returns an empty array.
pub(super) async fn create_manual_image_sync_repo(call: &mut Call, at: &PathValues) -> Answer {
    let name = at.repository()?;
    // The call may wait for its jobs for a minute, so its body gives its room back first.
    let body = std::mem::replace(&mut call.body, Whole::empty());
    let request = CreateManualImageSyncRepoRequestBody::parse(&body)?;
    drop(body);
    let request = SyncImages {
        tags: request.image_tag,
        region: request.remote_region_id,
        namespace: request.remote_namespace,
        override_existing: request.override_existing,
    };
    let reading = call.parts.extensions.get::<SyncImagesResponse>().copied().unwrap_or_default();
    let outcome = call.registry.replication().sync_images(&call.principal, &name, request).await?;
    if !outcome.waited {
        return Ok(Json([""; 0]).into_response());
    }
    let open = outcome.tags.iter().filter(|tag| !tag.state.is_final()).count();
    let listed: Vec<String> =
        outcome.tags.into_iter().filter(|tag| is_listed(reading, tag)).map(|tag| tag.tag).collect();
    Ok(([(OPEN, open.to_string())], Json(listed)).into_response())
}

/// The array describes the target when the call returns: a tag whose job is open is not there (contract 3.2).
fn is_listed(reading: SyncImagesResponse, outcome: &TagOutcome) -> bool {
    let is_there = matches!(outcome.state, JobState::Success | JobState::Existed);
    match reading {
        SyncImagesResponse::Failed => !is_there,
        SyncImagesResponse::Succeeded => is_there,
    }
}

#[cfg(test)]
mod tests;
