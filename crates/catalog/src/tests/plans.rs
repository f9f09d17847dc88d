//! That lists cost what a page holds: asked of the database's planner, over as much as a large region has.

use super::fixture;
use crate::dialect::Dialect;
use crate::row::Columns as _;
use crate::{Catalog, accounts, jobs, names, queue, referrers, tags};

/// Rows from 1 to the first parameter, as both databases make them.
const NUMBERS: &str =
    "WITH RECURSIVE numbers (n) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT n + 1 FROM numbers WHERE n < $1)";

async fn fill(catalog: &Catalog, sql: &'static str, rows: i64, ids: &[i64]) {
    let text: &'static str = Box::leak(format!("{NUMBERS} {sql}").into_boxed_str());
    let filled = catalog
        .write(|| ids.iter().fold(catalog.query(text).bind(rows), |statement, id| statement.bind(*id)))
        .await
        .unwrap();
    assert_eq!(filled, u64::try_from(rows).unwrap());
}

/// What the planner says it will do, one step a line.
async fn plan(
    catalog: &Catalog,
    sql: &str,
    bind: impl Fn(crate::tx::Statement<'_>) -> crate::tx::Statement<'_>,
) -> String {
    let (explain, column) = match catalog.dialect() {
        Dialect::Sqlite => ("EXPLAIN QUERY PLAN", "detail"),
        Dialect::Postgres => ("EXPLAIN (COSTS OFF)", "QUERY PLAN"),
    };
    let text: &'static str = Box::leak(format!("{explain} {sql}").into_boxed_str());
    let rows = catalog.read_all(|| bind(catalog.query(text))).await.unwrap();
    rows.iter().map(|row| row.text(column).unwrap()).collect::<Vec<_>>().join("\n")
}

/// A walk along one index: no table is read from end to end, and nothing is sorted that an index could have.
fn assert_walks(plan: &str, sql: &str) {
    for costly in ["SCAN", "Seq Scan", "TEMP B-TREE", "Sort"] {
        assert!(!plan.contains(costly), "{sql}\n{plan}");
    }
}

pub(super) async fn pages_walk_an_index(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    let subject = super::digest("subject");
    fill(
        &catalog,
        "INSERT INTO manifest (repository_id, digest, media_type, artifact_type, subject_digest, layers_size_bytes, pushed_at, raw)
         SELECT CAST($2 AS BIGINT), 'sha256:' || CAST(1000000 + n AS TEXT), 'm', 'a', CASE WHEN n > 1 THEN 'sha256:subject' END, 0, 0, '[]'
         FROM numbers",
        5_000,
        &[id],
    )
    .await;
    fill(
        &catalog,
        "INSERT INTO tag (repository_id, name, digest, created_at, updated_at)
         SELECT CAST($2 AS BIGINT), 't' || CAST(1000000 + n AS TEXT), 'sha256:1000001', 0, 0 FROM numbers",
        100_000,
        &[id],
    )
    .await;
    fill(
        &catalog,
        "INSERT INTO repository (namespace_id, name, is_public, category, description, creator_id, creator_name,
            created_at, updated_at, path, account_id)
         SELECT CAST($2 AS BIGINT), 'r' || CAST(1000000 + n AS TEXT), CASE WHEN n % 2 = 0 THEN 1 ELSE 0 END, 'other', '', '', '', 0, 0,
            'team/r' || CAST(1000000 + n AS TEXT), a.id FROM numbers CROSS JOIN account a",
        10_000,
        &[fixture.namespace.id],
    )
    .await;
    catalog.write(|| catalog.query("ANALYZE")).await.unwrap();

    let told = plan(&catalog, tags::PAGE, |s| s.bind(id).bind("t1050000").bind(100_i64)).await;
    assert_walks(&told, tags::PAGE);
    let told = plan(&catalog, referrers::PAGE, |s| s.bind(id).bind("sha256:subject").bind("").bind(100_i64)).await;
    assert_walks(&told, referrers::PAGE);
    let told =
        plan(&catalog, referrers::PAGE_OF_TYPE, |s| s.bind(id).bind("sha256:subject").bind("").bind(100_i64).bind("b"));
    assert_walks(&told.await, referrers::PAGE_OF_TYPE);
    let told = plan(&catalog, referrers::SUBJECT, |s| s.bind(id).bind(subject.as_str()).bind("sha256:z"));
    assert_walks(&told.await, referrers::SUBJECT);
    for sql in names::WALKS {
        let told = plan(&catalog, sql, |s| {
            let s = s.bind("team/r1005000").bind(100_i64);
            match sql {
                names::OF_NAMESPACE => s.bind(fixture.namespace.id),
                names::OF_ACCOUNT => s.bind(fixture.account.id.clone()),
                _ => s,
            }
        });
        assert_walks(&told.await, sql);
    }

    // And they find what is there.
    let after = Some("t1099999");
    let page = catalog.list_tags(id, after, 10).await.unwrap();
    assert_eq!(page, [super::tag("t1100000")]);
    let user = &fixture.admin.id;
    let page = catalog.repository_names(&fixture.account.id, user, true, Some("team/r1009998"), 10).await.unwrap();
    assert_eq!(page, ["team/r1009999", "team/r1010000"]);
    let page = catalog.repository_names("", "", false, Some("team/r1009998"), 10).await.unwrap();
    assert_eq!(page, ["team/r1010000"]);
}

/// Who logs in, or is looked up, is found without a look at the others.
pub(super) async fn accounts_and_users_are_found_by_an_index(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    fill(
        &catalog,
        "INSERT INTO account (id, name, created_at)
         SELECT 'id' || CAST(n AS TEXT), 'account' || CAST(n AS TEXT), 0 FROM numbers",
        5_000,
        &[],
    )
    .await;
    fill(
        &catalog,
        "INSERT INTO iam_user (id, account_id, name, is_admin, enabled, epoch, created_at)
         SELECT 'id' || CAST(n AS TEXT), 'id1', 'user' || CAST(n AS TEXT), 0, 1, 0, 0 FROM numbers",
        20_000,
        &[],
    )
    .await;
    catalog.write(|| catalog.query("ANALYZE")).await.unwrap();
    let told = plan(&catalog, accounts::ACCOUNT_BY_ID, |s| s.bind(fixture.account.id.clone())).await;
    assert_walks(&told, accounts::ACCOUNT_BY_ID);
    let told = plan(&catalog, accounts::USER_BY_NAME, |s| s.bind("account1").bind("user77")).await;
    assert_walks(&told, accounts::USER_BY_NAME);
    assert_eq!(catalog.find_account_by_id("id77").await.unwrap().unwrap().name, "account77");
    assert_eq!(catalog.find_user("account1", "user77").await.unwrap().unwrap().id, "id77");
}

/// A hundred thousand jobs wait, nearly all of one account and most of them in a pause.
pub(super) async fn claims_walk_an_index(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let other = catalog.create_account("other").await.unwrap();
    let insert = "INSERT INTO job (account_id, repository_id, namespace, repository, tag, target_region, target_namespace,
            override_existing, operator_id, operator_name, state, attempt, failures, run_at, lease_until,
            cancel_requested, bytes_done, bytes_total, blobs_done, blobs_total, created_at, updated_at)
        SELECT a.id, CAST($2 AS BIGINT), 'team', 'app', a.name || CAST(n AS TEXT), 'north', 'mirror', 0, '', '', 'waiting', 0, 0,
            CASE WHEN n > 10 THEN 9000000000000 ELSE n END, 0, 0, 0, 0, 0, 0, 0, 0
        FROM numbers JOIN account a ON a.name = ";
    let of = |name: &str| -> &'static str { Box::leak(format!("{insert}'{name}'").into_boxed_str()) };
    fill(&catalog, of("acme"), 100_000, &[fixture.repository.id]).await;
    fill(&catalog, of("other"), 20, &[fixture.repository.id]).await;
    catalog.write(|| catalog.query("ANALYZE")).await.unwrap();

    let accounts = plan(&catalog, queue::DUE_ACCOUNTS, |s| s.bind("north").bind(8_i64)).await;
    let due = plan(&catalog, queue::DUE, |s| s.bind("north").bind(other.id.clone()).bind(4_i64)).await;
    let id = fixture.repository.id;
    let list = async |sql| {
        plan(&catalog, sql, |s| {
            s.bind(id).bind(other.id.clone()).bind("team").bind("app").bind(10_i64).bind(10_i64).bind(0_i64)
        })
        .await
    };
    let cancelled =
        plan(&catalog, jobs::CANCEL_OF_TAGS, |s| s.bind(fixture.repository.id).bind("[\"v1\",\"v2\"]")).await;
    assert!(cancelled.contains("job_open_copy"), "{cancelled}");
    let claim = plan(&catalog, queue::CLAIM, |s| s.bind(1_i64).bind(0_i64).bind("me").bind(1_i64));
    for (told, sql) in [
        (accounts, queue::DUE_ACCOUNTS),
        (due, queue::DUE),
        (list(jobs::WITH_DELETED).await, jobs::WITH_DELETED),
        (list(jobs::WITH_DELETED_DESCENDING).await, jobs::WITH_DELETED_DESCENDING),
        (claim.await, queue::CLAIM),
    ] {
        // The steps of the walk themselves are no table.
        for costly in ["SCAN j", "SCAN o", "Seq Scan on job j", "Seq Scan on job o", "Seq Scan on job\n"] {
            assert!(!told.contains(costly), "{sql}\n{told}");
        }
        // SQLite sorts the two pages that it merges, and no more than those.
        let pages = if sql.contains("UNION ALL SELECT *") { 2 } else { 0 };
        assert!(told.matches("TEMP B-TREE").count() <= pages, "{sql}\n{told}");
        // Sorted walks may be merged by a key.
        assert!(!told.lines().any(|step| step.ends_with("Sort")), "{sql}\n{told}");
    }

    // And both accounts get what they may.
    let claimed = catalog.claim_jobs("me", 10_000, 8, 8).await.unwrap();
    assert_eq!(claimed.iter().filter(|job| job.account_id == other.id).count(), 4);
    assert_eq!(claimed.len(), 8);
}
