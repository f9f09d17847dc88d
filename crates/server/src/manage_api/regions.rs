//! Regions: contract 4.3.

use axum::response::Response;
use transship_swr::replication::RegionInfo;

use super::{Call, answer};

/// `GET /v2/manage/regions`: 200, every configured region except this one, contract 4.3.
pub(super) fn list_sync_regions(call: &Call) -> Response {
    let regions = call.registry.replication().list_regions().into_iter();
    let regions: Vec<RegionInfo> = regions
        .map(|(region_id, registry_url)| RegionInfo { region_id: region_id.to_string(), registry_url })
        .collect();
    answer::with(&regions)
}
