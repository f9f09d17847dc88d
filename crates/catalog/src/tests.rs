//! One suite for both databases: every test gets a fresh catalog of its own.
//!
//! SQLite always; PostgreSQL when `TRANSSHIP_TEST_POSTGRES` is the `postgres://` URL of a server where databases may be
//! created. Under `CI=true` its absence is a failure, so that no green run has left half of the suite out.

mod accounts;
mod blobs;
mod collection;
mod concurrency;
mod fairness;
mod faults;
mod immutability;
mod interleavings;
mod jobs;
mod key_checks;
mod manifests;
mod model;
mod namespaces;
mod plans;
mod pull;
mod quarantine;
mod queue;
mod quotas;
mod region_tokens;
mod repositories;
mod schema;
mod tags;
mod uploads;

use std::future::Future;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use transship_oci::{Digest, DigestAlgorithm, NamespaceName, RepositoryName, Tag};
use uuid::Uuid;

use crate::{
    Account, Blob, Catalog, CatalogError, Closing, FinishedUpload, KnownBytes, Namespace, NewRepository, NewUpload,
    NewUser, PutManifest, Remains, Repository, TagCondition, Upload, User,
};

#[derive(Clone, Copy)]
enum Backend {
    Sqlite,
    Postgres,
}

/// A database that is gone after the test.
struct Database {
    url: String,
    admin_url: Option<String>,
    _directory: Option<tempfile::TempDir>,
}

impl Database {
    async fn create(backend: Backend) -> Option<Self> {
        match backend {
            Backend::Sqlite => {
                let directory = tempfile::tempdir().unwrap();
                let url = format!("sqlite://{}?mode=rwc", directory.path().join("catalog.db").display());
                Some(Self { url, admin_url: None, _directory: Some(directory) })
            }
            Backend::Postgres => {
                let admin_url = postgres_server()?;
                let name = format!("transship_test_{}", Uuid::new_v4().simple());
                admin(&admin_url, format!("CREATE DATABASE {name}")).await;
                let (server, _) = admin_url.rsplit_once('/').unwrap();
                let url = format!("{server}/{name}");
                Some(Self { url, admin_url: Some(admin_url), _directory: None })
            }
        }
    }

    fn name(url: &str) -> &str {
        url.rsplit_once('/').unwrap().1
    }

    async fn drop(self) {
        if let Some(admin_url) = &self.admin_url {
            admin(admin_url, format!("DROP DATABASE {} WITH (FORCE)", Self::name(&self.url))).await;
        }
    }
}

async fn admin(url: &str, sql: String) {
    sqlx::any::install_default_drivers();
    let mut connection = sqlx::AnyConnection::connect(url).await.unwrap();
    connection.execute(AssertSqlSafe(sql)).await.unwrap();
    connection.close().await.unwrap();
}

#[expect(clippy::disallowed_methods, reason = "tests are told where a server is by their environment")]
fn postgres_server() -> Option<String> {
    let url = std::env::var("TRANSSHIP_TEST_POSTGRES").ok();
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(url.is_some() || !in_ci, "TRANSSHIP_TEST_POSTGRES is not set, so half of the suite would be left out");
    url
}

fn run<T: Future<Output = ()> + Send + 'static>(
    backend: Backend,
    test: impl FnOnce(Catalog, String) -> T + Send + 'static,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async move {
        let Some(database) = Database::create(backend).await else { return };
        let url = database.url.clone();
        let outcome = tokio::spawn(async move {
            let catalog = Catalog::open(&url).await.unwrap();
            test(catalog.clone(), url).await;
            catalog.close().await;
        })
        .await;
        database.drop().await;
        if let Err(failed) = outcome {
            std::panic::resume_unwind(failed.into_panic());
        }
    });
}

macro_rules! suite {
    ($($module:ident :: { $($test:ident),* $(,)? })*) => {
        mod sqlite {
            $($(#[test] fn $test() { super::run(super::Backend::Sqlite, super::$module::$test); })*)*
        }
        mod postgres {
            $($(#[test] fn $test() { super::run(super::Backend::Postgres, super::$module::$test); })*)*
        }
    };
}

suite! {
    schema::{
        opens_twice, newer_schema_is_refused, schema_is_checked_without_a_change, broken_migration_leaves_nothing,
        probe_needs_the_schema, commands_beside_a_region_make_tables_only_where_there_are_none,
    }
    key_checks::{ all_secrets_are_sealed_again_or_none, nothing_is_stored_that_a_replaced_key_has_sealed }
    accounts::{
        accounts_are_unique, users_live_in_accounts, epochs_rise, access_keys_keep_their_state, bootstrap_happens_once,
        overview_counts_distinct_bytes, logins_end_with_what_they_were_made_with, logins_at_once_keep_the_limit,
        stored_bytes_follow_every_change,
    }
    namespaces::{
        creators_manage, names_are_taken_and_quotas_hold, full_namespaces_stay, listing_follows_levels,
        grants_are_all_or_none, access_tells_all_at_once,
    }
    repositories::{
        repositories_are_made_once, changes_are_kept, deletion_takes_everything_along, lists_are_filtered_and_sorted,
        pages_by_number_see_everything_once, names_of_pullable_repositories,
    }
    blobs::{
        blobs_need_a_link, mounts_need_a_source_link, mounting_what_one_may_read, needed_links_stay, long_lists,
    }
    region_tokens::{
        a_region_token_is_good_once, so_many_region_tokens_are_remembered,
    }
    collection::{
        links_go_when_no_manifest_needs_them, links_stay_for_the_grace, blobs_of_sparse_manifests_stay, deleting_a_manifest_renews_its_links,
        blobs_without_links_are_condemned, content_pushed_again_gets_a_new_location, unnamed_bytes_are_condemned,
        tombstones_wait_for_readers, walks_see_every_page, pushes_against_collection,
    }
    interleavings::{ links_in_every_order, blobs_in_every_order, mounts_in_every_order }
    uploads::{
        sessions_go_on_elsewhere, one_writer_at_a_time, finishing_links_and_closes, known_content_keeps_its_location,
        expired_sessions_are_found, abandoned_bytes_are_condemned, finished_sessions_are_remembered_for_a_while,
        whoever_takes_over_without_a_checkpoint_moves_away, bytes_that_are_missing_are_replaced_by_those_that_came,
    }
    manifests::{
        raw_bytes_come_back, closures_are_checked, sparse_manifests_hold_what_comes_later, sizes_are_checked, conditions_hold, deletion_takes_tags_along,
        referrers_are_paged, text_is_required, moved_tags_are_told,
    }
    pull::{ names_lead_to_content, versions_tell_every_commit, versions_outlive_an_empty_pool }
    tags::{ tags_sort_by_bytes, tag_pages, put_tag_follows_conditions, withdrawn_tags_are_as_before, details_filter_and_sort }
    immutability::{ immutable_tags_neither_move_nor_go, patterns_hold_from_the_moment_they_are_set }
    jobs::{
        equal_jobs_are_one, running_copies_of_the_same_digest_are_used, running_copies_that_have_not_seen_all_are_not_used,
        each_change_of_a_repository_raises_its_time, queues_have_limits, jobs_are_listed, deleted_repositories_cancel_jobs,
        deleted_tags_cancel_jobs, a_job_that_is_claimed_while_its_tag_is_deleted_is_cancelled, a_note_goes_with_its_digest,
        a_superseded_job_hands_its_note_on, jobs_that_wrote_their_tag_take_it_back, old_jobs_are_pruned,
    }
    queue::{
        claims_respect_region_limits, leases_run_out_and_fence, one_copy_at_a_time, a_deleted_repository_holds_its_targets,
        retries_wait_and_give_way,
        released_jobs_are_due_at_once, ends_are_final, progress_and_cancellation, next_run_is_told, late_owners_may_go_on,
        orphans_are_released, orphans_pay_for_their_run,
    }
    fairness::{
        claims_go_round_the_accounts, free_slots_are_shared, only_the_own_time_counts, a_target_that_is_away_is_no_failure,
        waiting_for_a_target_that_is_away_counts, a_waiting_job_is_its_newest_callers, a_running_job_is_joined_by_its_own_user_only,
        jobs_of_a_deleted_repository_are_found_by_its_name,
    }
    quarantine::{
        quarantined_blobs_are_as_good_as_absent, repairs_replace_bytes_once, peers_get_what_their_accounts_link,
        rounds_have_one_owner_and_a_place, what_points_at_nothing_is_found,
    }
    quotas::{
        counters_follow_every_change, what_does_not_fit_changes_nothing, pushes_at_once_do_not_overshoot,
        counters_are_made_right, manifests_count_once_in_a_namespace, open_uploads_count,
        uploads_at_once_do_not_overshoot,
    }
    plans::{ pages_walk_an_index, accounts_and_users_are_found_by_an_index, claims_walk_an_index }
    faults::{ broken_connections_are_replaced, dropped_transactions_change_nothing, cancelled_callers_leave_nothing_locked }
    concurrency::{
        no_job_is_claimed_twice, equal_enqueues_make_one_job, pushes_against_unlinking, tags_move_one_after_another,
        one_repository_of_many_makers, equal_uploads_end_in_one_blob, pushes_with_common_blobs,
    }
}

/// An account with an administrator, a namespace and a repository.
struct Fixture {
    account: Account,
    admin: User,
    namespace: Namespace,
    repository: Repository,
}

async fn fixture(catalog: &Catalog) -> Fixture {
    let account = catalog.create_account("acme").await.unwrap();
    let admin = user(catalog, &account, "root", true).await;
    let namespace = catalog.create_namespace(&namespace_name("team"), &admin, 5).await.unwrap();
    let repository = repository(catalog, &namespace, &admin, "app").await;
    Fixture { account, admin, namespace, repository }
}

async fn user(catalog: &Catalog, account: &Account, name: &str, is_admin: bool) -> User {
    let new = NewUser { account_id: account.id.clone(), name: name.to_owned(), password_hash: None, is_admin };
    catalog.create_user(new).await.unwrap()
}

fn new_repository(namespace: &Namespace, creator: &User, name: &str) -> NewRepository {
    NewRepository {
        namespace_id: namespace.id,
        name: name.parse().unwrap(),
        is_public: false,
        category: "other".to_owned(),
        description: String::new(),
        creator_id: creator.id.clone(),
        creator_name: creator.name.clone(),
    }
}

async fn repository(catalog: &Catalog, namespace: &Namespace, creator: &User, name: &str) -> Repository {
    catalog.create_repository(new_repository(namespace, creator, name)).await.unwrap()
}

fn namespace_name(text: &str) -> NamespaceName {
    text.parse().unwrap()
}

fn repository_name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn digest(content: &str) -> Digest {
    Digest::of(DigestAlgorithm::Sha256, content.as_bytes())
}

fn new_upload(repository_id: i64, life_ms: i64) -> NewUpload {
    NewUpload {
        id: Uuid::new_v4().simple().to_string(),
        repository_id,
        user_id: "somebody".to_owned(),
        location: location(),
        algorithm: DigestAlgorithm::Sha256,
        life_ms,
        most_of_user: 1000,
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn location() -> String {
    format!("aa/{}", Uuid::now_v7().simple())
}

/// Becomes the writer of a session, which moves to a fresh location if it must.
async fn take(catalog: &Catalog, id: &str, token: &str, lease_ms: i64) -> Result<Option<Upload>, CatalogError> {
    catalog.take_writer(id, token, lease_ms, &location()).await
}

/// Closes a session; the bytes of known content are where they should be.
async fn finish(
    catalog: &Catalog,
    id: &str,
    token: &str,
    digest: &Digest,
    size_bytes: u64,
) -> Result<FinishedUpload, CatalogError> {
    let mut known = None;
    loop {
        let seen = known.as_ref().map_or(KnownBytes::Unseen, |blob: &Blob| KnownBytes::There(&blob.location));
        match catalog.finish_upload(id, token, digest, size_bytes, seen).await? {
            Closing::Done(finished) => return Ok(finished),
            Closing::Known(blob) => known = Some(blob),
        }
    }
}

/// Uploads a blob whose content is a text.
async fn blob(catalog: &Catalog, repository_id: i64, content: &str) -> (Digest, u64) {
    let upload = new_upload(repository_id, 60_000);
    catalog.create_upload(&upload).await.unwrap();
    take(catalog, &upload.id, "writer", 10_000).await.unwrap().unwrap();
    let (digest, size_bytes) = (digest(content), content.len() as u64);
    finish(catalog, &upload.id, "writer", &digest, size_bytes).await.unwrap();
    (digest, size_bytes)
}

fn put<'a>(repository_id: i64, raw: &'a str, blobs: &'a [(Digest, u64)], tags: &'a [Tag]) -> PutManifest<'a> {
    PutManifest {
        repository_id,
        digest: digest(raw),
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        artifact_type: None,
        subject_digest: None,
        config_digest: blobs.first().map(|(digest, _)| digest.clone()),
        layers_size_bytes: blobs.iter().skip(1).map(|(_, size_bytes)| size_bytes).sum(),
        raw: raw.as_bytes(),
        blobs,
        children: &[],
        tags,
        condition: TagCondition::Always,
        sparse: false,
    }
}

/// Pushes an image without blobs under a tag.
async fn image(catalog: &Catalog, repository_id: i64, raw: &str, name: &str) -> Digest {
    catalog.put_manifest(put(repository_id, raw, &[], &[tag(name)])).await.unwrap();
    digest(raw)
}

/// Locations of tombstones of bytes that nobody could read.
async fn unread_tombstones(catalog: &Catalog) -> Vec<String> {
    let due = catalog.due_tombstones(Remains::Unread, None, 1000).await.unwrap();
    due.into_iter().map(|tombstone| tombstone.location).collect()
}

async fn pause(ms: u64) {
    tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
}
