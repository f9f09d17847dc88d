use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use transship_catalog::{CatalogError, Job, JobState};
use transship_client::{ClientSettings, RegistryClient};
use transship_oci::{Digest, DigestAlgorithm};

use super::runner::pause_after;
use crate::access::policy::Principal;
use crate::error::ServiceError;
use crate::replication::calls::SyncImages;
use crate::replication::copy::JobError;
use crate::settings::Settings;
use crate::testing::{TestRegion, name, settings};

#[test]
fn pauses_double_and_stop_growing() {
    let pauses: Vec<u128> = (0..9).map(|failures| pause_after(failures).as_millis()).collect();
    assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    assert_eq!(pause_after(i64::MAX), Duration::from_secs(30));
}

/// A region whose calls do not wait, with an image, another organization, and a peer at an address where nobody listens.
async fn region(change: impl FnOnce(&mut Settings)) -> TestRegion {
    let mut settings = settings("region-a");
    settings.sync_wait = Duration::ZERO;
    settings.peers = vec![TestRegion::start("region-b").await.as_peer("http://127.0.0.1:1")];
    change(&mut settings);
    let region = TestRegion::start_with(settings).await;
    region.namespace("group").await;
    region.namespace("copies").await;
    region.push_image(&name("group/app"), "v1", b"layer").await;
    region
}

fn call(region: &str) -> SyncImages {
    SyncImages {
        tags: vec!["v1".parse().unwrap()],
        region: region.to_owned(),
        namespace: "copies".parse().unwrap(),
        override_existing: false,
    }
}

async fn ask(region: &TestRegion, user: &Principal, target: &str) -> i64 {
    let app = name("group/app");
    region.registry.replication().sync_images(user, &app, call(target)).await.unwrap();
    region.registry.replication().list_jobs(&region.admin, &app, 1, 0, true).await.unwrap().0[0].id
}

async fn job(region: &TestRegion, id: i64) -> Job {
    region.registry.catalog().find_jobs(&[id]).await.unwrap().pop().unwrap()
}

/// Waits until something is true of a job. If it never is, the time limit of the test runner ends the test.
async fn until(region: &TestRegion, id: i64, is: impl Fn(&Job) -> bool) -> Job {
    loop {
        let job = job(region, id).await;
        if is(&job) {
            return job;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A user that may do everything.
async fn colleague(region: &TestRegion, name: &str) -> Principal {
    region.registry.identity().create_user("demo", name, None, true).await.unwrap().into()
}

#[tokio::test]
async fn a_job_asked_for_again_does_not_fail_for_the_user_who_asked_first() {
    let region = region(|_| ()).await;
    let (alice, bob) = (colleague(&region, "alice").await, colleague(&region, "bob").await);
    let asked = ask(&region, &alice, "region-a").await;
    region.registry.identity().set_user_enabled(&alice.user_id, false).await.unwrap();
    assert_eq!(ask(&region, &bob, "region-a").await, asked);
    drop(region.registry.start_workers(CancellationToken::new()).await.unwrap());
    let job = until(&region, asked, |job| job.state.is_final()).await;
    assert_eq!((job.state, job.operator_name.as_str()), (JobState::Success, "bob"), "{:?}", job.last_error);
}

#[tokio::test]
async fn a_target_that_is_away_uses_up_no_tries() {
    let region = region(|settings| settings.max_attempts = 1).await;
    drop(region.registry.start_workers(CancellationToken::new()).await.unwrap());
    let asked = ask(&region, &region.admin, "region-b").await;
    let job = until(&region, asked, |job| job.away >= 3 || job.state.is_final()).await;
    assert_eq!((job.state.is_final(), job.failures), (false, 0), "{:?}", job.last_error);
    assert!(job.last_error.unwrap().to_lowercase().contains("refused"));
}

/// The address of a server that answers every request with this status and `Retry-After`.
async fn busy(status: &'static str, retry_after_seconds: u32) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = format!(
        "HTTP/1.1 {status}\r\nRetry-After: {retry_after_seconds}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = Vec::new();
                // The request is complete at its first closing brace, which ends the body.
                while !request.ends_with(b"}") && connection.read_buf(&mut request).await.is_ok_and(|read| read > 0) {}
                connection.write_all(answer.as_bytes()).await.unwrap();
                connection.shutdown().await.unwrap();
            });
        }
    });
    url
}

#[tokio::test]
async fn a_target_that_is_busy_uses_up_no_tries_and_gets_the_pause_that_it_asks_for() {
    for status in ["503 Service Unavailable", "429 Too Many Requests"] {
        let url = busy(status, 1).await;
        let region = region(|settings| {
            settings.max_attempts = 1;
            settings.peers[0].url = url;
        });
        let region = region.await;
        drop(region.registry.start_workers(CancellationToken::new()).await.unwrap());
        let asked = ask(&region, &region.admin, "region-b").await;
        let job = until(&region, asked, |job| job.away >= 2 || job.state.is_final()).await;
        assert_eq!((job.state.is_final(), job.failures), (false, 0), "{:?}", job.last_error);
        assert!(job.last_error.unwrap().contains(&status[..3]));
        assert!(job.spent_ms >= 2000, "two pauses of a second each: {}", job.spent_ms);
    }
    let url = busy("503 Service Unavailable", 600).await;
    let region = region(|settings| settings.peers[0].url = url).await;
    drop(region.registry.start_workers(CancellationToken::new()).await.unwrap());
    let asked = ask(&region, &region.admin, "region-b").await;
    until(&region, asked, |job| job.away == 1).await;
    let next_ms = region.registry.catalog().next_run_at().await.unwrap().unwrap();
    assert!((540_000..=600_000).contains(&next_ms), "{next_ms}");
}

#[tokio::test]
async fn silence_is_no_failure_either() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let quick = ClientSettings { idle_timeout: Duration::from_millis(50), ..ClientSettings::new(url) };
    let client = RegistryClient::new(&quick).unwrap();
    let error = client.head_blob(&name("group/app"), &Digest::of(DigestAlgorithm::Sha256, b"")).await.unwrap_err();
    let error = JobError::from(error);
    assert!(matches!(&error, JobError::Away(Duration::ZERO, reason) if reason.contains("no byte moved")), "{error:?}");
}

#[test]
fn a_catalog_that_is_busy_is_no_failure_either() {
    let error = JobError::from(ServiceError::from(CatalogError::Busy));
    assert!(matches!(error, JobError::Away(Duration::ZERO, _)), "{error:?}");
}

#[tokio::test]
async fn a_target_that_stays_away_is_given_up_at_the_deadline() {
    let region = region(|settings| settings.job_timeout = Duration::from_millis(900)).await;
    drop(region.registry.start_workers(CancellationToken::new()).await.unwrap());
    let asked = ask(&region, &region.admin, "region-b").await;
    let job = until(&region, asked, |job| job.state.is_final()).await;
    let reason = job.last_error.unwrap().to_lowercase();
    assert_eq!(job.state, JobState::Timeout, "{reason}");
    assert!(reason.contains("of its own time") && reason.contains("refused"), "{reason}");
}

#[tokio::test]
async fn time_behind_others_is_not_the_jobs_own() {
    let region = region(|settings| settings.job_timeout = Duration::from_secs(1)).await;
    let asked = ask(&region, &region.admin, "region-a").await;
    // No jobs run yet, as if other jobs had all the slots.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    drop(region.registry.start_workers(CancellationToken::new()).await.unwrap());
    let job = until(&region, asked, |job| job.state.is_final()).await;
    assert_eq!(job.state, JobState::Success, "{:?}", job.last_error);
}

#[tokio::test]
async fn jobs_of_a_deleted_repository_are_read_by_administrators() {
    let region = region(|_| ()).await;
    let app = name("group/app");
    let reader = region.user("reader").await;
    let asked = ask(&region, &region.admin, "region-b").await;
    region.registry.content().delete_repository(&region.admin, &app).await.unwrap();
    let list = async |user: &Principal, name| region.registry.replication().list_jobs(user, &name, 10, 0, true).await;
    let (jobs, total, _) = list(&region.admin, app.clone()).await.unwrap();
    assert_eq!((jobs[0].id, jobs[0].state, total), (asked, JobState::Cancel, 1));
    let refused = list(&reader, app.clone()).await.unwrap_err();
    assert!(matches!(refused, ServiceError::Denied(_)), "{refused}");
    let never = list(&region.admin, name("group/never")).await.unwrap_err();
    assert!(matches!(never, ServiceError::RepositoryAbsent(_)), "{never}");
    // Another repository gets the name: one list has the jobs of both.
    region.push_image(&app, "v1", b"layer").await;
    let again = ask(&region, &region.admin, "region-b").await;
    let (jobs, total, _) = list(&region.admin, app.clone()).await.unwrap();
    assert_eq!((jobs.iter().map(|job| job.id).collect::<Vec<_>>(), total), (vec![again, asked], 2));
    region.registry.content().delete_repository(&region.admin, &app).await.unwrap();
    // The organization may be gone as well.
    region.registry.content().delete_namespace(&region.admin, app.namespace()).await.unwrap();
    assert_eq!(list(&region.admin, app.clone()).await.unwrap().1, 2);
    let refused = list(&reader, app).await.unwrap_err();
    assert!(matches!(refused, ServiceError::NamespaceAbsent { .. }), "{refused}");
}
