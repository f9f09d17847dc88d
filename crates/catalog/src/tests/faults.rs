use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{Database, admin, blob, fixture, image, put, tag};
use crate::Catalog;

/// The server ends every connection (F27): the next operations find new ones.
pub(super) async fn broken_connections_are_replaced(catalog: Catalog, url: String) {
    let fixture = fixture(&catalog).await;
    let Some(server) = super::postgres_server().filter(|_| url.starts_with("postgres")) else { return };
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let catalog = catalog.clone();
        tasks.spawn(async move {
            for _ in 0..50 {
                assert_eq!(catalog.account_count().await.unwrap(), 1, "reading is repeated");
            }
        });
    }
    let name = Database::name(&url);
    for _ in 0..5 {
        let sql = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
        admin(&server, sql).await;
        super::pause(10).await;
    }
    tasks.join_all().await;
    image(&catalog, fixture.repository.id, "one", "v1").await;
}

pub(super) async fn dropped_transactions_change_nothing(catalog: Catalog, _: String) {
    catalog.create_account("acme").await.unwrap();
    let mut tx = catalog.begin().await.unwrap();
    assert_eq!(tx.execute(tx.query("DELETE FROM account")).await.unwrap(), 1);
    let writer = {
        let catalog = catalog.clone();
        tokio::spawn(async move { catalog.create_account("other").await })
    };
    super::pause(50).await;
    // Readers do not wait for a writer, and do not see what it has not committed.
    assert!(catalog.find_account("acme").await.unwrap().is_some());
    drop(tx);
    writer.await.unwrap().unwrap();
    assert_eq!(catalog.account_count().await.unwrap(), 2);
}

/// Callers go away at any moment: whatever they had begun is undone, and the next one gets its turn.
pub(super) async fn cancelled_callers_leave_nothing_locked(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    let layer = blob(&catalog, id, "layer").await;
    for round in 0..40 {
        let task = {
            let (catalog, layers) = (catalog.clone(), [layer.clone()]);
            tokio::spawn(async move {
                let raw = format!("image {round}");
                catalog.put_manifest(put(id, &raw, &layers, &[tag("v1")])).await
            })
        };
        tokio::time::sleep(Duration::from_micros(150 * round)).await;
        task.abort();
        if let Ok(outcome) = task.await {
            outcome.unwrap();
        }
    }
    let begun = Instant::now();
    let last = image(&catalog, id, "last", "v1").await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(catalog.resolve_tag(id, &tag("v1")).await.unwrap(), Some(last));
}
