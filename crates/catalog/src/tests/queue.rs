use super::jobs::new_job;
use super::{digest, fixture, take};
use crate::{Catalog, CatalogError, Heartbeat, Job, JobState, NewJob, Progress};

const LEASE_MS: i64 = 10_000;

async fn states(catalog: &Catalog, ids: &[i64]) -> Vec<JobState> {
    catalog.find_jobs(ids).await.unwrap().into_iter().map(|job| job.state).collect()
}

/// As if every owner had been asleep for too long.
async fn end_leases(catalog: &Catalog) {
    catalog.write(|| catalog.query("UPDATE job SET lease_until = {now} WHERE state = 'running'")).await.unwrap();
}

fn ids(jobs: &[Job]) -> Vec<i64> {
    jobs.iter().map(|job| job.id).collect()
}

pub(super) async fn claims_respect_region_limits(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let south = |tag| NewJob { target_region: "south".to_owned(), ..new_job(&fixture, tag) };
    let north = |tag| new_job(&fixture, tag);
    let queued = [north("v1"), north("v2"), north("v3"), south("v1"), south("v2")];
    let queued = catalog.enqueue_jobs(&queued, 10).await.unwrap();
    let first = catalog.claim_jobs("me", LEASE_MS, 3, 2).await.unwrap();
    assert_eq!(ids(&first), [queued[0], queued[1], queued[3]], "the oldest first, two a region");
    assert!(first.iter().all(|job| job.state == JobState::Running && job.attempt == 1));
    let second = catalog.claim_jobs("me", LEASE_MS, 3, 2).await.unwrap();
    assert_eq!(ids(&second), [queued[4]]);
    assert_eq!(catalog.claim_jobs("you", LEASE_MS, 3, 2).await.unwrap(), []);
    assert_eq!(catalog.claim_jobs("you", LEASE_MS, 0, 9).await.unwrap(), []);
    catalog.finish_job(queued[0], 1, JobState::Success, None).await.unwrap();
    assert_eq!(ids(&catalog.claim_jobs("you", LEASE_MS, 3, 2).await.unwrap()), [queued[2]]);
}

pub(super) async fn leases_run_out_and_fence(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let queued = catalog.enqueue_jobs(&[new_job(&fixture, "v1")], 10).await.unwrap();
    let mine = catalog.claim_jobs("me", LEASE_MS, 1, 1).await.unwrap().pop().unwrap();
    assert_eq!(catalog.claim_jobs("you", LEASE_MS, 1, 1).await.unwrap(), []);
    end_leases(&catalog).await;
    let yours = catalog.claim_jobs("you", LEASE_MS, 1, 1).await.unwrap().pop().unwrap();
    assert_eq!((yours.id, yours.attempt), (mine.id, mine.attempt + 1));

    let (id, late) = (mine.id, mine.attempt);
    let beat = catalog.heartbeat(id, late, LEASE_MS, Progress::default()).await.unwrap();
    assert_eq!(beat, Heartbeat { owner: false, cancel_requested: false });
    assert!(!catalog.pin_digest(id, late, &digest("x")).await.unwrap());
    assert!(!catalog.finish_job(id, late, JobState::Success, None).await.unwrap());
    assert!(!catalog.retry_job(id, late, 0, "why").await.unwrap());
    assert!(!catalog.release_job(id, late).await.unwrap());
    assert_eq!(states(&catalog, &queued).await, [JobState::Running]);
    assert!(catalog.finish_job(id, yours.attempt, JobState::Success, None).await.unwrap());
    assert_eq!(states(&catalog, &queued).await, [JobState::Success]);
}

pub(super) async fn one_copy_at_a_time(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let job = new_job(&fixture, "v1");
    let force = NewJob { override_existing: true, ..job.clone() };
    let queued = catalog.enqueue_jobs(&[job.clone(), force.clone()], 10).await.unwrap();
    // Both write the same target tag, so the second waits for the first.
    assert_eq!(ids(&catalog.claim_jobs("me", LEASE_MS, 10, 10).await.unwrap()), [queued[0]]);
    assert_eq!(catalog.claim_jobs("you", LEASE_MS, 10, 10).await.unwrap(), []);
    let again = catalog.enqueue_jobs(&[job], 10).await.unwrap();
    assert_eq!(catalog.claim_jobs("you", LEASE_MS, 10, 10).await.unwrap(), []);
    catalog.finish_job(queued[0], 1, JobState::Failed, Some("why")).await.unwrap();
    assert_eq!(ids(&catalog.claim_jobs("you", LEASE_MS, 10, 10).await.unwrap()), [queued[1]]);
    catalog.finish_job(queued[1], 1, JobState::Success, None).await.unwrap();
    assert_eq!(ids(&catalog.claim_jobs("you", LEASE_MS, 10, 10).await.unwrap()), again);
}

/// A job of a deleted repository still has to take its tag back in the target: the same copy of a new repository of
/// that name waits for it.
pub(super) async fn a_deleted_repository_holds_its_targets(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let old = catalog.enqueue_jobs(&[new_job(&fixture, "v1")], 10).await.unwrap();
    let claimed = catalog.claim_jobs("me", LEASE_MS, 1, 1).await.unwrap().pop().unwrap();
    assert!(catalog.delete_repository(fixture.repository.id).await.unwrap());
    let again = super::repository(&catalog, &fixture.namespace, &fixture.admin, "app").await;
    let other = super::repository(&catalog, &fixture.namespace, &fixture.admin, "other").await;
    let job = |id, path: &str| NewJob { repository_id: id, repository: path.to_owned(), ..new_job(&fixture, "v1") };
    let new = catalog.enqueue_jobs(&[job(again.id, "app"), job(other.id, "other")], 10).await.unwrap();
    assert_eq!(ids(&catalog.claim_jobs("me", LEASE_MS, 10, 10).await.unwrap()), [new[1]]);
    // Nor do both begin at once when the owner of the first is gone.
    end_leases(&catalog).await;
    let both = ids(&catalog.claim_jobs("me", LEASE_MS, 10, 10).await.unwrap());
    assert_eq!(both, [old[0], new[1]]);
    assert!(catalog.finish_job(claimed.id, 2, JobState::Cancel, None).await.unwrap());
    assert_eq!(ids(&catalog.claim_jobs("me", LEASE_MS, 10, 10).await.unwrap()), [new[0]]);
}

pub(super) async fn retries_wait_and_give_way(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let jobs = [new_job(&fixture, "v1")];
    let queued = catalog.enqueue_jobs(&jobs, 10).await.unwrap();
    let claimed = catalog.claim_jobs("me", LEASE_MS, 1, 1).await.unwrap().pop().unwrap();
    let error = format!("a\0b{}", "x".repeat(5000));
    assert!(catalog.retry_job(claimed.id, claimed.attempt, 60_000, &error).await.unwrap());
    let waiting = catalog.find_jobs(&queued).await.unwrap().pop().unwrap();
    assert_eq!((waiting.state, waiting.failures, waiting.attempt), (JobState::Waiting, 1, 1));
    assert_eq!(waiting.last_error.map(|error| error.chars().count()), Some(2000));
    assert_eq!(catalog.claim_jobs("me", LEASE_MS, 1, 1).await.unwrap(), [], "not yet");
    catalog.write(|| catalog.query("UPDATE job SET run_at = {now}")).await.unwrap();
    let claimed = catalog.claim_jobs("me", LEASE_MS, 1, 1).await.unwrap().pop().unwrap();
    assert_eq!((claimed.id, claimed.attempt), (queued[0], 2));

    let newer = catalog.enqueue_jobs(&jobs, 10).await.unwrap();
    assert_ne!(newer, queued);
    assert!(catalog.retry_job(claimed.id, claimed.attempt, 60, "why").await.unwrap());
    let superseded = catalog.find_jobs(&queued).await.unwrap().pop().unwrap();
    assert_eq!(superseded.state, JobState::Cancel);
    assert!(superseded.last_error.unwrap().contains("superseded"));
    assert_eq!(states(&catalog, &newer).await, [JobState::Waiting]);
    let status = catalog.job_states(&queued).await.unwrap();
    assert_eq!(status.iter().map(|status| status.superseded_by).collect::<Vec<_>>(), [Some(newer[0])]);

    // Asked for again, a waiting job need not wait out its pause.
    let claimed = catalog.claim_jobs("me", LEASE_MS, 1, 1).await.unwrap().pop().unwrap();
    assert!(catalog.retry_job(claimed.id, claimed.attempt, 600_000, "why").await.unwrap());
    assert_eq!(catalog.enqueue_jobs(&jobs, 10).await.unwrap(), newer);
    assert_eq!(ids(&catalog.claim_jobs("me", LEASE_MS, 1, 1).await.unwrap()), newer);
}

pub(super) async fn released_jobs_are_due_at_once(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let queued = catalog.enqueue_jobs(&[new_job(&fixture, "v1")], 10).await.unwrap();
    let claimed = catalog.claim_jobs("me", LEASE_MS, 1, 1).await.unwrap().pop().unwrap();
    assert!(catalog.release_job(claimed.id, claimed.attempt).await.unwrap());
    let released = catalog.find_jobs(&queued).await.unwrap().pop().unwrap();
    assert_eq!((released.state, released.failures, released.last_error), (JobState::Waiting, 0, None));
    let claimed = catalog.claim_jobs("you", LEASE_MS, 1, 1).await.unwrap().pop().unwrap();
    assert_eq!(claimed.attempt, 2);
    // One that somebody wants to stop does not come back.
    catalog.cancel_jobs_of_repository(fixture.repository.id).await.unwrap();
    assert!(catalog.release_job(claimed.id, claimed.attempt).await.unwrap());
    assert_eq!(states(&catalog, &queued).await, [JobState::Cancel]);
}

pub(super) async fn ends_are_final(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let queued = catalog.enqueue_jobs(&[new_job(&fixture, "v1")], 10).await.unwrap();
    assert!(!catalog.finish_job(queued[0], 0, JobState::Success, None).await.unwrap(), "it does not run");
    let claimed = catalog.claim_jobs("me", LEASE_MS, 1, 1).await.unwrap().pop().unwrap();
    let open = catalog.finish_job(claimed.id, claimed.attempt, JobState::Waiting, None).await;
    assert!(matches!(open, Err(CatalogError::Invalid { .. })), "{open:?}");
    assert!(catalog.finish_job(claimed.id, claimed.attempt, JobState::Timeout, Some("too long")).await.unwrap());
    assert!(!catalog.finish_job(claimed.id, claimed.attempt, JobState::Success, None).await.unwrap());
    assert!(!catalog.retry_job(claimed.id, claimed.attempt, 0, "why").await.unwrap());
    let ended = catalog.find_jobs(&queued).await.unwrap().pop().unwrap();
    assert_eq!((ended.state, ended.last_error.as_deref()), (JobState::Timeout, Some("too long")));
    for state in [JobState::Success, JobState::Failed, JobState::Timeout, JobState::Cancel, JobState::Existed] {
        assert!(state.is_final() && state.as_str().parse() == Ok(state));
    }
}

pub(super) async fn progress_and_cancellation(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let queued = catalog.enqueue_jobs(&[new_job(&fixture, "v1")], 10).await.unwrap();
    let claimed = catalog.claim_jobs("me", LEASE_MS, 1, 1).await.unwrap().pop().unwrap();
    let progress = Progress { bytes_done: 1, bytes_total: 1 << 40, blobs_done: 3, blobs_total: 4 };
    let beat = catalog.heartbeat(claimed.id, claimed.attempt, LEASE_MS, progress).await.unwrap();
    assert_eq!(beat, Heartbeat { owner: true, cancel_requested: false });
    assert!(catalog.pin_digest(claimed.id, claimed.attempt, &digest("x")).await.unwrap());
    let job = catalog.find_jobs(&queued).await.unwrap().pop().unwrap();
    assert_eq!((job.bytes_done, job.bytes_total, job.blobs_done, job.blobs_total), (1, 1 << 40, 3, 4));
    assert_eq!(job.digest, Some(digest("x").to_string()));
    catalog.cancel_jobs_of_repository(fixture.repository.id).await.unwrap();
    let beat = catalog.heartbeat(claimed.id, claimed.attempt, LEASE_MS, progress).await.unwrap();
    assert_eq!(beat, Heartbeat { owner: true, cancel_requested: true });
}

pub(super) async fn late_owners_may_go_on(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let job = new_job(&fixture, "v1");
    let queued = catalog.enqueue_jobs(&[job.clone(), NewJob { override_existing: true, ..job }], 10).await.unwrap();
    let mine = catalog.claim_jobs("me", LEASE_MS, 1, 1).await.unwrap().pop().unwrap();
    end_leases(&catalog).await;
    // Late, but nobody has taken its place.
    assert!(catalog.heartbeat(mine.id, mine.attempt, LEASE_MS, Progress::default()).await.unwrap().owner);
    end_leases(&catalog).await;
    // Now its twin may run, if it is claimed first: forget that the older one is due as well.
    catalog.write(|| catalog.query("UPDATE job SET run_at = 0 WHERE state = 'waiting'")).await.unwrap();
    catalog
        .write(|| {
            catalog.query(
                "UPDATE job SET state = 'running', attempt = 1, lease_until = {now} + 10000 WHERE state = 'waiting'",
            )
        })
        .await
        .unwrap();
    assert!(!catalog.heartbeat(mine.id, mine.attempt, LEASE_MS, Progress::default()).await.unwrap().owner);
    assert_eq!(catalog.claim_jobs("you", LEASE_MS, 10, 10).await.unwrap(), [], "held by its twin");
    assert!(catalog.finish_job(queued[1], 1, JobState::Success, None).await.unwrap());
    assert_eq!(ids(&catalog.claim_jobs("you", LEASE_MS, 10, 10).await.unwrap()), [queued[0]]);
}

pub(super) async fn next_run_is_told(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    assert_eq!(catalog.next_run_at().await.unwrap(), None);
    catalog.enqueue_jobs(&[new_job(&fixture, "v1")], 10).await.unwrap();
    assert_eq!(catalog.next_run_at().await.unwrap(), Some(0));
    let claimed = catalog.claim_jobs("me", 60_000, 1, 1).await.unwrap().pop().unwrap();
    let lease = catalog.next_run_at().await.unwrap().unwrap();
    assert!((40_000..=60_000).contains(&lease), "{lease}");
    catalog.retry_job(claimed.id, claimed.attempt, 600_000, "why").await.unwrap();
    let delay = catalog.next_run_at().await.unwrap().unwrap();
    assert!((580_000..=600_000).contains(&delay), "{delay}");
}

pub(super) async fn orphans_are_released(catalog: Catalog, url: String) {
    let fixture = fixture(&catalog).await;
    let queued = catalog.enqueue_jobs(&[new_job(&fixture, "v1")], 10).await.unwrap();
    let upload = super::new_upload(fixture.repository.id, 60_000);
    catalog.create_upload(&upload).await.unwrap();
    take(&catalog, &upload.id, "one", LEASE_MS).await.unwrap().unwrap();
    catalog.claim_jobs("me", LEASE_MS, 1, 1).await.unwrap();
    catalog.release_orphans().await.unwrap();
    let embedded = url.starts_with("sqlite");
    let claimed = catalog.claim_jobs("you", LEASE_MS, 1, 1).await.unwrap();
    assert_eq!(ids(&claimed), if embedded { queued } else { Vec::new() });
    assert_eq!(take(&catalog, &upload.id, "two", LEASE_MS).await.unwrap().is_some(), embedded);
}

pub(super) async fn orphans_pay_for_their_run(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = catalog.enqueue_jobs(&[new_job(&fixture, "v1")], 10).await.unwrap()[0];
    let mut spent = 0;
    for (lease, expected) in [("{now} - 2000", 2900..3100), ("{now} + 9000", 5000..60_000)] {
        catalog.claim_jobs("me", LEASE_MS, 1, 1).await.unwrap();
        let sql = format!("UPDATE job SET claimed_at = {{now}} - 5000, lease_until = {lease} WHERE id = $1");
        let sql: &'static str = Box::leak(sql.into_boxed_str());
        catalog.write(|| catalog.query(sql).bind(id)).await.unwrap();
        catalog.release_orphans().await.unwrap();
        // Where other processes may live, a lease has to run out.
        let end = "UPDATE job SET lease_until = {now} WHERE lease_until > {now}";
        catalog.write(|| catalog.query(end)).await.unwrap();
        let claimed = catalog.claim_jobs("you", LEASE_MS, 1, 1).await.unwrap().pop().unwrap();
        let run = claimed.spent_ms - spent;
        assert!(expected.contains(&run), "{run}");
        catalog.release_job(id, claimed.attempt).await.unwrap();
        spent = catalog.find_jobs(&[id]).await.unwrap()[0].spent_ms;
    }
}
