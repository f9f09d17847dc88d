//! `sync_images` for what is in the target already, or was: only what is missing there is sent, and all of that; and tags
//! that go away at either end while a job runs.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use transship_tests::image::{self, Image};
use transship_tests::manage::{Sync, repository_path};
use transship_tests::pair::{GROUP, Pair, PairSettings, SDSAD, SOURCE};
use transship_tests::random::Random;
use transship_tests::registry::Repository;
use transship_tests::wan::WanSettings;
use transship_tests::{http, wait};

const HERE: &str = "group/app";
const THERE: &str = "sdsad/app";
const LIMIT: Duration = Duration::from_mins(2);

fn image(seed: u64) -> Image {
    Image::random(&mut Random::seeded(seed), 2, 20_000)
}

/// A link on which a request is under way for so long that a test can act meanwhile.
fn far() -> PairSettings {
    PairSettings::default().over(WanSettings { delay_ms: 1500, ..WanSettings::default() })
}

async fn push(pair: &Pair, tags: &[(&str, &Image)]) {
    let repository = pair.source_registry().open(HERE, "pull,push").await;
    for (tag, image) in tags {
        repository.push(tag, image).await;
    }
}

/// Wants the call to list nothing, and gives back how its job ended.
async fn sync(pair: &Pair, sync: &Sync<'_>) -> String {
    assert_eq!(pair.manage().sync(GROUP, "app", sync).await, [""; 0]);
    pair.manage().job_status(GROUP, "app", sync.tags[0]).await.expect("the call made a job")
}

/// What the target region was asked, as lines of its access log.
fn asked(pair: &Pair, what: &[&str]) -> usize {
    let log = pair.target.log();
    log.lines().filter(|line| what.iter().all(|what| line.contains(what))).count()
}

async fn delete(repository: &Repository, reference: &str) {
    http::send(repository.request(Method::DELETE, &format!("manifests/{reference}"))).await.expect(202);
}

async fn delete_source_tag(pair: &Pair, tag: &str) {
    let path = format!("{}/tags/{tag}", repository_path(GROUP, "app"));
    pair.manage().call("DELETE", &path, None).await.expect(204);
}

/// A tag of the target as the management API shows it.
async fn target_tag(pair: &Pair, tag: &str) -> Value {
    let path = format!("{}/tags", repository_path(SDSAD, "app"));
    let tags = pair.target.manage(&pair.admin).call("GET", &path, None).await.expect(200).json();
    let found = tags.as_array().and_then(|tags| tags.iter().find(|found| found["Tag"] == tag));
    found.unwrap_or_else(|| panic!("no tag {tag} in {tags}")).clone()
}

async fn target_digest(pair: &Pair, tag: &str) -> Option<String> {
    pair.target_registry().tag_digest(THERE, tag).await
}

#[tokio::test]
async fn a_child_that_the_target_has_lost_is_sent_again() {
    let pair = Pair::start(PairSettings::default()).await;
    let index = Image::index(vec![image(1), image(2), image(3)]);
    push(&pair, &[("multi", &index)]).await;
    assert_eq!(sync(&pair, &Sync::of(&["multi"])).await, "success");
    let whole = pair.target_registry().pull(THERE, "multi").await;
    let there = pair.target_registry().open(THERE, "pull,push,delete").await;
    delete(&there, &index.children[1].digest()).await;
    assert_eq!(sync(&pair, &Sync::of(&["multi"])).await, "success");
    assert_eq!(pair.target_registry().pull(THERE, "multi").await, whole);

    // Where nothing is missing one question is all.
    let (before, prepared) = (asked(&pair, &["/v2/sdsad/app/"]), asked(&pair, &["/transship/v1/prepare"]));
    assert_eq!(sync(&pair, &Sync::of(&["multi"])).await, "existed");
    assert_eq!(asked(&pair, &["/v2/sdsad/app/"]), before, "the registry was asked for something");
    assert_eq!(asked(&pair, &["/transship/v1/prepare"]), prepared + 1);
}

#[tokio::test]
async fn a_blob_in_quarantine_is_sent_again() {
    let mut settings = PairSettings::default();
    settings.source.sections.push("[scrub]\nbytes_per_second = 0\nrepair_interval_seconds = 86400".to_owned());
    let rounds = "[scrub]\nbytes_per_second = 1000000000\ninterval_seconds = 1\nrepair_interval_seconds = 86400";
    settings.target.sections.push(rounds.to_owned());
    let mut pair = Pair::start(settings).await;
    let image = image(4);
    push(&pair, &[("v1", &image)]).await;
    assert_eq!(sync(&pair, &Sync::of(&["v1"])).await, "success");
    // With the source away it cannot be asked for the bytes, and it is not asked again within a day.
    pair.source.terminate().await;
    let layer = &image.blobs[1];
    let file = pair.target.blob_files().into_iter().find(|file| std::fs::read(file).is_ok_and(|found| found == *layer));
    std::fs::write(file.expect("a file holds it"), b"rot").expect("the file is writable");
    let there = pair.target_registry().open(THERE, "pull").await;
    let path = format!("blobs/{}", image::digest(layer));
    let gone = || async {
        let reply = http::try_send(there.request(Method::HEAD, &path)).await.ok()?;
        (reply.status == 404).then_some(())
    };
    wait::until("the layer to be out of service", LIMIT, gone).await;
    let given_up = || async { (asked(&pair, &["no peer could repair the blob"]) > 0).then_some(()) };
    wait::until("the target to have asked its peer in vain", LIMIT, given_up).await;
    pair.source.start().await;
    assert_eq!(sync(&pair, &Sync::of(&["v1"])).await, "success");
    assert_eq!(pair.target_registry().pull(THERE, "v1").await, pair.source_registry().pull(HERE, "v1").await);
    assert_eq!(sync(&pair, &Sync::of(&["v1"])).await, "existed");
}

#[tokio::test]
async fn a_signature_that_came_later_travels_and_leaves_the_tag_alone() {
    let pair = Pair::start(PairSettings::default()).await;
    let image = image(5);
    push(&pair, &[("v1", &image)]).await;
    assert_eq!(sync(&pair, &Sync::of(&["v1"])).await, "success");
    let tag = target_tag(&pair, "v1").await;

    let by_subject = Image::signature_of(&image, b"signed");
    push(&pair, &[(&by_subject.digest(), &by_subject)]).await;
    assert_eq!(sync(&pair, &Sync::of(&["v1"])).await, "success");
    let there = pair.target_registry().open(THERE, "pull").await;
    assert_eq!(there.referrers(&image.digest()).await, [by_subject.digest()]);
    assert_eq!(sync(&pair, &Sync::of(&["v1"])).await, "existed");

    // As cosign keeps it, and then a second signature, which moves that tag.
    let signature_tag = image.digest().replace(':', "-") + ".sig";
    let (one, two) = (Image::of(vec![b"one".to_vec()]), Image::of(vec![b"one".to_vec(), b"two".to_vec()]));
    push(&pair, &[(&signature_tag, &one)]).await;
    assert_eq!(sync(&pair, &Sync::of(&["v1"])).await, "success");
    assert_eq!(target_digest(&pair, &signature_tag).await, Some(one.digest()));
    push(&pair, &[(&signature_tag, &two)]).await;
    sync(&pair, &Sync::of(&["v1"])).await;
    assert_eq!(target_digest(&pair, &signature_tag).await, Some(one.digest()), "override is false");
    assert_eq!(sync(&pair, &Sync::of(&["v1"]).replacing()).await, "success");
    assert_eq!(target_digest(&pair, &signature_tag).await, Some(two.digest()));
    assert_eq!(sync(&pair, &Sync::of(&["v1"]).replacing()).await, "existed");
    assert_eq!(target_tag(&pair, "v1").await, tag, "the image's own tag was written");
}

#[tokio::test]
async fn an_image_of_the_own_region_is_made_whole_in_the_same_way() {
    let pair = Pair::start(PairSettings::default()).await;
    let index = Image::index(vec![image(6), image(7)]);
    push(&pair, &[("multi", &index)]).await;
    pair.manage().create_namespace("copies").await;
    let here = Sync { region: SOURCE, namespace: "copies", ..Sync::of(&["multi"]) };
    assert_eq!(sync(&pair, &here).await, "success");
    delete(&pair.source_registry().open("copies/app", "pull,push,delete").await, &index.children[0].digest()).await;
    let signature = Image::signature_of(&index, b"signed");
    push(&pair, &[(&signature.digest(), &signature)]).await;
    assert_eq!(sync(&pair, &here).await, "success");
    let copies = pair.source_registry().open("copies/app", "pull").await;
    assert_eq!(copies.pull("multi").await, pair.source_registry().pull(HERE, "multi").await);
    assert_eq!(copies.referrers(&index.digest()).await, [signature.digest()]);
    assert_eq!(sync(&pair, &here).await, "existed");
}

#[tokio::test]
async fn a_tag_on_a_sha512_manifest_arrives_under_the_same_digest() {
    let pair = Pair::start(PairSettings::default()).await;
    let (old, new) = (image(8), image(9));
    let here = pair.source_registry().open(HERE, "pull,push").await;
    for image in [&old, &new] {
        here.push("sha256", image).await;
    }
    let push = async |image: &Image| {
        let digest = image::sha512_digest(&image.raw);
        here.put_manifest(&format!("{digest}?tag=v1"), image.media_type, &image.raw).await.expect(201);
        digest
    };
    let first = push(&old).await;
    assert_eq!(sync(&pair, &Sync::of(&["v1"])).await, "success");
    assert_eq!(target_digest(&pair, "v1").await, Some(first.clone()));
    assert_eq!(sync(&pair, &Sync::of(&["v1"])).await, "existed");
    let second = push(&new).await;
    assert_eq!(pair.manage().sync(GROUP, "app", &Sync::of(&["v1"])).await, ["v1"], "override is false");
    assert_eq!(target_digest(&pair, "v1").await, Some(first));
    assert_eq!(sync(&pair, &Sync::of(&["v1"]).replacing()).await, "success");
    assert_eq!(target_digest(&pair, "v1").await, Some(second.clone()));
    // Nothing of it is there under a digest that nobody pushed.
    let there = pair.target_registry().open(THERE, "pull").await;
    let reply = http::send(there.request(Method::HEAD, &format!("manifests/{}", new.digest()))).await;
    assert_eq!(reply.status, 404);
    // The own region does the same.
    pair.manage().create_namespace("copies").await;
    assert_eq!(sync(&pair, &Sync { region: SOURCE, namespace: "copies", ..Sync::of(&["v1"]) }).await, "success");
    assert_eq!(pair.source_registry().tag_digest("copies/app", "v1").await, Some(second));
}

#[tokio::test]
async fn a_tag_that_is_written_between_question_and_copy_is_looked_at_again() {
    let pair = Pair::start(far()).await;
    let (old, new, third) = (image(10), image(11), image(12));
    push(&pair, &[("v1", &new), ("v2", &new)]).await;
    let there = pair.target_registry().open(THERE, "pull,push").await;
    // All of it is there, so that the tag is what remains to be written.
    there.push("v1", &old).await;
    there.push("other", &new).await;
    there.push("third", &third).await;
    for (tags, replaces) in [(["v1"], true), (["v2"], false)] {
        let prepared = asked(&pair, &["/transship/v1/prepare"]);
        let call = if replaces { Sync::of(&tags).replacing() } else { Sync::of(&tags) };
        let manage = pair.manage();
        let meanwhile = async {
            let answered = || async { (asked(&pair, &["/transship/v1/prepare"]) > prepared).then_some(()) };
            wait::until("the target to be asked", LIMIT, answered).await;
            there.put_manifest(tags[0], third.media_type, &third.raw).await.expect(201);
        };
        let (answer, ()) = tokio::join!(manage.sync(GROUP, "app", &call), meanwhile);
        assert_eq!(asked(&pair, &["/transship/v1/prepare"]), prepared + 2, "the target was not asked again");
        if replaces {
            assert_eq!(answer, [""; 0]);
            assert_eq!(target_digest(&pair, "v1").await, Some(new.digest()));
        } else {
            assert_eq!(answer, ["v2"]);
            assert_eq!(target_digest(&pair, "v2").await, Some(third.digest()));
        }
    }
    assert_eq!(asked(&pair, &["\"status\":412"]), 2);
}

/// The same with a signature's tag, which the call moves.
#[tokio::test]
async fn a_signature_tag_that_is_written_between_question_and_copy_is_looked_at_again() {
    let pair = Pair::start(far()).await;
    let image = image(13);
    let signature_tag = image.digest().replace(':', "-") + ".sig";
    let [old, new, third] = [&b"old"[..], b"new", b"third"].map(|content| Image::of(vec![content.to_vec()]));
    push(&pair, &[("v1", &image), (&signature_tag, &new)]).await;
    let there = pair.target_registry().open(THERE, "pull,push").await;
    for (tag, image) in [("v1", &image), (&signature_tag, &old), ("new", &new), ("third", &third)] {
        there.push(tag, image).await;
    }
    let manage = pair.manage();
    let meanwhile = async {
        let answered = || async { (asked(&pair, &["/transship/v1/prepare"]) > 0).then_some(()) };
        wait::until("the target to be asked", LIMIT, answered).await;
        there.put_manifest(&signature_tag, third.media_type, &third.raw).await.expect(201);
    };
    let call = Sync::of(&["v1"]).replacing();
    let (answer, ()) = tokio::join!(manage.sync(GROUP, "app", &call), meanwhile);
    assert_eq!(answer, [""; 0]);
    assert_eq!(asked(&pair, &["\"status\":412"]), 1, "it was written unseen");
    assert_eq!(asked(&pair, &["/transship/v1/prepare"]), 2, "the target was not asked again");
    assert_eq!(target_digest(&pair, &signature_tag).await, Some(new.digest()));
}

#[tokio::test]
async fn a_tag_that_is_deleted_before_it_is_copied_cancels_its_job() {
    let link = WanSettings { mbit: 8, ..WanSettings::default() };
    let pair = Pair::start(PairSettings::default().over(link)).await;
    let big = Image::random(&mut Random::seeded(13), 2, 4_000_000);
    push(&pair, &[("big", &big), ("also", &big)]).await;
    let manage = pair.manage();
    let meanwhile = async {
        let runs = || async { (asked(&pair, &["/transship/v1/prepare"]) > 0).then_some(()) };
        wait::until("the copy to begin", LIMIT, runs).await;
        delete_source_tag(&pair, "big").await;
    };
    let tags = ["big", "also", "never"];
    let sync = Sync::of(&tags);
    let (answer, ()) = tokio::join!(manage.sync(GROUP, "app", &sync), meanwhile);
    assert_eq!(answer, ["big", "never"]);
    assert_eq!(manage.job_status(GROUP, "app", "big").await.as_deref(), Some("cancel"));
    assert_eq!(manage.job_status(GROUP, "app", "also").await.as_deref(), Some("success"));
    assert_eq!(manage.job_status(GROUP, "app", "never").await.as_deref(), Some("failed"), "it never was there");
    assert_eq!(target_digest(&pair, "big").await, None);
    assert_eq!(asked(&pair, &["manifests/big"]), 1, "the tag was written, if only for a moment");
}

#[tokio::test]
async fn a_tag_that_is_deleted_while_its_job_waits_cancels_it() {
    let mut settings = PairSettings::waiting(0);
    settings.source.replication.push("slots_per_region = 1".to_owned());
    let mut pair = Pair::start(settings).await;
    push(&pair, &[("v1", &image(14)), ("v2", &image(15))]).await;
    pair.target.kill9().await;
    let manage = pair.manage();
    manage.sync(GROUP, "app", &Sync::of(&["v1", "v2"])).await;
    delete_source_tag(&pair, "v1").await;
    // By the digest goes what it had for a name.
    delete(&pair.source_registry().open(HERE, "pull,push,delete").await, &image(15).digest()).await;
    let cancelled = || async {
        let jobs = manage.jobs(GROUP, "app").await;
        jobs.iter().all(|job| job.status == "cancel").then_some(())
    };
    wait::until("both jobs to be cancelled", LIMIT, cancelled).await;
}

/// The tag is in the target, and the job does not know it yet.
#[tokio::test]
async fn a_tag_that_is_deleted_just_after_it_was_copied_is_taken_back() {
    let pair = Pair::start(far()).await;
    let (old, new) = (image(16), image(17));
    push(&pair, &[("made", &new), ("moved", &new)]).await;
    let there = pair.target_registry().open(THERE, "pull,push").await;
    there.push("moved", &old).await;
    there.push("other", &new).await;
    let manage = pair.manage();
    for (tags, before) in [(["made"], None), (["moved"], Some(old.digest()))] {
        let meanwhile = async {
            let written = || async { (there.tag_digest(tags[0]).await == Some(new.digest())).then_some(()) };
            wait::until("the tag to be written", LIMIT, written).await;
            delete_source_tag(&pair, tags[0]).await;
        };
        let call = Sync::of(&tags).replacing();
        let (answer, ()) = tokio::join!(manage.sync(GROUP, "app", &call), meanwhile);
        assert_eq!(answer, tags);
        assert_eq!(manage.job_status(GROUP, "app", tags[0]).await.as_deref(), Some("cancel"));
        assert_eq!(there.tag_digest(tags[0]).await, before);
    }
    assert_eq!(there.tag_digest("other").await, Some(new.digest()), "tags of others stay");

    // The whole repository goes.
    push(&pair, &[("last", &new)]).await;
    let meanwhile = async {
        let written = || async { there.tag_digest("last").await };
        wait::until("the tag to be written", LIMIT, written).await;
        manage.call("DELETE", &repository_path(GROUP, "app"), None).await.expect(204);
    };
    let call = Sync::of(&["last"]);
    let (answer, ()) = tokio::join!(manage.sync(GROUP, "app", &call), meanwhile);
    assert_eq!(answer, ["last"]);
    assert_eq!(there.tag_digest("last").await, None);
}

/// A region that was killed knows afterwards what it had written.
#[tokio::test]
async fn a_tag_is_taken_back_after_the_region_was_killed() {
    let mut pair = Pair::start(far()).await;
    let new = image(18);
    push(&pair, &[("v1", &new)]).await;
    let there = pair.target_registry().open(THERE, "pull,push").await;
    there.push("other", &new).await;
    let body = json!(Sync::of(&["v1"]).body()).to_string();
    let manage = pair.manage();
    let call = tokio::spawn(async move {
        let path = format!("{}/sync_images", repository_path(GROUP, "app"));
        manage.try_call("POST", &path, Some(body.as_bytes())).await
    });
    let written = || async { there.tag_digest("v1").await };
    wait::until("the tag to be written", LIMIT, written).await;
    delete_source_tag(&pair, "v1").await;
    pair.source.kill9().await;
    drop(call.await);
    assert_eq!(there.tag_digest("v1").await, Some(new.digest()), "the test came too late");
    pair.source.start().await;
    let gone = || async { there.tag_digest("v1").await.is_none().then_some(()) };
    wait::until("the tag to be taken back", LIMIT, gone).await;
    let cancelled = || async {
        let status = pair.manage().job_status(GROUP, "app", "v1").await;
        (status.as_deref() == Some("cancel")).then_some(())
    };
    wait::until("the job to be cancelled", LIMIT, cancelled).await;
}
