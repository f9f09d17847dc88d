use transship_oci::{Reference, RepositoryName};

use super::{blob, digest, fixture, image, repository, repository_name, tag};
use crate::{Catalog, Unlinked};

fn by_tag(name: &str) -> Reference {
    Reference::Tag(tag(name))
}

pub(super) async fn names_lead_to_content(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let app = fixture.repository.full_name();
    let other = repository(&catalog, &fixture.namespace, &fixture.admin, "other").await.full_name();
    let pushed = image(&catalog, fixture.repository.id, "image", "v1").await;
    for reference in [by_tag("v1"), Reference::Digest(pushed.clone())] {
        let pulled = catalog.pull_manifest(&app, &reference, 5).await.unwrap().unwrap();
        assert_eq!(pulled.namespace_id, fixture.namespace.id);
        let pulled = pulled.content;
        assert_eq!((&pulled.digest, pulled.raw.as_deref()), (&pushed, Some(b"image".as_slice())));
        let large = catalog.pull_manifest(&app, &reference, 4).await.unwrap().unwrap().content;
        assert_eq!((&large.digest, large.size_bytes, large.raw), (&pushed, 5, None));
        assert_eq!(catalog.pull_manifest(&other, &reference, 5).await.unwrap(), None);
        let nowhere: RepositoryName = repository_name("nobody/app");
        assert_eq!(catalog.pull_manifest(&nowhere, &reference, 5).await.unwrap(), None);
    }
    assert_eq!(catalog.pull_manifest(&app, &by_tag("v2"), 5).await.unwrap(), None);

    let (layer, size_bytes) = blob(&catalog, fixture.repository.id, "layer").await;
    let pulled = catalog.pull_blob(&app, &layer).await.unwrap().unwrap();
    assert_eq!(pulled.namespace_id, fixture.namespace.id);
    let pulled = pulled.content;
    assert_eq!((&pulled.digest, pulled.size_bytes), (&layer, size_bytes));
    assert_eq!(catalog.pull_blob(&other, &layer).await.unwrap(), None, "a digest alone gives nothing");
    assert_eq!(catalog.pull_blob(&app, &digest("absent")).await.unwrap(), None);
    assert_eq!(catalog.unlink_blob(fixture.repository.id, &layer).await.unwrap(), Unlinked::Done);
    assert_eq!(catalog.pull_blob(&app, &layer).await.unwrap(), None);
}

/// Runs with the catalog's own connection, which keeps the file, and without it.
pub(super) async fn versions_outlive_an_empty_pool(catalog: Catalog, url: String) {
    if !url.starts_with("sqlite:") {
        return;
    }
    let fixture = fixture(&catalog).await;
    catalog.close().await;
    for kept in [true, false] {
        let catalog = Catalog::open(&url).await.unwrap();
        if !kept {
            catalog.drop_keeper().await;
            catalog.empty_pools().await;
            assert_eq!(catalog.version(), None, "the last connection takes the file away");
        }
        // Nothing was committed since the file was made, so the next file will have the same header.
        let app = fixture.repository.full_name();
        catalog.find_repository(&app).await.unwrap();
        let begin = catalog.version();
        assert!(begin.is_some());
        image(&catalog, fixture.repository.id, &format!("image, kept: {kept}"), "v1").await;
        let pushed = catalog.version();
        assert!(pushed.is_some());
        catalog.empty_pools().await;
        assert_eq!(catalog.version(), if kept { pushed } else { None });
        catalog.find_repository(&app).await.unwrap();
        assert_ne!(
            catalog.version(),
            begin,
            "kept: {kept}: a state from before the push is not taken for one after it"
        );
        assert!(catalog.version().is_some());

        for _ in 0..20 {
            catalog.empty_pools().await;
            catalog.find_repository(&app).await.unwrap();
            assert!(catalog.version().is_some());
        }
        assert!(nameless_files(&url) <= 1, "files that are gone are let go");
        catalog.close().await;
    }
}

/// How many files of this database the process holds open that have no name any more.
fn nameless_files(url: &str) -> usize {
    let path = url.trim_start_matches("sqlite://").split('?').next().unwrap();
    let gone = format!("{path}-shm (deleted)");
    let open =
        std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    open.filter(|target| target.to_str() == Some(gone.as_str())).count()
}

pub(super) async fn versions_tell_every_commit(catalog: Catalog, url: String) {
    let fixture = fixture(&catalog).await;
    let Some(begin) = catalog.version() else {
        assert!(!url.starts_with("sqlite:"), "an embedded database has a version");
        return;
    };
    catalog.find_repository(&fixture.repository.full_name()).await.unwrap();
    assert_eq!(catalog.version(), Some(begin), "reading is no change");

    image(&catalog, fixture.repository.id, "image", "v1").await;
    let own = catalog.version();
    assert_ne!(own, Some(begin));

    // Sessions are committed without waiting for the disk; they count like every other change.
    catalog.create_upload(&super::new_upload(fixture.repository.id, 60_000)).await.unwrap();
    let volatile = catalog.version();
    assert_ne!(volatile, own);

    // As an operator's command does it, beside the process that serves.
    let command = Catalog::open(&url).await.unwrap();
    assert!(command.delete_tag(fixture.repository.id, &tag("v1")).await.unwrap());
    let others = catalog.version();
    assert!(others.is_some());
    assert_ne!(others, volatile);
    command.close().await;
    assert_eq!(catalog.version(), others, "the other one's end is no change");

    // The last connection takes the file away. A later version is never taken for an earlier one.
    catalog.close().await;
    assert_eq!(catalog.version(), None);
    let again = Catalog::open(&url).await.unwrap();
    image(&again, fixture.repository.id, "image", "v2").await;
    for catalog in [&catalog, &again] {
        assert!(catalog.version().is_some_and(|version| Some(version) != others));
    }
    again.close().await;
}
