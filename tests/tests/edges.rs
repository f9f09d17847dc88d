//! Crowds and floods: slow readers (F12), thousands of idle connections, more connections than there may be, and frames of
//! HTTP/2 that cost their sender nothing (bad-inputs row 107). Whoever behaves is served meanwhile, and memory stays
//! bounded (I16).

use std::time::{Duration, Instant};

use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use transship_tests::http2::{
    self, ACK, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, LARGEST_WINDOW, PING, RST_STREAM, SETTINGS,
};
use transship_tests::image::{self, Image};
use transship_tests::manage::User;
use transship_tests::random::Random;
use transship_tests::region::{Region, RegionSettings};
use transship_tests::single::APP;
use transship_tests::{clients, http, wait};

/// For each step of a client that behaves. Nothing takes long, but the machine may be busy.
const LIMIT: Duration = Duration::from_mins(1);
/// How much a crowd may cost, whatever it does. The largest are 500 answers by HTTP/1 that nobody reads, each with 64 KiB
/// and a piece or two on their way, and 1000 by HTTP/2, each with two pieces of 16 KiB.
const MOST_KIB: u64 = 96 * 1024;
/// More than the sockets of both sides hold, so that whoever does not read stops the answer.
const LARGE_BYTES: usize = 16 << 20;
/// The reason of a GOAWAY for a client that does too much (`ENHANCE_YOUR_CALM`).
const CALM_DOWN: u32 = 11;

/// A region with one image, and what it costs at rest.
struct Stage {
    region: Region,
    admin: User,
    /// For pulls of the image.
    token: String,
    image: Image,
    rest_kib: u64,
}

impl Stage {
    async fn start(limits: &str) -> Self {
        let admin = User::named("admin");
        let mut settings = RegionSettings::named("region-a");
        settings.tls = true;
        settings.sections.push(format!("[limits]\n{limits}"));
        let mut region = Region::prepare(settings, &admin).await;
        region.start().await;
        region.manage(&admin).create_namespace("group").await;
        let image = Image::random(&mut Random::seeded(1), 1, LARGE_BYTES);
        region.registry(&admin).push(APP, "v1", &image).await;
        let app = region.registry(&admin).open(APP, "pull").await;
        let get = app.request(Method::GET, "").build().expect("a request");
        let token = get.headers()["authorization"].to_str().expect("a token is text");
        let token = token.strip_prefix("Bearer ").expect("it is a Bearer token").to_owned();
        let mut stage = Self { region, admin, token, image, rest_kib: 0 };
        // The first pulls fill the buffers that stay.
        for _ in 0..3 {
            stage.serve_somebody().await;
        }
        stage.rest_kib = stage.region.resident_memory_kib();
        stage
    }

    fn large_path(&self) -> String {
        format!("/v2/{APP}/blobs/{}", image::digest(&self.image.blobs[1]))
    }

    /// A client that comes, asks whether the region is ready, over both listeners, pulls an image whole, and goes.
    async fn serve_somebody(&self) {
        let work = async {
            http::send(http::client().get(format!("{}/readyz", self.region.url()))).await.expect(200);
            let (url, authority) = self.region.tls();
            let authority = std::fs::read(authority).expect("openssl wrote it");
            let authority = reqwest::Certificate::from_pem(&authority).expect("openssl wrote PEM");
            let client = reqwest::Client::builder().no_proxy().tls_certs_only([authority]).build().expect("a client");
            http::send(client.get(format!("{url}/readyz"))).await.expect(200);
            let pulled = self.region.registry(&self.admin).pull(APP, "v1").await;
            assert_eq!(pulled.digest, self.image.digest());
        };
        tokio::time::timeout(LIMIT, work).await.expect("somebody who behaves is served");
    }

    /// Serves somebody again and again until `others` are done.
    async fn serve_beside<T>(&self, others: impl Future<Output = T>) -> T {
        let (sender, done) = tokio::sync::watch::channel(false);
        let others = async {
            let result = others.await;
            sender.send(true).expect("somebody listens");
            result
        };
        let behaving = async {
            while !*done.borrow() {
                self.serve_somebody().await;
            }
        };
        tokio::join!(others, behaving).0
    }

    /// I16: what the region has needed at most beyond what it needs at rest.
    fn assert_bounded(&self, what: &str) {
        let grown = self.region.peak_memory_kib().saturating_sub(self.rest_kib);
        assert!(grown < MOST_KIB, "{what}: {grown} KiB more than at rest");
    }

    /// Waits until the region has let go of all connections but a few.
    async fn wait_for_files(&self, most: usize) {
        let freed = || async { (self.region.open_files() <= most).then_some(()) };
        wait::until(&format!("at most {most} open files"), LIMIT, freed).await;
    }
}

/// A connection whose kernel takes hardly anything for a client that does not read.
async fn connect(host: &str) -> TcpStream {
    connect_from(host, "127.0.0.1").await
}

async fn connect_from(host: &str, from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket can be had");
    socket.set_recv_buffer_size(4096).expect("a socket takes the option");
    socket.bind(format!("{from}:0").parse().expect("an address")).expect("loopback has many addresses");
    let address = host.parse().expect("an address");
    socket.connect(address).await.unwrap_or_else(|error| panic!("no connection to {host}: {error}"))
}

/// Reads so many bytes as text.
async fn read_text(stream: &mut TcpStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    let read = tokio::time::timeout(LIMIT, stream.read_exact(&mut bytes)).await;
    read.expect("something comes").unwrap_or_else(|error| panic!("the connection broke: {error}"));
    String::from_utf8(bytes).expect("a head is text")
}

/// F12: five hundred clients ask for a large blob; half of them take a byte a second, the others nothing.
#[tokio::test]
async fn slow_readers_cost_others_nothing() {
    let stage = Stage::start("").await;
    let before = stage.region.open_files();
    let host = stage.region.host();
    let asking = (0..500).map(|_| async {
        let mut stream = connect(&host).await;
        let (path, token) = (stage.large_path(), &stage.token);
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("a head is taken");
        assert_eq!(read_text(&mut stream, 12).await, "HTTP/1.1 200");
        stream
    });
    let mut slow = stage.serve_beside(futures::future::join_all(asking)).await;
    assert!(stage.region.open_files() >= before + 500, "they are all being served");
    let trickle = async {
        for _ in 0..5 {
            for stream in slow.iter_mut().step_by(2) {
                stream.read_u8().await.expect("another byte");
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    stage.serve_beside(trickle).await;
    stage.assert_bounded("500 slow readers");
    // They were not cut off to make room.
    for stream in &mut slow {
        stream.read_u8().await.expect("another byte");
    }
    drop(slow);
    stage.wait_for_files(before + 16).await;
    stage.serve_somebody().await;
}

/// Raises the limit of this process, and so of its children, on open files.
async fn allow_open_files(count: usize) {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("Linux tells about this process");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("there is such a limit");
    let soft = line.split_whitespace().next().expect("the soft limit");
    if soft.parse::<usize>().is_ok_and(|soft| soft < count) {
        let own = std::process::id().to_string();
        clients::must(clients::command("prlimit", &["--pid", &own, &format!("--nofile={count}:")])).await;
    }
}

/// What comes until the server closes a connection.
async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end too.
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8(bytes).expect("an answer is text")
}

/// Five thousand connections that say nothing, or half a head: room for all is a setting, others are served, and each is
/// closed when its time is over.
#[tokio::test]
async fn five_thousand_idle_connections_are_closed_in_time() {
    const CROWD: usize = 5000;
    allow_open_files(16_000).await;
    let stage = Stage::start("connections = 6000\nconnections_per_address = 6000").await;
    let before = stage.region.open_files();
    let host = stage.region.host();
    let mut crowd = Vec::new();
    let coming = async {
        for number in 0..CROWD {
            let mut stream = connect(&host).await;
            if number % 50 == 0 {
                stream.write_all(b"GET /livez HT").await.expect("half a head is taken");
            }
            crowd.push(stream);
        }
        let all = || async { (stage.region.open_files() >= before + CROWD * 9 / 10).then_some(()) };
        wait::until("the crowd to be accepted", LIMIT, all).await;
    };
    stage.serve_beside(coming).await;
    let leaving = crowd.iter_mut().enumerate().map(|(number, stream)| async move {
        let last = read_to_end(stream).await;
        let start = if number % 50 == 0 { "HTTP/1.1 408 " } else { "" };
        assert!(if start.is_empty() { last.is_empty() } else { last.starts_with(start) }, "{number}: {last:?}");
    });
    let leaving = tokio::time::timeout(3 * LIMIT, futures::future::join_all(leaving));
    stage.serve_beside(leaving).await.expect("idle connections are closed in time");
    stage.wait_for_files(before + 16).await;
    stage.assert_bounded("5000 idle connections");
}

/// A request in the middle of its body: its connection is at work.
async fn at_work(host: &str, from: &str) -> TcpStream {
    let mut stream = connect_from(host, from).await;
    let head = "POST /v3/auth/tokens HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("a head is taken");
    assert_eq!(read_text(&mut stream, 25).await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

/// Sends the rest of the request, which is no JSON.
async fn finish_work(mut stream: TcpStream) {
    stream.write_all(b"0123456789").await.expect("the rest is taken");
    assert_eq!(read_text(&mut stream, 12).await, "HTTP/1.1 400");
}

async fn ask_livez(host: &str, from: &str) -> TcpStream {
    let mut stream = connect_from(host, from).await;
    // One that is refused may be closed already.
    let _ = stream.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await;
    stream
}

/// More connections than there may be: idle ones make room, and while all are at work a new one waits, or is refused when
/// its own address has them all.
#[tokio::test]
async fn connections_beyond_the_limit_wait_or_are_refused() {
    let stage = Stage::start("connections = 24\nconnections_per_address = 16").await;
    let host = stage.region.host();
    // Idle ones: each new one is taken in, and the limit holds.
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(connect(&host).await);
    }
    stage.serve_somebody().await;
    let is_open = |stream: &TcpStream| {
        stream.try_read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    };
    let few = || std::future::ready((idle.iter().filter(|stream| is_open(stream)).count() <= 16).then_some(()));
    wait::until("at most 16 idle connections to be open", LIMIT, few).await;
    drop(idle);

    let mut working = Vec::new();
    for _ in 0..16 {
        working.push(at_work(&host, "127.0.0.2").await);
    }
    // One address has all that it may have; others do not feel it.
    let mut refused = ask_livez(&host, "127.0.0.2").await;
    assert_eq!(tokio::time::timeout(LIMIT, read_to_end(&mut refused)).await.expect("it is refused"), "");
    stage.serve_somebody().await;
    for _ in 0..8 {
        working.push(at_work(&host, "127.0.0.3").await);
    }
    // Nobody has a place now, and whoever comes waits for one.
    let mut waiting = ask_livez(&host, "127.0.0.4").await;
    let early = tokio::time::timeout(Duration::from_secs(1), waiting.read_u8()).await;
    assert!(early.is_err(), "there was no place: {early:?}");
    drop(working.pop());
    assert_eq!(read_text(&mut waiting, 12).await, "HTTP/1.1 200");
    drop(waiting);
    // Those at work end as if nothing had been.
    for stream in working {
        finish_work(stream).await;
    }
    stage.serve_somebody().await;
}

// --- HTTP/2 ---

/// What a flood came to.
#[derive(Debug, Default)]
struct Outcome {
    /// Frames with an acknowledgement.
    acknowledged: u32,
    /// The reason of a GOAWAY.
    sent_away: Option<u32>,
    /// The last frame was answered, so every one before it was read.
    read_to_the_end: bool,
}

/// Sends batch after batch on a connection, and reads what comes.
async fn flood(region: &Region, first: &[u8], batches: u32, batch: impl Fn(u32) -> Vec<u8>) -> Outcome {
    const LAST: &[u8; 8] = b"the last";
    let (mut reader, mut writer) = http2::connect(region, b"").await;
    let reading = tokio::spawn(async move {
        let mut outcome = Outcome::default();
        while let Some(frame) = reader.next().await {
            match frame.kind {
                PING if frame.payload == LAST => {
                    outcome.read_to_the_end = true;
                    break;
                }
                PING | SETTINGS if frame.flags & ACK != 0 => outcome.acknowledged += 1,
                GOAWAY => {
                    let reason = frame.payload[4..8].try_into().expect("a GOAWAY has a reason");
                    outcome.sent_away = Some(u32::from_be_bytes(reason));
                }
                _ => {}
            }
        }
        outcome
    });
    let sending = async {
        writer.send(first).await?;
        for number in 0..batches {
            writer.send(&batch(number)).await?;
        }
        writer.send(&http2::frame(PING, 0, 0, LAST)).await
    };
    // Whoever is sent away cannot send to the end.
    let _: std::io::Result<()> = tokio::time::timeout(LIMIT, sending).await.expect("the server reads, or closes");
    tokio::time::timeout(LIMIT, reading).await.expect("the connection answers, or ends").expect("the reader lives")
}

/// Opens a hundred streams, each of which asks for the large blob.
fn a_hundred_pulls(stage: &Stage) -> Vec<u8> {
    let path = stage.large_path();
    (0..100).flat_map(|number| http2::get(number * 2 + 1, "a", &path, &stage.token)).collect()
}

/// CVE-2023-44487: streams that are opened and reset at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_resets_end_their_connection_and_nothing_else() {
    let stage = Stage::start("").await;
    let path = stage.large_path();
    let resets = |batch: u32| -> Vec<u8> {
        let reset = |number: u32| {
            let stream = number * 2 + 1;
            let cancel = http2::frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
            [http2::get(stream, "a", &path, &stage.token), cancel].concat()
        };
        (batch * 50..batch * 50 + 50).flat_map(reset).collect()
    };
    let attack = async {
        for _ in 0..20 {
            let outcome = flood(&stage.region, b"", 200, resets).await;
            assert_eq!(outcome.sent_away, Some(CALM_DOWN), "{outcome:?}");
            assert!(!outcome.read_to_the_end, "{outcome:?}");
        }
    };
    stage.serve_beside(attack).await;
    stage.assert_bounded("rapid resets");
}

/// CVE-2019-9512, CVE-2019-9515: frames that must be answered. Each is, or the connection ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_pings_and_settings_are_answered_or_ended() {
    let stage = Stage::start("").await;
    let pings = |batch: u32| http2::frame(PING, 0, 0, &u64::from(batch).to_be_bytes()).repeat(500);
    // A new window counts for each stream, so a hundred are open.
    let settings = |batch: u32| {
        let window = http2::setting(INITIAL_WINDOW_SIZE, 65_535 + batch % 2);
        http2::frame(SETTINGS, 0, 0, &window).repeat(500)
    };
    let pulls = a_hundred_pulls(&stage);
    let floods = async {
        for outcome in [flood(&stage.region, b"", 100, pings).await, flood(&stage.region, &pulls, 100, settings).await]
        {
            let all = outcome.read_to_the_end && outcome.acknowledged >= 50_000;
            assert!(all || outcome.sent_away.is_some(), "{outcome:?}");
        }
    };
    stage.serve_beside(floods).await;
    stage.assert_bounded("pings and settings");
}

/// Sends until nothing is taken for two seconds or the connection ends.
async fn send_until_stuck(region: &Region, batch: &[u8]) {
    const MOST_BYTES: usize = 256 << 20;
    let (_reader, mut writer) = http2::connect(region, b"").await;
    let mut sent = 0;
    while sent < MOST_BYTES {
        match tokio::time::timeout(Duration::from_secs(2), writer.send(batch)).await {
            Ok(Ok(())) => sent += batch.len(),
            Ok(Err(_)) | Err(_) => return,
        }
    }
    panic!("the answers to {sent} bytes are kept for somebody who does not read them")
}

/// Of what nobody reads the answers to, no more is read: they would have to be kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_are_not_kept() {
    let stage = Stage::start("").await;
    let pings = http2::frame(PING, 0, 0, b"8 bytes.").repeat(500);
    let settings = http2::frame(SETTINGS, 0, 0, &http2::setting(INITIAL_WINDOW_SIZE, 70_000)).repeat(500);
    let floods = [&pings, &settings, &pings, &settings].into_iter().map(|batch| send_until_stuck(&stage.region, batch));
    stage.serve_beside(futures::future::join_all(floods)).await;
    stage.assert_bounded("pings and settings whose answers nobody reads");
}

/// F12 by HTTP/2: a thousand streams of ten connections with the largest windows, and nobody reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_nobody_reads_cost_others_nothing() {
    let stage = Stage::start("").await;
    let pulls = a_hundred_pulls(&stage);
    let windows = http2::setting(INITIAL_WINDOW_SIZE, LARGEST_WINDOW);
    let opening = (0..10).map(|_| async {
        let (mut reader, mut writer) = http2::connect(&stage.region, &windows).await;
        writer.send(&http2::widest_window()).await.expect("a window is taken");
        writer.send(&pulls).await.expect("the requests are taken");
        let mut answers = 0;
        while answers < 100 {
            let frame = reader.next().await.expect("the connection goes on");
            // 200 has a place in the static table of HPACK.
            assert!(frame.kind != HEADERS || frame.payload[0] == 0x88, "{frame:?}");
            answers += u32::from(frame.kind == HEADERS);
        }
        (reader, writer)
    });
    let unread = stage.serve_beside(futures::future::join_all(opening)).await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        stage.serve_somebody().await;
    }
    stage.assert_bounded("1000 streams that nobody reads");
    drop(unread);
}
