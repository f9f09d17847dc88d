//! Whose turn it is in the queue, what counts as a job's own time, and whose job it is.

use super::jobs::new_job;
use super::{Fixture, fixture, image, namespace_name, pause, repository, repository_name, user};
use crate::dialect::Dialect;
use crate::{Catalog, Job, JobState, NewJob};

const LEASE_MS: i64 = 10_000;

/// A job of another account with a repository of its own.
async fn stranger(catalog: &Catalog, name: &str) -> NewJob {
    let account = catalog.create_account(name).await.unwrap();
    let admin = user(catalog, &account, "root", true).await;
    let namespace = catalog.create_namespace(&namespace_name(name), &admin, 5).await.unwrap();
    let repository = repository(catalog, &namespace, &admin, "app").await;
    let fixture = Fixture { account, admin, namespace, repository };
    NewJob { namespace: name.to_owned(), ..new_job(&fixture, "v1") }
}

fn tags(job: &NewJob, count: usize) -> Vec<NewJob> {
    (0..count).map(|n| NewJob { tag: format!("v{n}"), ..job.clone() }).collect()
}

async fn only(catalog: &Catalog, id: i64) -> Job {
    catalog.find_jobs(&[id]).await.unwrap().pop().unwrap()
}

async fn claim_one(catalog: &Catalog) -> Job {
    catalog.claim_jobs("me", LEASE_MS, 1, 1).await.unwrap().pop().unwrap()
}

/// Ends all pauses and leases.
async fn let_time_pass(catalog: &Catalog) {
    catalog.write(|| catalog.query("UPDATE job SET run_at = {now} WHERE state = 'waiting'")).await.unwrap();
    catalog.write(|| catalog.query("UPDATE job SET lease_until = {now} WHERE state = 'running'")).await.unwrap();
}

pub(super) async fn claims_go_round_the_accounts(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let mine = new_job(&fixture, "v1");
    let (second, third) = (stranger(&catalog, "second").await, stranger(&catalog, "third").await);
    catalog.enqueue_jobs(&tags(&mine, 60), 100).await.unwrap();
    catalog.enqueue_jobs(&tags(&second, 2), 100).await.unwrap();
    catalog.enqueue_jobs(&tags(&third, 2), 100).await.unwrap();
    // One slot: each account has its turn, in the order of its own queue.
    let mut served = Vec::new();
    for _ in 0..6 {
        let job = claim_one(&catalog).await;
        assert!(catalog.finish_job(job.id, job.attempt, JobState::Success, None).await.unwrap());
        served.push((job.account_id, job.tag));
    }
    for account in [&mine, &second, &third] {
        let tags: Vec<&str> =
            served.iter().filter(|(id, _)| *id == account.account_id).map(|(_, tag)| tag.as_str()).collect();
        assert_eq!(tags, ["v0", "v1"], "{served:?}");
    }
    // The others have nothing more: no slot stays empty for them.
    let all = catalog.claim_jobs("me", LEASE_MS, 4, 4).await.unwrap();
    assert_eq!(all.iter().map(|job| job.tag.as_str()).collect::<Vec<_>>(), ["v2", "v3", "v4", "v5"]);
    // An account that comes when all slots are taken gets the next free one, and further ones as long as it has fewer.
    catalog.enqueue_jobs(&tags(&second, 5), 100).await.unwrap();
    for job in &all[..2] {
        catalog.finish_job(job.id, job.attempt, JobState::Success, None).await.unwrap();
        assert_eq!(catalog.claim_jobs("me", LEASE_MS, 4, 4).await.unwrap()[0].account_id, second.account_id);
    }
    catalog.finish_job(all[2].id, all[2].attempt, JobState::Success, None).await.unwrap();
    let next = catalog.claim_jobs("me", LEASE_MS, 4, 4).await.unwrap();
    assert_eq!(next[0].account_id, mine.account_id, "it has fewer now");
}

pub(super) async fn free_slots_are_shared(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let mine = new_job(&fixture, "v1");
    let other = stranger(&catalog, "second").await;
    catalog.enqueue_jobs(&tags(&mine, 20), 100).await.unwrap();
    catalog.enqueue_jobs(&tags(&other, 20), 100).await.unwrap();
    let claimed = catalog.claim_jobs("me", LEASE_MS, 6, 6).await.unwrap();
    let of_other = claimed.iter().filter(|job| job.account_id == other.account_id).count();
    assert_eq!((claimed.len(), of_other), (6, 3));
    // Jobs whose owner died had their turn, and are counted.
    let_time_pass(&catalog).await;
    let again = catalog.claim_jobs("me", LEASE_MS, 8, 8).await.unwrap();
    let of_other = again.iter().filter(|job| job.account_id == other.account_id).count();
    assert_eq!((again.len(), of_other), (8, 4));
    assert_eq!(again.iter().filter(|job| job.attempt == 2).count(), 6);
}

pub(super) async fn only_the_own_time_counts(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let jobs = [new_job(&fixture, "v1")];
    let id = catalog.enqueue_jobs(&jobs, 10).await.unwrap()[0];
    pause(300).await;
    let claimed = claim_one(&catalog).await;
    assert_eq!(claimed.spent_ms, 0, "others were served first");
    pause(30).await;
    catalog.retry_job(id, claimed.attempt, 60_000, "why").await.unwrap();
    let spent = only(&catalog, id).await.spent_ms;
    assert!((60_020..70_000).contains(&spent), "its run and its pause: {spent}");
    let_time_pass(&catalog).await;
    pause(300).await;
    let claimed = claim_one(&catalog).await;
    assert_eq!(claimed.spent_ms, spent, "others were served first");
    // A stop of the process charges the run, and keeps the place in the queue.
    let due = only(&catalog, id).await;
    catalog.release_job(id, claimed.attempt).await.unwrap();
    let released = only(&catalog, id).await;
    assert!(released.spent_ms >= due.spent_ms && released.spent_ms < spent + 10_000, "{}", released.spent_ms);
    // An owner that died had the job until its lease ran out.
    let claimed = claim_one(&catalog).await;
    pause(30).await;
    let_time_pass(&catalog).await;
    let orphan = claim_one(&catalog).await;
    let run = orphan.spent_ms - claimed.spent_ms;
    assert!((20..LEASE_MS).contains(&run), "{run}");
    // Asked for again it has all of its time again.
    catalog.retry_job(id, orphan.attempt, 60_000, "why").await.unwrap();
    assert_eq!(catalog.enqueue_jobs(&jobs, 10).await.unwrap(), [id]);
    let again = claim_one(&catalog).await;
    assert_eq!((again.id, again.spent_ms, again.failures), (id, 0, 0));
}

pub(super) async fn a_target_that_is_away_is_no_failure(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = catalog.enqueue_jobs(&[new_job(&fixture, "v1")], 10).await.unwrap()[0];
    for tries in 1..=3 {
        let claimed = claim_one(&catalog).await;
        assert!(catalog.postpone_job(id, claimed.attempt, 60_000, "refused").await.unwrap());
        let job = only(&catalog, id).await;
        assert_eq!((job.state, job.failures, job.away), (JobState::Waiting, 0, tries));
        assert_eq!(job.last_error.as_deref(), Some("refused"));
        assert_eq!(catalog.claim_jobs("me", LEASE_MS, 1, 1).await.unwrap(), [], "not yet");
        let_time_pass(&catalog).await;
    }
    let claimed = claim_one(&catalog).await;
    assert!(catalog.retry_job(id, claimed.attempt, 60_000, "broken").await.unwrap());
    let job = only(&catalog, id).await;
    assert_eq!((job.failures, job.away), (1, 0), "it answered");
}

/// As if a waiting job had been due for an hour.
async fn due_for_an_hour(catalog: &Catalog) {
    let sql = "UPDATE job SET run_at = {now} - 3600000 WHERE state = 'waiting'";
    catalog.write(|| catalog.query(sql)).await.unwrap();
}

pub(super) async fn waiting_for_a_target_that_is_away_counts(catalog: Catalog, _: String) {
    const HOUR: std::ops::Range<i64> = 3_600_000..3_660_000;
    const NOTHING: std::ops::Range<i64> = 0..60_000;
    let fixture = fixture(&catalog).await;
    let jobs = [new_job(&fixture, "v1")];
    let id = catalog.enqueue_jobs(&jobs, 10).await.unwrap()[0];
    let mut spent = 0;
    let mut more = |job: &Job| {
        let more = job.spent_ms - spent;
        spent = job.spent_ms;
        more
    };
    due_for_an_hour(&catalog).await;
    let claimed = claim_one(&catalog).await;
    assert_eq!(more(&claimed), 0, "nobody knows that its target is away");
    catalog.postpone_job(id, claimed.attempt, 0, "silent").await.unwrap();
    due_for_an_hour(&catalog).await;
    let claimed = claim_one(&catalog).await;
    assert!(HOUR.contains(&more(&claimed)), "the others wait for the same target: {}", claimed.spent_ms);
    // A stop of the process does not charge the same wait again.
    catalog.release_job(id, claimed.attempt).await.unwrap();
    let claimed = claim_one(&catalog).await;
    assert!(NOTHING.contains(&more(&claimed)), "{}", claimed.spent_ms);
    // The target is back, and others have the slots.
    catalog.postpone_job(id, claimed.attempt, 0, "silent").await.unwrap();
    let other = catalog.enqueue_jobs(&[new_job(&fixture, "v2")], 10).await.unwrap()[0];
    due_for_an_hour(&catalog).await;
    catalog
        .write(|| catalog.query("UPDATE job SET state = 'success', updated_at = {now} WHERE id = $1").bind(other))
        .await
        .unwrap();
    let claimed = claim_one(&catalog).await;
    assert!(NOTHING.contains(&more(&claimed)), "{}", claimed.spent_ms);
    // Away again since then.
    catalog.write(|| catalog.query("UPDATE job SET updated_at = 0 WHERE id = $1").bind(other)).await.unwrap();
    catalog.postpone_job(id, claimed.attempt, 0, "silent").await.unwrap();
    due_for_an_hour(&catalog).await;
    let claimed = claim_one(&catalog).await;
    assert!(HOUR.contains(&more(&claimed)), "{}", claimed.spent_ms);
    // A start that ends all leases: nobody ran jobs before it, so on SQLite the wait is not charged.
    catalog.postpone_job(id, claimed.attempt, 0, "silent").await.unwrap();
    due_for_an_hour(&catalog).await;
    catalog.release_orphans().await.unwrap();
    let claimed = claim_one(&catalog).await;
    let expected = if catalog.dialect() == Dialect::Sqlite { NOTHING } else { HOUR };
    assert!(expected.contains(&more(&claimed)), "{}", claimed.spent_ms);
    // Asked for again it begins anew.
    catalog.postpone_job(id, claimed.attempt, 0, "silent").await.unwrap();
    catalog.enqueue_jobs(&jobs, 10).await.unwrap();
    due_for_an_hour(&catalog).await;
    assert_eq!(claim_one(&catalog).await.spent_ms, 0);
}

pub(super) async fn a_waiting_job_is_its_newest_callers(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let first = new_job(&fixture, "v1");
    let bob = user(&catalog, &fixture.account, "bob", false).await;
    let second = NewJob { operator_id: bob.id.clone(), operator_name: bob.name.clone(), ..first.clone() };
    let id = catalog.enqueue_jobs(&[first], 10).await.unwrap()[0];
    assert_eq!(catalog.enqueue_jobs(std::slice::from_ref(&second), 10).await.unwrap(), [id]);
    let job = only(&catalog, id).await;
    assert_eq!((job.operator_id, job.operator_name), (bob.id, bob.name));
}

pub(super) async fn a_running_job_is_joined_by_its_own_user_only(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let first = [new_job(&fixture, "v1")];
    let second = [NewJob { operator_id: "bob".to_owned(), operator_name: "bob".to_owned(), ..first[0].clone() }];
    let digest = image(&catalog, fixture.repository.id, "one", "v1").await;
    let running = catalog.enqueue_jobs(&first, 10).await.unwrap();
    let claimed = claim_one(&catalog).await;
    catalog.pin_digest(claimed.id, claimed.attempt, &digest).await.unwrap();
    assert_eq!(catalog.enqueue_jobs(&first, 10).await.unwrap(), running);
    let other = catalog.enqueue_jobs(&second, 10).await.unwrap();
    assert_ne!(other, running);
    // Whatever happens to the first user, the second user's job runs in its own name, and not at the same time as the
    // other.
    assert_eq!(catalog.claim_jobs("me", LEASE_MS, 2, 2).await.unwrap(), []);
    let why = Some("user root was removed");
    catalog.finish_job(claimed.id, claimed.attempt, JobState::Failed, why).await.unwrap();
    let next = claim_one(&catalog).await;
    assert_eq!((vec![next.id], next.operator_name.as_str()), (other, "bob"));
}

pub(super) async fn jobs_of_a_deleted_repository_are_found_by_its_name(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let ids = catalog.enqueue_jobs(&tags(&new_job(&fixture, "v1"), 3), 10).await.unwrap();
    let name = repository_name("team/app");
    let account = fixture.account.id.as_str();
    let found = async |id: Option<i64>, account: &str, name: &str, limit, offset, descending| {
        let name = repository_name(name);
        let found = catalog.list_jobs_with_deleted(id, account, &name, limit, offset, descending);
        let (jobs, total) = found.await.unwrap();
        (jobs.into_iter().map(|job| job.id).collect::<Vec<_>>(), total)
    };
    assert_eq!(found(None, account, "team/app", 10, 0, true).await, (vec![], 0), "{name} is there");
    assert!(catalog.delete_repository(fixture.repository.id).await.unwrap());
    assert_eq!(found(None, account, "team/app", 10, 0, false).await, (ids.clone(), 3));
    assert_eq!(found(None, account, "team/app", 2, 1, true).await, (vec![ids[1], ids[0]], 3));
    assert_eq!(found(None, account, "team/other", 10, 0, true).await, (vec![], 0));
    assert_eq!(found(None, "another", "team/app", 10, 0, true).await, (vec![], 0));
    // The name is in use again: one list, sorted by time.
    let again = super::repository(&catalog, &fixture.namespace, &fixture.admin, "app").await;
    let job = NewJob { repository_id: again.id, ..new_job(&fixture, "v1") };
    let ids = [ids, catalog.enqueue_jobs(&tags(&job, 2), 10).await.unwrap()].concat();
    let reversed: Vec<i64> = ids.iter().rev().copied().collect();
    let id = Some(again.id);
    assert_eq!(found(id, account, "team/app", 10, 0, false).await, (ids.clone(), 5));
    assert_eq!(found(id, account, "team/app", 3, 1, true).await, (reversed[1..4].to_vec(), 5));
    assert_eq!(found(id, account, "team/app", 2, 2, false).await, (ids[2..4].to_vec(), 5));
    assert_eq!(found(id, "another", "team/app", 10, 0, false).await, (ids[3..].to_vec(), 2));
}
