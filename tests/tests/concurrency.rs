//! Many clients at once, answers that never arrive, and clients that go away in the middle: a tag stays a register (F9,
//! I4), one blob stays one copy (F10, I2), a call whose answer was lost may be repeated (I22), and an upload goes on where
//! it stands (F11, I7). Each with one process on SQLite, and with two on one PostgreSQL and one directory.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use transship_tests::history::Register;
use transship_tests::http::{self, Reply};
use transship_tests::image::{self, Image};
use transship_tests::manage::User;
use transship_tests::pair::GROUP;
use transship_tests::random::Random;
use transship_tests::region::{Region, RegionSettings};
use transship_tests::registry::Repository;
use transship_tests::single::{APP, ask, blob, code};
use transship_tests::upload::{Session, offset_of};
use transship_tests::wire::{Read, Request, Wire};
use transship_tests::{postgres, soak, wait};

const CLIENTS: usize = 16;
/// Bytes that nothing needs go at once, and links stay as long as any test lasts.
const COLLECTION: &str =
    "[collection]\ninterval_seconds = 1\nunlink_grace_seconds = 86400\nsweep_grace_seconds = 0\npause_milliseconds = 0";
/// What a tag holds before its first write.
const ABSENT: &str = "absent";
const LIMIT: Duration = Duration::from_mins(2);

/// The processes of one region.
struct Stage {
    regions: Vec<Region>,
    admin: User,
}

impl Stage {
    /// One process on SQLite, or more on one PostgreSQL and one directory.
    async fn start(processes: usize) -> Self {
        let admin = User::named("admin");
        let mut settings = RegionSettings::named("cn-north-4");
        settings.sections = vec![COLLECTION.to_owned()];
        if processes > 1 {
            settings.catalog_url = Some(postgres::fresh_database().await);
        }
        let mut regions: Vec<Region> = Vec::new();
        for _ in 0..processes {
            settings.data_dir = regions.first().map(Region::data_dir);
            let mut region = Region::prepare(settings.clone(), &admin).await;
            region.start().await;
            regions.push(region);
        }
        regions[0].manage(&admin).create_namespace(GROUP).await;
        Self { regions, admin }
    }

    /// A repository through the process of this number, counted round and round.
    async fn open(&self, number: usize, repository: &str, actions: &str) -> Repository {
        self.regions[number % self.regions.len()].registry(&self.admin).open(repository, actions).await
    }

    /// One repository through every process.
    async fn open_everywhere(&self, repository: &str, actions: &str) -> Vec<Repository> {
        let each = (0..self.regions.len()).map(|number| self.open(number, repository, actions));
        futures::future::join_all(each).await
    }

    /// Waits until the bytes on disk are those of these blobs, each once.
    async fn only_these_bytes_stay(&self, digests: &BTreeSet<String>) {
        let files = || self.regions[0].blob_files();
        let tidy = || async { (files().len() == digests.len()).then_some(()) };
        wait::until(&format!("{} files for as many blobs", digests.len()), LIMIT, tidy).await;
        let stored: Vec<String> = files()
            .iter()
            .map(|file| image::digest(&std::fs::read(file).expect("nothing is collected any more")))
            .collect();
        assert_eq!(stored.len(), digests.len());
        assert_eq!(&stored.into_iter().collect::<BTreeSet<_>>(), digests);
    }
}

fn size(random: &mut Random, low: u64, high: u64) -> usize {
    usize::try_from(low + random.below(high - low)).expect("a test's blobs are small")
}

/// F9: all clients write one tag and read it.
async fn one_tag_for_all(name: &str, processes: usize) {
    let mut random = Random::for_test(name);
    let stage = Stage::start(processes).await;
    let image = Arc::new(Image::random(&mut random, 1, 1000));
    stage.open(0, APP, "pull,push").await.push("base", &image).await;
    for round in 0..soak::rounds(6, 300) {
        let tag = format!("v{round}");
        let register = Arc::new(Register::default());
        let repositories = stage.open_everywhere(APP, "pull,push").await;
        register.wrote(ABSENT, register.now());
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let repository = repositories[client % processes].clone();
            let (tag, image, register) = (tag.clone(), Arc::clone(&image), Arc::clone(&register));
            let mut random = Random::seeded(random.bits());
            clients.spawn(async move {
                for number in 0..12 {
                    // With pauses there are moments at which only one value is possible.
                    tokio::time::sleep(random.millis(0, 1 + round % 2 * 120)).await;
                    // Many begin with a write, as the first one is another statement than those that follow.
                    if random.below(5) < if number == 0 { 4 } else { 2 } {
                        write_tag(&repository, &tag, &image, &format!("{tag} {client} {number}"), &register).await;
                    } else {
                        read_tag(&repository, &tag, random.below(2) == 0, &register).await;
                    }
                }
            });
        }
        clients.join_all().await;
        // What is there in the end is the same for all.
        for repository in &repositories {
            read_tag(repository, &tag, true, &register).await;
        }
        register.check().unwrap_or_else(|found| panic!("I4: {tag}: {found}"));
    }
}

/// Puts a manifest that nobody else puts.
async fn write_tag(repository: &Repository, tag: &str, image: &Image, unique: &str, register: &Register) {
    let mut manifest: serde_json::Value = serde_json::from_slice(&image.raw).expect("a manifest is JSON");
    manifest["annotations"] = serde_json::json!({"number": unique});
    let raw = manifest.to_string().into_bytes();
    let digest = image::digest(&raw);
    let start = register.now();
    let reply = repository.put_manifest(tag, image.media_type, &raw).await;
    register.wrote(&digest, start);
    assert_eq!(reply.expect(201).header("docker-content-digest"), Some(digest.as_str()));
}

/// Reads the tag, which is there from its first write on.
async fn read_tag(repository: &Repository, tag: &str, whole: bool, register: &Register) {
    let method = if whole { Method::GET } else { Method::HEAD };
    let request = repository.request(method, &format!("manifests/{tag}")).header("Accept", image::IMAGE);
    let start = register.now();
    let reply = http::send(request).await;
    if reply.status == 404 {
        return register.read(ABSENT, start);
    }
    let reply = reply.expect(200);
    let digest = reply.header("docker-content-digest").expect("a manifest has a digest");
    register.read(digest, start);
    assert!(!whole || image::digest(&reply.body) == digest, "I2: {tag}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_is_a_register() {
    one_tag_for_all("a_tag_is_a_register", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_is_a_register_for_two_processes() {
    one_tag_for_all("a_tag_is_a_register_for_two_processes", 2).await;
}

/// F10: all clients upload one blob, half of them to one repository.
async fn one_blob_of_all(name: &str, processes: usize) {
    let mut random = Random::for_test(name);
    let stage = Stage::start(processes).await;
    let mut digests = BTreeSet::new();
    let name_of = |client| if client < CLIENTS / 2 { APP.to_owned() } else { format!("{GROUP}/app{client}") };
    for _ in 0..soak::rounds(4, 60) {
        let len = size(&mut random, 1000, 400_000);
        let bytes = Arc::new(random.bytes(len));
        let barrier = Arc::new(Barrier::new(CLIENTS));
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let repository = stage.open(client, &name_of(client), "pull,push").await;
            // Each kind comes through each process, in the repository of many and in others.
            clients.spawn(upload(repository, Arc::clone(&bytes), client / 2 % 4, Arc::clone(&barrier)));
        }
        clients.join_all().await;
        let digest = image::digest(&bytes);
        digests.insert(digest.clone());
        stage.only_these_bytes_stay(&digests).await;
        for client in 0..CLIENTS {
            let repository = stage.open(client + 1, &name_of(client), "pull").await;
            assert!(blob(&repository, &digest).await.expect(200).body == *bytes, "I2: {digest}");
        }
    }
    // Two collections later nothing has changed.
    tokio::time::sleep(Duration::from_secs(3)).await;
    stage.only_these_bytes_stay(&digests).await;
}

/// Uploads a blob in one of four ways. The last step waits for that of all others.
async fn upload(repository: Repository, bytes: Arc<Vec<u8>>, kind: usize, barrier: Arc<Barrier>) {
    let digest = image::digest(&bytes);
    let (half, quarter) = (bytes.len() / 2, bytes.len() / 4);
    let session = Session::start(&repository).await.expect("a session");
    let patch = async |at: Option<usize>, bytes: &[u8]| {
        http::send(session.patch(&repository, at, bytes)).await.expect(202);
    };
    let last = match kind {
        0 => {
            let post = repository.request(Method::POST, &format!("blobs/uploads/?digest={digest}"));
            post.header("Content-Type", "application/octet-stream").body(bytes.to_vec())
        }
        1 => session.put(&repository, &digest, None, &bytes),
        2 => {
            patch(Some(0), &bytes[..quarter]).await;
            patch(Some(quarter), &bytes[quarter..half]).await;
            session.put(&repository, &digest, Some(half), &bytes[half..])
        }
        _ => {
            patch(None, &bytes).await;
            session.put(&repository, &digest, None, &[])
        }
    };
    barrier.wait().await;
    assert_eq!(http::send(last).await.expect(201).header("docker-content-digest"), Some(digest.as_str()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_of_many_clients_is_one_copy() {
    one_blob_of_all("a_blob_of_many_clients_is_one_copy", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_of_many_clients_is_one_copy_for_two_processes() {
    one_blob_of_all("a_blob_of_many_clients_is_one_copy_for_two_processes", 2).await;
}

/// What a call answers, and what its repetition answers: a status, with a code where it is an error.
struct Outcome {
    first: u16,
    again: u16,
    code: Option<&'static str>,
}

const PUT: Outcome = Outcome { first: 201, again: 201, code: None };

fn deleted(first: u16, code: &'static str) -> Outcome {
    Outcome { first, again: 404, code: Some(code) }
}

/// Calls whose answer gets lost, and that come again through another process where there is one.
struct Lossy {
    here: Repository,
    there: Repository,
    random: Random,
    /// The answer is lost: 0: as soon as the request is sent; 1: soon after; 2: when it has come.
    when: u64,
}

impl Lossy {
    /// Makes the call and loses its answer, then makes it again. Gives back the second answer.
    async fn twice(&mut self, make: impl Fn(&Repository) -> RequestBuilder, outcome: &Outcome) -> Reply {
        let request = Request::of(make(&self.here));
        let mut wire = Wire::connect(&request.host).await;
        wire.send(&[request.head, request.body].concat()).await.expect("a small request can be sent whole");
        if self.when == 1 {
            tokio::time::sleep(self.random.millis(0, 15)).await;
        } else if self.when == 2 {
            match wire.read(&request.method).await {
                Read::Answer(answer) => assert_eq!(answer.status, outcome.first, "{}", answer.text()),
                other => panic!("{} got {other:?}", request.method),
            }
        }
        wire.reset();
        let reply = http::send(make(&self.there)).await;
        // Without an answer nobody knows whether the first or the second came to be the one call.
        let is_first = self.when != 2 && reply.status == outcome.first;
        if !is_first {
            let reply = (reply.status, (reply.status >= 400).then(|| code(&reply)));
            assert_eq!(reply, (outcome.again, outcome.code.map(str::to_owned)), "answer lost: {}", self.when);
        }
        reply
    }

    /// The status of a `GET`, through either process.
    async fn expect(&self, path: &str, status: u16) -> Reply {
        ask(&self.here, Method::GET, path).await.expect(status);
        ask(&self.there, Method::GET, path).await.expect(status)
    }
}

async fn answers_are_lost(name: &str, processes: usize) {
    let mut random = Random::for_test(name);
    let stage = Stage::start(processes).await;
    let mut stored = BTreeSet::new();
    for round in 0..soak::rounds(12, 300) {
        let actions = format!("pull,push,delete repository:{GROUP}/open:pull");
        let (here, there) = (stage.open(0, APP, &actions).await, stage.open(1, APP, &actions).await);
        let own_random = Random::seeded(random.bits());
        let mut lossy = Lossy { here, there: there.clone(), random: own_random, when: round % 3 };
        let source = stage.open(0, &format!("{GROUP}/open"), "pull,push").await;

        // Uploads: a start, a chunk, the end; and one that is taken back.
        let start = |repository: &Repository| repository.request(Method::POST, "blobs/uploads/");
        let started = lossy.twice(start, &Outcome { first: 202, again: 202, code: None }).await;
        let session = Session { path: started.header("location").expect("a session has a path").to_owned() };
        let bytes = random.bytes(20_000);
        let digest = image::digest(&bytes);
        let chunk = |repository: &Repository| session.patch(repository, Some(0), &bytes[..15_000]);
        let taken = Outcome { first: 202, again: 416, code: Some("BLOB_UPLOAD_INVALID") };
        let reply = lossy.twice(chunk, &taken).await;
        assert_eq!((offset_of(&reply), session.offset(&there).await), (15_000, Some(15_000)));
        let put = |repository: &Repository| session.put(repository, &digest, Some(15_000), &bytes[15_000..]);
        let reply = lossy.twice(put, &PUT).await;
        assert_eq!(reply.header("docker-content-digest"), Some(digest.as_str()));
        assert!(blob(&lossy.here, &digest).await.expect(200).body == bytes, "I2: {digest}");
        assert_eq!(session.offset(&there).await, None);
        let session = Session::start(&lossy.here).await.expect("a session");
        http::send(session.patch(&lossy.here, Some(0), &bytes)).await.expect(202);
        lossy.twice(|repository| session.cancel(repository), &deleted(204, "BLOB_UPLOAD_UNKNOWN")).await;
        assert_eq!(session.offset(&there).await, None);

        // A blob: a mount, and its end. Its bytes stay, as the source has them.
        let bytes = random.bytes(1000);
        let mounted = image::digest(&bytes);
        source.push_blob(&bytes).await;
        let path = format!("blobs/uploads/?mount={mounted}&from={GROUP}/open");
        lossy.twice(|repository| repository.request(Method::POST, &path), &PUT).await;
        let path = format!("blobs/{mounted}");
        assert!(lossy.expect(&path, 200).await.body == bytes, "I2: {mounted}");
        let delete = |path: String| move |repository: &Repository| repository.request(Method::DELETE, &path);
        lossy.twice(delete(path.clone()), &deleted(202, "BLOB_UNKNOWN")).await;
        lossy.expect(&path, 404).await;
        assert!(blob(&source, &mounted).await.expect(200).body == bytes, "I2: {mounted}");

        // A manifest: by its tag, by its digest, and its end.
        let image = Image::random(&mut random, 1, 1000);
        for blob in &image.blobs {
            there.push_blob(blob).await;
        }
        stored.extend(image.blobs.iter().map(|blob| image::digest(blob)).chain([digest, mounted]));
        let by_digest = format!("manifests/{}", image.digest());
        for path in ["manifests/moving".to_owned(), format!("manifests/v{round}"), by_digest.clone()] {
            let put = |repository: &Repository| {
                let put = repository.request(Method::PUT, &path).header("Content-Type", image.media_type);
                put.body(image.raw.clone())
            };
            let reply = lossy.twice(put, &PUT).await;
            assert_eq!(reply.header("docker-content-digest"), Some(image.digest().as_str()));
            assert!(lossy.expect(&path, 200).await.body == image.raw, "I2: {path}");
        }
        assert_eq!(there.pull("moving").await.digest, image.digest());
        let tags = async || tags_of(&there).await;
        assert_eq!(tags().await, ["moving".to_owned(), format!("v{round}")]);
        let gone = deleted(202, "MANIFEST_UNKNOWN");
        lossy.twice(delete("manifests/moving".to_owned()), &gone).await;
        lossy.expect("manifests/moving", 404).await;
        assert!(lossy.expect(&by_digest, 200).await.body == image.raw, "only the tag is gone");
        lossy.twice(delete(by_digest.clone()), &gone).await;
        lossy.expect(&by_digest, 404).await;
        assert_eq!(tags().await, [""; 0]);
    }
    stage.only_these_bytes_stay(&stored).await;
}

async fn tags_of(repository: &Repository) -> Vec<String> {
    let listed = ask(repository, Method::GET, "tags/list").await.expect(200).json();
    serde_json::from_value(listed["tags"].clone()).expect("tags are a list of names")
}

#[tokio::test]
async fn a_call_is_repeated_after_a_lost_answer() {
    answers_are_lost("a_call_is_repeated_after_a_lost_answer", 1).await;
}

#[tokio::test]
async fn a_call_is_repeated_at_another_process_after_a_lost_answer() {
    answers_are_lost("a_call_is_repeated_at_another_process_after_a_lost_answer", 2).await;
}

/// How a client goes away in the middle of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// It sends no more, and waits for what the region says.
    HalfClose,
    Close,
    Reset,
}

/// Whether a body says where it belongs, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Range,
    Length,
    Chunked,
}

const CUTS: [Cut; 3] = [Cut::HalfClose, Cut::Close, Cut::Reset];
const KINDS: [Kind; 3] = [Kind::Range, Kind::Length, Kind::Chunked];

/// Clients that go away.
struct Cutter {
    random: Random,
    round: usize,
}

impl Cutter {
    /// Each way to go away with each kind of body, in turn.
    fn next(&mut self) -> (Cut, Kind) {
        self.round += 1;
        (CUTS[self.round % 3], KINDS[self.round / 3 % 3])
    }

    /// Some number of bytes, neither none nor all; one is left out, as its `Range` looks like that of none.
    fn part(&mut self, bytes: usize) -> usize {
        size(&mut self.random, 2, bytes as u64)
    }

    /// Sends so many bytes of a request's body, and goes away.
    async fn cut(&mut self, request: RequestBuilder, sent: usize, (cut, kind): (Cut, Kind)) {
        let Request { host, method, head, body } = Request::of(request);
        let mut head = String::from_utf8(head).expect("a head is text");
        if kind == Kind::Chunked {
            let (length, size) = (format!("content-length: {}\r\n\r\n", body.len()), format!("{:x}\r\n", body.len()));
            head = head.replace(&length, &format!("transfer-encoding: chunked\r\n\r\n{size}"));
        }
        let mut wire = Wire::connect(&host).await;
        wire.send(&[head.as_bytes(), &body[..sent]].concat()).await.expect("the region reads the body");
        // A stream does not say where it belongs: one that the region begins with only later would spoil the upload.
        let soon = if kind == Kind::Range { 0 } else { 30 };
        tokio::time::sleep(self.random.millis(soon, soon + 10)).await;
        match cut {
            Cut::HalfClose => {
                wire.end().await;
                let Read::Answer(answer) = wire.read(&method).await else { panic!("half a {method} got no answer") };
                let code = answer.json().map(|body| body["errors"][0]["code"].clone());
                assert_eq!((answer.status, code), (400, Some("BLOB_UPLOAD_INVALID".into())), "{}", answer.text());
            }
            Cut::Close => drop(wire),
            Cut::Reset => wire.reset(),
        }
    }
}

/// Sends what is left from where the upload stands, and again from where the region says it stands: what it had from
/// the client that went away may have become durable meanwhile. `last` makes the request; `status` is its success.
async fn go_on(possible: RangeInclusive<usize>, from: usize, status: u16, last: impl Fn(usize) -> RequestBuilder) {
    let mut at = from;
    for _ in 0..3 {
        assert!(possible.contains(&at), "I7: the upload stands at {at}, not in {possible:?}");
        let reply = http::send(last(at)).await;
        if reply.status == status {
            return;
        }
        let reply = reply.expect(416);
        assert_eq!(code(&reply), "BLOB_UPLOAD_INVALID");
        at = offset_of(&reply);
    }
    panic!("I7: the region does not take the rest from where it says that it stands, {at}");
}

/// F11, I7, I22: a chunk is cut, some more are, and the upload goes on; then the same for the closing PUT.
async fn clients_go_away(name: &str, processes: usize) {
    let mut random = Random::for_test(name);
    let stage = Stage::start(processes).await;
    let mut stored = BTreeSet::new();
    let mut cutter = Cutter { random: Random::seeded(random.bits()), round: 0 };
    for round in 0..soak::rounds(36, 1000) {
        let (here, there) = (stage.open(0, APP, "pull,push").await, stage.open(1, APP, "pull,push").await);
        let len = size(&mut random, 10_000, 1_000_000);
        let content = random.bytes(len);
        let digest = image::digest(&content);
        let session = Session::start(&here).await.expect("a session");
        let mut at = if random.below(2) == 0 { 0 } else { cutter.part(len / 2) };
        if at > 0 {
            http::send(session.patch(&here, Some(0), &content[..at])).await.expect(202);
        }
        let mut most = at;
        let (cut, kind) = cutter.next();
        let range = |kind: Kind, at: usize| (kind == Kind::Range).then_some(at);
        if round % 2 == 0 {
            for number in 0..=random.below(3) {
                // A stream after a cut may not know what it follows.
                let kind = if number == 0 { kind } else { Kind::Range };
                // Some bytes are left for the next, and for the end.
                let sent = cutter.part((len - at) / 2);
                cutter.cut(session.patch(&here, range(kind, at), &content[at..]), sent, (cut, kind)).await;
                most = most.max(at + sent);
                let offset = session.offset(&there).await.expect("I6: the session is there");
                assert!((at..=most).contains(&offset), "I7: {offset} is not in {at}..={most}, {cut:?} {kind:?}");
                let is_answered = cut == Cut::HalfClose;
                assert!(!is_answered || offset == at + sent, "I7: {offset} of {at} + {sent} bytes were kept, {kind:?}");
                at = offset;
            }
            go_on(at..=most, at, 202, |at| session.patch(&there, Some(at), &content[at..])).await;
            http::send(session.put(&there, &digest, None, &[])).await.expect(201);
        } else {
            let sent = cutter.part(len - at);
            cutter.cut(session.put(&here, &digest, range(kind, at), &content[at..]), sent, (cut, kind)).await;
            // Without a range a client can only send all of it again, so nothing of it may count.
            let most = if kind == Kind::Range { at + sent } else { at };
            // Some clients ask first, and some send at once what they sent before.
            if random.below(2) == 0 {
                let offset = session.offset(&there).await.expect("I6: the session is there");
                assert!((at..=most).contains(&offset), "I7: {offset} is not in {at}..={most}, {cut:?} {kind:?}");
            }
            go_on(at..=most, at, 201, |at| session.put(&there, &digest, range(kind, at), &content[at..])).await;
        }
        assert_eq!(session.offset(&here).await, None);
        assert!(blob(&here, &digest).await.expect(200).body == content, "I2: {digest}, {cut:?} {kind:?}");
        stored.insert(digest);
    }
    stage.only_these_bytes_stay(&stored).await;
}

#[tokio::test]
async fn an_upload_goes_on_after_its_client_went_away() {
    clients_go_away("an_upload_goes_on_after_its_client_went_away", 1).await;
}

#[tokio::test]
async fn an_upload_goes_on_in_another_process_after_its_client_went_away() {
    clients_go_away("an_upload_goes_on_in_another_process_after_its_client_went_away", 2).await;
}
