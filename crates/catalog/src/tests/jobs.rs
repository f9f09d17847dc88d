use super::{Fixture, fixture, image, pause, put};
use crate::{Catalog, CatalogError, EnqueueError, JobState, NewJob, TargetBefore};

const LEASE_MS: i64 = 10_000;

pub(super) fn new_job(fixture: &Fixture, tag: &str) -> NewJob {
    NewJob {
        account_id: fixture.account.id.clone(),
        repository_id: fixture.repository.id,
        namespace: "team".to_owned(),
        repository: "app".to_owned(),
        tag: tag.to_owned(),
        target_region: "north".to_owned(),
        target_namespace: "mirror".to_owned(),
        override_existing: false,
        operator_id: fixture.admin.id.clone(),
        operator_name: fixture.admin.name.clone(),
    }
}

pub(super) async fn equal_jobs_are_one(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let job = new_job(&fixture, "v1");
    let others = [
        NewJob { tag: "v2".to_owned(), ..job.clone() },
        NewJob { target_region: "south".to_owned(), ..job.clone() },
        NewJob { target_namespace: "other".to_owned(), ..job.clone() },
        NewJob { override_existing: true, ..job.clone() },
    ];
    let first = catalog.enqueue_jobs(std::slice::from_ref(&job), 10).await.unwrap();
    let again = catalog.enqueue_jobs(&[others[0].clone(), job.clone(), others[0].clone()], 10).await.unwrap();
    assert_eq!((again[1], again[0] == again[2], again[0] == first[0]), (first[0], true, false));
    let all = catalog.enqueue_jobs(&others, 10).await.unwrap();
    assert_eq!(all[0], again[0]);
    let mut distinct = all.clone();
    distinct.extend(&first);
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 5);

    let found = catalog.find_jobs(&[all[3], 9999, first[0]]).await.unwrap();
    assert_eq!(found.iter().map(|job| job.id).collect::<Vec<_>>(), [all[3], first[0]], "in the order asked for");
    let made = &found[1];
    assert_eq!((made.state, made.attempt, made.failures, made.cancel_requested), (JobState::Waiting, 0, 0, false));
    assert_eq!((made.tag.as_str(), made.repository_id, &made.account_id), ("v1", job.repository_id, &job.account_id));
    assert!(found[0].override_existing && !made.override_existing);
    assert_eq!(catalog.enqueue_jobs(&[], 0).await.unwrap(), Vec::<i64>::new());
}

pub(super) async fn running_copies_of_the_same_digest_are_used(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let jobs = [new_job(&fixture, "v1")];
    let old = image(&catalog, fixture.repository.id, "one", "v1").await;
    let first = catalog.enqueue_jobs(&jobs, 10).await.unwrap();
    let running = catalog.claim_jobs("me", LEASE_MS, 10, 10).await.unwrap().pop().unwrap();
    let unpinned = catalog.enqueue_jobs(&jobs, 10).await.unwrap();
    assert_ne!(unpinned, first, "nobody knows yet what the running one copies");
    // Ends the second one.
    catalog.finish_job(first[0], running.attempt, JobState::Success, None).await.unwrap();
    let running = catalog.claim_jobs("me", LEASE_MS, 10, 10).await.unwrap().pop().unwrap();
    assert_eq!(running.id, unpinned[0]);

    assert!(catalog.pin_digest(running.id, running.attempt, &old).await.unwrap());
    assert_eq!(catalog.enqueue_jobs(&jobs, 10).await.unwrap(), unpinned);
    image(&catalog, fixture.repository.id, "two", "v1").await;
    let newer = catalog.enqueue_jobs(&jobs, 10).await.unwrap();
    assert_ne!(newer, unpinned, "the tag has moved since");
    assert_eq!(catalog.enqueue_jobs(&jobs, 10).await.unwrap(), newer);
}

/// Parts of an image may be pushed after it: a copy whose plan is older does not copy them.
pub(super) async fn running_copies_that_have_not_seen_all_are_not_used(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let repository = fixture.repository.id;
    let jobs = [new_job(&fixture, "v1")];
    let digest = image(&catalog, repository, "one", "v1").await;
    let mut ids = catalog.enqueue_jobs(&jobs, 10).await.unwrap();
    let mut changes = 0;
    loop {
        let running = catalog.claim_jobs("me", LEASE_MS, 10, 10).await.unwrap().pop().unwrap();
        assert_eq!(vec![running.id], ids);
        assert!(catalog.pin_digest(running.id, running.attempt, &digest).await.unwrap());
        assert_eq!(catalog.enqueue_jobs(&jobs, 10).await.unwrap(), ids, "nothing was pushed since");
        // As soon after the beginning of the run as can be.
        match changes {
            0 => drop(image(&catalog, repository, "signature", "sha256-one.sig").await),
            1 => drop(catalog.put_manifest(put(repository, "by subject", &[], &[])).await.unwrap()),
            2 => assert!(catalog.delete_tag(repository, &"sha256-one.sig".parse().unwrap()).await.unwrap()),
            _ => break,
        }
        let next = catalog.enqueue_jobs(&jobs, 10).await.unwrap();
        assert_ne!(next, ids, "change {changes}");
        catalog.finish_job(running.id, running.attempt, JobState::Success, None).await.unwrap();
        ids = next;
        changes += 1;
    }
}

/// Two changes of a repository never leave it with the same time, so that it tells one state from the next.
pub(super) async fn each_change_of_a_repository_raises_its_time(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    // A clock that was set back.
    catalog.write(|| catalog.query("UPDATE repository SET updated_at = {now} + 60000")).await.unwrap();
    let mut before = 0;
    for step in 0..4 {
        match step {
            0 | 1 => drop(image(&catalog, id, "one", "v1").await),
            2 => catalog.update_repository(id, false, "other", "").await.unwrap(),
            _ => assert!(catalog.delete_tag(id, &"v1".parse().unwrap()).await.unwrap()),
        }
        let now = catalog.find_repository(&super::repository_name("team/app")).await.unwrap().unwrap().updated_at_ms;
        assert!(now > before, "step {step}: {now} after {before}");
        before = now;
    }
}

pub(super) async fn queues_have_limits(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let jobs = ["v1", "v2", "v3"].map(|tag| new_job(&fixture, tag));
    let full = catalog.enqueue_jobs(&jobs, 2).await;
    assert!(matches!(full, Err(EnqueueError::QueueFull)), "{full:?}");
    assert_eq!(catalog.list_jobs(fixture.repository.id, 10, 0, false).await.unwrap().1, 0, "all or none");
    // Nothing after the first job over the limit is looked at.
    let [one, two, three] = jobs.clone();
    let nowhere = NewJob { repository_id: 99, ..one.clone() };
    let full = catalog.enqueue_jobs(&[one, two, three, nowhere], 2).await;
    assert!(matches!(full, Err(EnqueueError::QueueFull)), "{full:?}");
    let ids = catalog.enqueue_jobs(&jobs[..2], 2).await.unwrap();
    assert_eq!(catalog.enqueue_jobs(&jobs[..2], 2).await.unwrap(), ids, "nothing new");
    let full = catalog.enqueue_jobs(&jobs[2..], 2).await;
    assert!(matches!(full, Err(EnqueueError::QueueFull)), "{full:?}");
    let claimed = catalog.claim_jobs("me", LEASE_MS, 1, 1).await.unwrap();
    catalog.finish_job(claimed[0].id, claimed[0].attempt, JobState::Failed, Some("why")).await.unwrap();
    catalog.enqueue_jobs(&jobs[2..], 2).await.unwrap();

    let mixed = [jobs[0].clone(), NewJob { account_id: "other".to_owned(), ..jobs[1].clone() }];
    let mixed = catalog.enqueue_jobs(&mixed, 10).await;
    assert!(matches!(mixed, Err(EnqueueError::Catalog(CatalogError::Invalid { .. }))), "{mixed:?}");
    let nowhere = catalog.enqueue_jobs(&[NewJob { repository_id: 99, ..jobs[0].clone() }], 10).await;
    assert!(matches!(nowhere, Err(EnqueueError::Catalog(CatalogError::NotFound { .. }))), "{nowhere:?}");
}

pub(super) async fn jobs_are_listed(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let jobs = ["v1", "v2", "v3"].map(|tag| new_job(&fixture, tag));
    let ids = catalog.enqueue_jobs(&jobs, 10).await.unwrap();
    let page = async |limit, offset, descending| {
        let (jobs, total) = catalog.list_jobs(fixture.repository.id, limit, offset, descending).await.unwrap();
        assert_eq!(total, 3);
        jobs.into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    assert_eq!(page(10, 0, false).await, ids);
    assert_eq!(page(2, 0, true).await, [ids[2], ids[1]]);
    assert_eq!(page(2, 2, true).await, [ids[0]]);
    assert_eq!(page(2, 4, true).await, Vec::<i64>::new());
}

pub(super) async fn deleted_repositories_cancel_jobs(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let ids = catalog.enqueue_jobs(&["v1", "v2", "v3"].map(|tag| new_job(&fixture, tag)), 10).await.unwrap();
    let running = catalog.claim_jobs("me", LEASE_MS, 1, 1).await.unwrap().pop().unwrap();
    assert_eq!(catalog.cancel_jobs_of_repository(fixture.repository.id).await.unwrap(), 3);
    let found = catalog.find_jobs(&ids).await.unwrap();
    assert_eq!(
        found.iter().map(|job| job.state).collect::<Vec<_>>(),
        [JobState::Running, JobState::Cancel, JobState::Cancel]
    );
    let beat = catalog.heartbeat(running.id, running.attempt, LEASE_MS, crate::Progress::default()).await.unwrap();
    assert!(beat.owner && beat.cancel_requested);
    // A job outlives its repository, as history.
    assert!(catalog.delete_repository(fixture.repository.id).await.unwrap());
    let found = catalog.find_jobs(&ids).await.unwrap();
    assert_eq!((found.len(), found[0].repository_id), (3, 0));
    assert!(catalog.finish_job(running.id, running.attempt, JobState::Cancel, Some("cancelled")).await.unwrap());
}

pub(super) async fn deleted_tags_cancel_jobs(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let repository = fixture.repository.id;
    let digest = image(&catalog, repository, "one", "v1").await;
    image(&catalog, repository, "one", "v2").await;
    image(&catalog, repository, "two", "v3").await;
    let mut jobs = vec![new_job(&fixture, "v1")];
    jobs.push(NewJob { target_region: "south".to_owned(), ..jobs[0].clone() });
    jobs.extend(["v2", "v3", "never"].map(|tag| new_job(&fixture, tag)));
    let ids = catalog.enqueue_jobs(&jobs, 10).await.unwrap();
    let running = catalog.claim_jobs("me", LEASE_MS, 1, 1).await.unwrap().pop().unwrap();
    assert_eq!(running.id, ids[0]);
    let states = async || {
        let found = catalog.find_jobs(&ids).await.unwrap();
        found.into_iter().map(|job| job.state).collect::<Vec<_>>()
    };

    assert!(catalog.delete_tag(repository, &"v1".parse().unwrap()).await.unwrap());
    assert!(!catalog.delete_tag(repository, &"never".parse().unwrap()).await.unwrap());
    let wait = JobState::Waiting;
    assert_eq!(states().await, [JobState::Running, JobState::Cancel, wait, wait, wait], "jobs of other tags stay");
    let beat = catalog.heartbeat(running.id, running.attempt, LEASE_MS, crate::Progress::default()).await.unwrap();
    assert!(beat.owner && beat.cancel_requested);
    // An owner that did not hear of it in time cannot report that the tag is there.
    assert!(!catalog.note_target(running.id, running.attempt, &TargetBefore::Absent).await.unwrap());
    for state in [JobState::Success, JobState::Existed] {
        assert!(!catalog.finish_job(running.id, running.attempt, state, None).await.unwrap());
    }
    assert!(catalog.finish_job(running.id, running.attempt, JobState::Cancel, None).await.unwrap());

    // A manifest takes its tags along.
    assert!(catalog.delete_manifest(repository, &digest).await.unwrap());
    assert_eq!(states().await, [JobState::Cancel, JobState::Cancel, JobState::Cancel, wait, wait]);
    let reason = catalog.find_jobs(&ids[2..3]).await.unwrap()[0].last_error.clone();
    assert_eq!(reason.as_deref(), Some("cancelled: its tag was deleted"));
}

/// A job is claimed while its tag is deleted: whichever commits first, the other sees it.
pub(super) async fn a_job_that_is_claimed_while_its_tag_is_deleted_is_cancelled(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let repository = fixture.repository.id;
    image(&catalog, repository, "one", "v1").await;
    let ids = catalog.enqueue_jobs(&[new_job(&fixture, "v1")], 10).await.unwrap();
    let mut claim = catalog.begin().await.unwrap();
    let sql = "UPDATE job SET state = 'running', attempt = 1, lease_until = {now} + 10000 WHERE id = $1";
    claim.execute(claim.query(sql).bind(ids[0])).await.unwrap();
    let deletion = {
        let catalog = catalog.clone();
        tokio::spawn(async move { catalog.delete_tag(repository, &"v1".parse().unwrap()).await })
    };
    // Until it waits for the claim.
    pause(500).await;
    claim.commit().await.unwrap();
    assert!(deletion.await.unwrap().unwrap());
    let job = catalog.find_jobs(&ids).await.unwrap().pop().unwrap();
    assert_eq!((job.state, job.cancel_requested), (JobState::Running, true));
}

/// What a run has noted holds for the digest that it wrote: a run for another digest has written nothing yet.
pub(super) async fn a_note_goes_with_its_digest(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let ids = catalog.enqueue_jobs(&[new_job(&fixture, "v1")], 10).await.unwrap();
    let job = catalog.claim_jobs("me", LEASE_MS, 1, 1).await.unwrap().pop().unwrap();
    let (one, two) = (super::digest("one"), super::digest("two"));
    let noted = async |digest| {
        assert!(catalog.pin_digest(job.id, job.attempt, digest).await.unwrap());
        catalog.find_jobs(&ids).await.unwrap().pop().unwrap().target_before
    };
    assert_eq!(noted(&one).await, None);
    assert!(catalog.note_target(job.id, job.attempt, &TargetBefore::Absent).await.unwrap());
    assert_eq!(noted(&one).await, Some(TargetBefore::Absent));
    assert_eq!(noted(&two).await, None);
}

/// A run wrote the tag and lost the answer. The job that supersedes it takes over what it noted.
pub(super) async fn a_superseded_job_hands_its_note_on(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let repository = fixture.repository.id;
    image(&catalog, repository, "one", "v1").await;
    let job = new_job(&fixture, "v1");
    let other = NewJob { target_region: "south".to_owned(), ..job.clone() };
    let first = catalog.enqueue_jobs(std::slice::from_ref(&job), 10).await.unwrap();
    let claimed = catalog.claim_jobs("me", LEASE_MS, 1, 1).await.unwrap().pop().unwrap();
    let twins = catalog.enqueue_jobs(&[job, other], 10).await.unwrap();
    assert_ne!(twins[0], first[0]);
    assert!(catalog.pin_digest(claimed.id, claimed.attempt, &super::digest("one")).await.unwrap());
    assert!(catalog.note_target(claimed.id, claimed.attempt, &TargetBefore::Absent).await.unwrap());
    assert!(catalog.postpone_job(claimed.id, claimed.attempt, 60_000, "the answer was lost").await.unwrap());
    let found = catalog.find_jobs(&[first[0], twins[0], twins[1]]).await.unwrap();
    assert_eq!(found.iter().map(|job| job.state).collect::<Vec<_>>()[..2], [JobState::Cancel, JobState::Waiting]);
    assert_eq!(found[1].target_before, Some(TargetBefore::Absent));
    assert_eq!(found[1].digest, Some(super::digest("one").to_string()));
    assert_eq!((&found[2].target_before, &found[2].digest), (&None, &None), "another copy");
    // So that it is taken back with the tag.
    assert!(catalog.delete_tag(repository, &"v1".parse().unwrap()).await.unwrap());
    let found = catalog.find_jobs(&twins).await.unwrap();
    assert_eq!((found[0].state, found[0].cancel_requested), (JobState::Running, true));
    assert_eq!(found[1].state, JobState::Cancel);
}

pub(super) async fn jobs_that_wrote_their_tag_take_it_back(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let repository = fixture.repository.id;
    let digest = image(&catalog, repository, "one", "v1").await;
    image(&catalog, repository, "two", "v2").await;
    let jobs = ["v1", "v2"].map(|tag| new_job(&fixture, tag));
    let ids = catalog.enqueue_jobs(&jobs, 10).await.unwrap();
    let noted = [TargetBefore::Absent, TargetBefore::Digest(digest)];
    for (job, before) in catalog.claim_jobs("me", LEASE_MS, 2, 2).await.unwrap().into_iter().zip(&noted) {
        assert_eq!(job.target_before, None);
        assert!(!catalog.note_target(job.id, job.attempt + 1, before).await.unwrap(), "fenced");
        assert!(catalog.note_target(job.id, job.attempt, before).await.unwrap());
        assert!(catalog.retry_job(job.id, job.attempt, 60_000, "the answer was lost").await.unwrap());
    }
    // They wait, but may have written to the target: somebody has to look, at once.
    assert!(catalog.delete_tag(repository, &"v1".parse().unwrap()).await.unwrap());
    assert!(catalog.delete_repository(repository).await.unwrap());
    let again = catalog.claim_jobs("me", LEASE_MS, 10, 10).await.unwrap();
    assert_eq!(again.iter().map(|job| job.id).collect::<Vec<_>>(), ids);
    for (job, before) in again.iter().zip(noted) {
        assert_eq!((job.cancel_requested, job.target_before.clone()), (true, Some(before)));
    }
}

pub(super) async fn old_jobs_are_pruned(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let ids = catalog.enqueue_jobs(&["v1", "v2", "v3"].map(|tag| new_job(&fixture, tag)), 10).await.unwrap();
    for job in catalog.claim_jobs("me", LEASE_MS, 2, 2).await.unwrap() {
        catalog.finish_job(job.id, job.attempt, JobState::Success, None).await.unwrap();
        pause(10).await;
    }
    let older = "UPDATE job SET updated_at = updated_at - 3600000 WHERE id = $1";
    catalog.write(|| catalog.query(older).bind(ids[0])).await.unwrap();
    for (kept_ms, pruned) in [(i64::MAX, 0), (7_200_000, 0), (1_800_000, 1), (0, 1)] {
        assert_eq!(catalog.prune_jobs(kept_ms).await.unwrap(), pruned, "open ones stay, {kept_ms}");
    }
    let left = catalog.find_jobs(&ids).await.unwrap();
    assert_eq!(left.iter().map(|job| job.id).collect::<Vec<_>>(), [ids[2]]);
}
