use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

use super::super::Progress;
use super::*;
use crate::replication::calls::SyncImages;
use crate::settings::Settings;
use crate::testing::{TestRegion, name, pull, settings};

/// A region whose calls do not wait, and whose jobs nobody runs yet.
async fn region(change: impl FnOnce(&mut Settings)) -> TestRegion {
    let mut settings = settings("region-a");
    settings.sync_wait = Duration::ZERO;
    change(&mut settings);
    let region = TestRegion::start_with(settings).await;
    region.namespace("group").await;
    region.namespace("copies").await;
    region
}

async fn ask(region: &TestRegion, target: &str, override_existing: bool) {
    let call = SyncImages {
        tags: vec!["v1".parse().unwrap()],
        region: target.to_owned(),
        namespace: "copies".parse().unwrap(),
        override_existing,
    };
    region.registry.replication().sync_images(&region.admin, &name("group/app"), call).await.unwrap();
}

/// Claims a job for an owner that dies at once.
async fn claim(region: &TestRegion) -> Job {
    tokio::time::sleep(Duration::from_millis(20)).await;
    region.registry.catalog().claim_jobs("the dead", 1, 1, 10).await.unwrap().pop().expect("a job is due")
}

async fn run(region: &TestRegion, job: &Job) -> JobState {
    region.registry.replication().run_copy(job, &Progress::default()).await.unwrap()
}

async fn copied(region: &TestRegion) -> Option<Digest> {
    let found = region.registry.content().find_manifest(pull(&name("copies/app")), &"v1".parse().unwrap()).await;
    found.ok().map(|manifest| manifest.digest.clone())
}

async fn row(region: &TestRegion, id: i64) -> Job {
    region.registry.catalog().find_jobs(&[id]).await.unwrap().pop().unwrap()
}

async fn ended(region: &TestRegion, id: i64) -> Job {
    loop {
        let job = row(region, id).await;
        if job.state.is_final() {
            return job;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The first run wrote the tag but could not report it. The tag is the job's own, whatever the source's tag is now.
#[tokio::test]
async fn a_run_takes_back_what_an_earlier_one_wrote_of_another_digest() {
    for override_existing in [false, true] {
        let region = region(|_| ()).await;
        let before =
            if override_existing { Some(region.push_image(&name("copies/app"), "v1", b"before").await) } else { None };
        let first = region.push_image(&name("group/app"), "v1", b"first").await;
        ask(&region, "region-a", override_existing).await;
        let job = claim(&region).await;
        assert_eq!(run(&region, &job).await, JobState::Success);
        assert_eq!(copied(&region).await, Some(first));
        let second = region.push_image(&name("group/app"), "v1", b"second").await;
        let again = claim(&region).await;
        assert_eq!(again.id, job.id);
        assert_eq!(run(&region, &again).await, JobState::Success, "override: {override_existing}");
        assert_eq!(copied(&region).await, Some(second));
        // When the job is cancelled, the target is again as it was before the job.
        region.registry.content().delete_tag(&region.admin, &name("group/app"), &"v1".parse().unwrap()).await.unwrap();
        drop(region.registry.start_workers(CancellationToken::new()).await.unwrap());
        assert_eq!(ended(&region, job.id).await.state, JobState::Cancel);
        assert_eq!(copied(&region).await, before);
    }
}

#[tokio::test]
async fn what_an_earlier_run_wrote_of_another_digest_does_not_count_as_sent() {
    let region = region(|_| ()).await;
    let first = region.push_image(&name("group/app"), "v1", b"first").await;
    ask(&region, "region-a", false).await;
    let job = claim(&region).await;
    let catalog = region.registry.catalog();
    assert!(catalog.pin_digest(job.id, job.attempt, &first).await.unwrap());
    assert!(catalog.note_target(job.id, job.attempt, &TargetBefore::Absent).await.unwrap());
    // That write was lost, and somebody else has pushed the source's current image to the target.
    for repository in ["group/app", "copies/app"] {
        region.push_image(&name(repository), "v1", b"second").await;
    }
    assert_eq!(run(&region, &claim(&region).await).await, JobState::Existed);
    assert_eq!(row(&region, job.id).await.target_before, None);
}

#[tokio::test]
async fn a_job_of_a_deleted_repository_leaves_the_tag_of_the_one_that_was_made_again() {
    for is_same_image in [true, false] {
        let region = region(|_| ()).await;
        let app = name("group/app");
        let old = region.push_image(&app, "v1", b"layer").await;
        ask(&region, "region-a", false).await;
        assert_eq!(run(&region, &claim(&region).await).await, JobState::Success);
        region.registry.content().delete_repository(&region.admin, &app).await.unwrap();
        let new = region.push_image(&app, "v1", if is_same_image { b"layer" } else { b"other" }).await;
        assert_eq!(new == old, is_same_image);
        ask(&region, "region-a", false).await;
        let cancelled = claim(&region).await;
        assert!(cancelled.cancel_requested && cancelled.repository_id == 0);
        region.registry.replication().withdraw(&cancelled).await.unwrap();
        assert_eq!(copied(&region).await, Some(old).filter(|_| is_same_image));
        let catalog = region.registry.catalog();
        assert!(catalog.finish_job(cancelled.id, cancelled.attempt, JobState::Cancel, None).await.unwrap());
        let expected = if is_same_image { JobState::Existed } else { JobState::Success };
        assert_eq!(run(&region, &claim(&region).await).await, expected);
        assert_eq!(copied(&region).await, Some(new));
    }
}

/// A target that finishes a write which it has begun, whether or not the source waits for the answer.
#[derive(Default)]
struct SlowTarget {
    done: Mutex<Vec<&'static str>>,
    put_arrived: Notify,
    put_may_end: Notify,
}

impl SlowTarget {
    /// Serves at the address that is returned.
    async fn start() -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let target = Arc::new(Self::default());
        let serving = Arc::clone(&target);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&serving).answer(stream));
            }
        });
        (target, url)
    }

    async fn answer(self: Arc<Self>, mut stream: TcpStream) {
        let Some(line) = read_request(&mut stream).await else { return };
        let (status, body) = if line.contains("/transship/v1/token") {
            ("200 OK", r#"{"token":"t","expires_in":300}"#)
        } else if line.contains("/transship/v1/prepare") {
            ("200 OK", r#"{"tag_digest":null,"missing_blobs":[],"missing_manifests":[]}"#)
        } else if line.contains("/transship/v1/withdraw") {
            self.done.lock().await.push("withdraw");
            ("200 OK", r#"{"withdrawn":true}"#)
        } else if line.starts_with("PUT ") {
            self.put_arrived.notify_one();
            self.put_may_end.notified().await;
            self.done.lock().await.push("put");
            ("201 Created", "")
        } else {
            ("404 Not Found", "")
        };
        let length = body.len();
        let reply = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        // The source may have gone.
        drop(stream.write_all(reply.as_bytes()).await);
    }
}

/// Reads a whole request; returns its first line.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            if bytes.len() >= end + 4 + length {
                return String::from_utf8_lossy(&bytes).lines().next().map(str::to_owned);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

#[tokio::test]
async fn a_job_that_is_cancelled_while_it_writes_the_tag_takes_it_back_afterwards() {
    let (target, url) = SlowTarget::start().await;
    let peer = TestRegion::start("region-b").await.as_peer(&url);
    let region = region(|settings| settings.peers = vec![peer]).await;
    let app = name("group/app");
    region.push_image(&app, "v1", b"layer").await;
    drop(region.registry.start_workers(CancellationToken::new()).await.unwrap());
    ask(&region, "region-b", false).await;
    target.put_arrived.notified().await;
    region.registry.content().delete_tag(&region.admin, &app, &"v1".parse().unwrap()).await.unwrap();
    // Long enough for the next sign of life, which brings the cancellation.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let job = region.registry.replication().list_jobs(&region.admin, &app, 1, 0, true).await.unwrap().0.pop().unwrap();
    assert_eq!((job.state, target.done.lock().await.len()), (JobState::Running, 0));
    target.put_may_end.notify_one();
    assert_eq!(ended(&region, job.id).await.state, JobState::Cancel);
    assert_eq!(*target.done.lock().await, ["put", "withdraw"]);
}
