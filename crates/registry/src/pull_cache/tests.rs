use std::sync::Arc;

use transship_catalog::{Catalog, Unlinked};
use transship_oci::Reference;

use crate::error::ServiceError;
use crate::testing::{TestRegion, name, pull};

#[tokio::test]
async fn answers_are_kept_until_anybody_commits() {
    let region = TestRegion::start("cn-north-4").await;
    region.namespace("group").await;
    let app = name("group/app");
    let first = region.push_image(&app, "v1", b"layer").await;
    let blob = region.push_blob(&app, b"a blob that no manifest names").await;
    let tag: Reference = "v1".parse().unwrap();
    let read_manifest = async || region.registry.content().find_manifest(pull(&app), &tag).await;
    let read = async || region.registry.content().find_blob(pull(&app), &blob).await;

    let (manifest, content) = (read_manifest().await.unwrap(), read().await.unwrap());
    assert_eq!(manifest.digest, first);
    assert!(
        Arc::ptr_eq(&manifest.stored, &read_manifest().await.unwrap().stored),
        "nothing was committed, so nothing is asked again"
    );
    assert!(Arc::ptr_eq(&content, &read().await.unwrap()));

    let second = region.push_image(&app, "v1", b"another layer").await;
    assert_eq!(read_manifest().await.unwrap().digest, second);

    // Another process, as an operator's command is one.
    let command = Catalog::open(&region.catalog_url).await.unwrap();
    let repository = command.find_repository(&app).await.unwrap().unwrap();
    assert!(command.delete_tag(repository.id, &"v1".parse().unwrap()).await.unwrap());
    assert!(matches!(read_manifest().await.unwrap_err(), ServiceError::ManifestAbsent(_)));
    assert_eq!(command.unlink_blob(repository.id, &blob).await.unwrap(), Unlinked::Done);
    assert!(matches!(read().await.unwrap_err(), ServiceError::BlobAbsent(_)));
    assert!(command.delete_repository(repository.id).await.unwrap());
    assert!(matches!(read_manifest().await.unwrap_err(), ServiceError::RepositoryAbsent(_)));
}
