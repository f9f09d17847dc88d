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
