use std::time::Duration;

use tokio::time::Instant;
use transship_catalog::{JobState, NewJob};

use super::PAGE;
use crate::testing::{TestRegion, name};

/// More jobs than are read at once; a few of them, spread over the list, have ended.
#[tokio::test]
async fn the_states_of_many_jobs_are_read_by_pages() {
    const JOBS: usize = 2 * PAGE + PAGE / 2;
    const ENDED: [usize; 4] = [0, PAGE - 1, PAGE, JOBS - 1];
    let region = TestRegion::start("region-a").await;
    region.namespace("group").await;
    let app = name("group/app");
    region.push_image(&app, "v1", b"layer").await;
    let catalog = region.registry.catalog();
    let repository_id = catalog.find_repository(&app).await.unwrap().unwrap().id;
    let job = |number: usize| NewJob {
        account_id: region.admin.account_id.clone(),
        repository_id,
        namespace: "group".to_owned(),
        repository: "app".to_owned(),
        tag: format!("v{number}"),
        // A region of their own, so that just these are claimed there.
        target_region: if ENDED.contains(&number) { "region-c" } else { "region-b" }.to_owned(),
        target_namespace: "copies".to_owned(),
        override_existing: false,
        operator_id: region.admin.user_id.clone(),
        operator_name: region.admin.user_name.clone(),
    };
    let jobs: Vec<NewJob> = (0..JOBS).map(job).collect();
    let ids = catalog.enqueue_jobs(&jobs, 10_000).await.unwrap();
    let claimed = catalog.claim_jobs("me", 600_000, 2 * ENDED.len(), ENDED.len()).await.unwrap();
    let mut expected = vec![JobState::Waiting; JOBS];
    for job in claimed {
        let place = ids.iter().position(|id| *id == job.id).unwrap();
        assert_eq!(job.tag, format!("v{place}"), "the numbers are in the order of the tags");
        expected[place] = JobState::Running;
        if job.target_region == "region-c" {
            let state = if place < PAGE { JobState::Success } else { JobState::Failed };
            assert!(catalog.finish_job(job.id, job.attempt, state, None).await.unwrap());
            expected[place] = state;
        }
    }
    for place in ENDED {
        assert!(expected[place].is_final(), "{place}");
    }
    // Two rounds or more, the later ones over those that are open.
    let states =
        region.registry.replication().wait_for_jobs(&ids, Instant::now() + Duration::from_millis(300)).await.unwrap();
    assert_eq!(ids.iter().map(|id| states[id]).collect::<Vec<_>>(), expected);
}

/// A call whose job gives way to one that was asked for later goes on waiting, for that one.
#[tokio::test]
async fn whoever_waits_for_a_superseded_job_waits_for_the_newer_one() {
    let region = TestRegion::start("region-a").await;
    region.namespace("group").await;
    let app = name("group/app");
    region.push_image(&app, "v1", b"layer").await;
    let catalog = region.registry.catalog();
    let job = NewJob {
        account_id: region.admin.account_id.clone(),
        repository_id: catalog.find_repository(&app).await.unwrap().unwrap().id,
        namespace: "group".to_owned(),
        repository: "app".to_owned(),
        tag: "v1".to_owned(),
        target_region: "region-b".to_owned(),
        target_namespace: "copies".to_owned(),
        override_existing: false,
        operator_id: region.admin.user_id.clone(),
        operator_name: region.admin.user_name.clone(),
    };
    let claim = async || catalog.claim_jobs("me", 600_000, 1, 1).await.unwrap().pop().unwrap();
    let mut asked = Vec::new();
    for _ in 0..3 {
        asked.extend(catalog.enqueue_jobs(std::slice::from_ref(&job), 10).await.unwrap());
        if asked.len() > 1 {
            let running = asked[asked.len() - 2];
            assert!(catalog.retry_job(running, 1, 0, "the target is away").await.unwrap());
        }
        assert_eq!(claim().await.id, asked[asked.len() - 1]);
    }
    let replication = region.registry.replication();
    let states = replication.wait_for_jobs(&asked, Instant::now() + Duration::from_secs(1)).await.unwrap();
    assert!(states.values().all(|state| !state.is_final()), "{states:?}");
    let last = asked[asked.len() - 1];
    assert!(catalog.finish_job(last, 1, JobState::Success, None).await.unwrap());
    let states = replication.wait_for_jobs(&asked, Instant::now() + Duration::from_secs(30)).await.unwrap();
    assert_eq!(asked.iter().map(|id| states.get(id)).collect::<Vec<_>>(), vec![Some(&JobState::Success); asked.len()]);
}
