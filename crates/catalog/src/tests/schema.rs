use crate::migrations::FILES;
use crate::{Catalog, CatalogError};

pub(super) async fn opens_twice(catalog: Catalog, url: String) {
    catalog.create_account("acme").await.unwrap();
    let again = Catalog::open(&url).await.unwrap();
    assert_eq!(again.account_count().await.unwrap(), 1);
    again.close().await;
}

pub(super) async fn newer_schema_is_refused(catalog: Catalog, url: String) {
    catalog.write(|| catalog.query("INSERT INTO migration (version, applied_at) VALUES (99, 0)")).await.unwrap();
    match Catalog::open(&url).await {
        Err(CatalogError::NewerSchema { found: 99, known }) => assert!(known < 99),
        other => panic!("{other:?}"),
    }
}

pub(super) async fn schema_is_checked_without_a_change(catalog: Catalog, url: String) {
    Catalog::open_unchanged(&url).await.unwrap();
    let newest = i64::try_from(FILES.len()).unwrap();
    catalog.write(|| catalog.query("DELETE FROM migration WHERE version = $1").bind(newest)).await.unwrap();
    for _ in 0..2 {
        match Catalog::open_unchanged(&url).await {
            Err(CatalogError::OlderSchema { found, known }) => assert_eq!((found, known), (newest - 1, newest)),
            other => panic!("{other:?}"),
        }
    }
    catalog.write(|| catalog.query("INSERT INTO migration (version, applied_at) VALUES (99, 0)")).await.unwrap();
    match Catalog::open_unchanged(&url).await {
        Err(CatalogError::NewerSchema { found: 99, .. }) => {}
        other => panic!("{other:?}"),
    }
}

pub(super) async fn commands_beside_a_region_make_tables_only_where_there_are_none(catalog: Catalog, url: String) {
    let newest = i64::try_from(FILES.len()).unwrap();
    let versions = async || {
        let looked_at = Catalog::open_to_look(&url).await.unwrap();
        let versions = looked_at.schema_versions().await.unwrap();
        looked_at.close().await;
        versions
    };
    assert_eq!(versions().await, (Some(newest), newest));
    Catalog::open_beside(&url).await.unwrap().close().await;
    catalog.write(|| catalog.query("DELETE FROM migration WHERE version = $1").bind(newest)).await.unwrap();
    match Catalog::open_beside(&url).await {
        Err(CatalogError::OlderSchema { found, known }) => assert_eq!((found, known), (newest - 1, newest)),
        other => panic!("{other:?}"),
    }
    assert_eq!(versions().await, (Some(newest - 1), newest), "nothing was changed");
}

pub(super) async fn broken_migration_leaves_nothing(catalog: Catalog, _: String) {
    let with = |next: &'static str| [FILES, &[next]].concat();
    let broken = "CREATE TABLE half (id BIGINT PRIMARY KEY);\nCREATE TABLE half (id BIGINT PRIMARY KEY);\n";
    catalog.migrate_with(&with(broken)).await.unwrap_err();
    // The next program finds the state before, and brings it on.
    catalog.migrate_with(&with("CREATE TABLE half (id BIGINT PRIMARY KEY);\n")).await.unwrap();
    let row = catalog.read_optional(|| catalog.query("SELECT id FROM half")).await.unwrap();
    assert!(row.is_none());
    let outcome = catalog.migrate_with(FILES).await;
    assert!(matches!(outcome, Err(CatalogError::NewerSchema { found, known }) if found == known + 1), "{outcome:?}");
}

/// What was pushed, and what was being uploaded, before those counted.
#[tokio::test]
async fn reservations_are_filled_in() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", directory.path().join("catalog.db").display());
    let before = FILES.iter().position(|file| file.contains("reserved_bytes")).unwrap();
    let catalog = Catalog::connect(&url).await.unwrap();
    catalog.migrate_with(&FILES[..before]).await.unwrap();
    for sql in [
        "INSERT INTO account (id, name, created_at) VALUES ('a', 'acme', 0)",
        "INSERT INTO namespace (id, name, account_id, creator_id, creator_name, created_at, used_bytes, used_repositories)
            VALUES (1, 'team', 'a', '', '', 0, 0, 2)",
        "INSERT INTO repository (id, namespace_id, name, is_public, category, description, creator_id, creator_name,
            created_at, updated_at, path, account_id)
            VALUES (1, 1, 'app', 0, '', '', '', '', 0, 0, 'team/app', 'a'), (2, 1, 'b', 0, '', '', '', '', 0, 0, 'team/b', 'a')",
        "INSERT INTO manifest (repository_id, digest, media_type, layers_size_bytes, pushed_at, raw)
            VALUES (1, 'sha256:x', 'm', 0, 0, '0123'), (2, 'sha256:x', 'm', 0, 0, '0123'), (2, 'sha256:y', 'm', 0, 0, 'ä')",
        "INSERT INTO upload (id, repository_id, user_id, location, algorithm, offset_bytes, writer_until, life_ms, expires_at)
            VALUES ('u', 2, '', 'aa/1', 'sha256', 30, 0, 0, 0), ('v', 1, '', 'aa/2', 'sha256', 5, 0, 0, 0)",
    ] {
        catalog.write(|| catalog.query(sql)).await.unwrap();
    }
    catalog.migrate().await.unwrap();
    assert_eq!(catalog.wrong_counters(1).await.unwrap(), []);
    let usage = catalog.namespace_usages(0, 1).await.unwrap();
    assert_eq!(usage[0].usage[0].used, 4 + 2 + 35, "a manifest counts once, and in bytes");
}

pub(super) async fn probe_needs_the_schema(catalog: Catalog, _: String) {
    catalog.probe().await.unwrap();
    catalog.write(|| catalog.query("DELETE FROM migration")).await.unwrap();
    catalog.probe().await.unwrap_err();
}

#[tokio::test]
async fn other_databases_are_refused_without_their_password() {
    let error = Catalog::open("mysql://root:secret@localhost/x").await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("mysql") && !text.contains("secret"), "{text}");
}
