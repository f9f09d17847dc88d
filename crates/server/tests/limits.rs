//! What one client can take from others: connections, logins, upload sessions, streams of HTTP/2.

#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine as _;
use common::{ACCESS_KEY, Answer, PASSWORD, Region, Request, SECRET_KEY, pause};
use serde_json::json;

const TOKEN: &str = "/swr/auth/v2/registry/auth/?service=dockyard";

/// Whether the server has closed the connection.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    matches!(stream.read(&mut [0; 16]), Ok(0)) || stream.take_error().unwrap().is_some()
}

#[test]
fn idle_connections_make_room_for_those_who_want_something() {
    let region = Region::start("[limits]\nconnections_per_address = 8");
    let mut idle: Vec<TcpStream> = (0..50).map(|_| region.connect()).collect();
    // Half a head does not count as something.
    for stream in &mut idle[30..] {
        let _ = stream.write_all(b"GET /livez HT");
    }
    assert_eq!(region.get("/livez").status, 200);
    let deadline = Instant::now() + common::PATIENCE;
    while idle.iter_mut().filter_map(|stream| (!is_closed(stream)).then_some(())).count() > 8 {
        assert!(Instant::now() < deadline, "idle connections beyond the limit stay open");
    }
    // What is at work is not touched: eight requests in the middle of their bodies, and a ninth is refused.
    drop(idle);
    let begun = b"POST /v3/auth/tokens HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n";
    let working: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = region.connect();
            stream.write_all(begun).unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"HTTP/1.1 100");
            stream
        })
        .collect();
    let mut ninth = region.connect();
    let _ = ninth.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(matches!(ninth.read(&mut [0; 16]), Ok(0) | Err(_)), "the ninth is refused");
    for mut stream in working {
        stream.write_all(b"0123456789").unwrap();
        let mut rest = Vec::new();
        let mut piece = [0; 512];
        while !rest.windows(12).any(|window| window == b"HTTP/1.1 400") {
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&rest));
            rest.extend_from_slice(&piece[..read]);
        }
    }
    assert_eq!(region.get("/livez").status, 200);
}

/// F42: hardly any file descriptors, and many connections.
#[test]
fn a_region_with_few_files_goes_on() {
    let region = Region::start_with_files(128, "");
    let mut crowd: Vec<TcpStream> = (0..300).map(|_| region.connect()).collect();
    for stream in &mut crowd {
        let _ = stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for _ in 0..5 {
        assert_eq!(region.get("/readyz").status, 200);
    }
    drop(crowd);
    assert_eq!(region.get("/readyz").status, 200);
}

/// F12: five hundred clients that send a byte now and then, and one that wants to work.
#[test]
fn slow_clients_cost_others_nothing() {
    let region = Region::start("");
    assert_eq!(region.get("/readyz").status, 200);
    let before = region.resident_kib();
    let head = b"POST /v3/auth/tokens HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n";
    let mut slow: Vec<TcpStream> = (0..500)
        .map(|_| {
            let mut stream = region.connect();
            stream.write_all(head).unwrap();
            stream
        })
        .collect();
    for _ in 0..4 {
        for stream in &mut slow {
            stream.write_all(b"{").unwrap();
        }
        for _ in 0..10 {
            assert_eq!(region.get("/readyz").status, 200);
            pause();
        }
    }
    let grown = region.resident_kib().saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB for 500 slow clients");
}

/// A client that asks for a token from an address that the proxy names.
fn login(region: &Region, from: &str, user: &str, password: &str) -> Answer {
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let headers = [("X-Forwarded-For", from), ("Authorization", &format!("Basic {basic}"))];
    region.send(&Request { target: TOKEN, headers: &headers, ..Request::default() })
}

fn iam_login(region: &Region, from: &str, user: &str, password: &str) -> Answer {
    let body = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {
        "domain": {"name": "demo"}, "name": user, "password": password}}}}});
    let request = Request {
        method: "POST",
        target: "/v3/auth/tokens",
        headers: &[("X-Forwarded-For", from)],
        body: &body.to_string(),
    };
    region.send(&request)
}

fn wait_seconds(answer: &Answer) -> u64 {
    answer.header("retry-after").parse().unwrap()
}

/// Row 139: whoever guesses is held back, in the shape of each API, and nobody else is.
#[test]
fn guessing_is_held_back_where_it_comes_from() {
    let proxies = "[limits]\ntrusted_proxies = [\"127.0.0.0/8\"]";
    let mut region = Region::start(proxies);
    for _ in 0..10 {
        assert_eq!(login(&region, "192.0.2.1", "demo/admin", "wrong").status, 401);
    }
    // The right password is not told from a wrong one now, by either door.
    for password in ["wrong", PASSWORD] {
        let refused = login(&region, "192.0.2.1", "demo/admin", password);
        assert_eq!(refused.status, 429);
        assert_eq!(refused.json()["errors"][0]["code"], "TOOMANYREQUESTS");
        assert_eq!(wait_seconds(&refused), 1);
        let refused = iam_login(&region, "192.0.2.1", "admin", password);
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (429, &json!(429)));
        assert_eq!(wait_seconds(&refused), 1);
    }
    let line = region.wait_for_log(|line| line["status"] == 429);
    assert_eq!(line["remote"], "192.0.2.1");
    // The user whose password is guessed at works from elsewhere, and others work from there.
    assert_eq!(login(&region, "192.0.2.2", "demo/admin", PASSWORD).status, 200);
    assert_eq!(iam_login(&region, "192.0.2.2", "admin", PASSWORD).status, 201);
    // When the time is over, a right password clears the counter.
    let deadline = Instant::now() + common::PATIENCE;
    while login(&region, "192.0.2.1", "demo/admin", PASSWORD).status != 200 {
        assert!(Instant::now() < deadline);
        pause();
    }
    for _ in 0..9 {
        assert_eq!(login(&region, "192.0.2.1", "demo/admin", "wrong").status, 401);
    }
    assert_eq!(login(&region, "192.0.2.1", "demo/admin", PASSWORD).status, 200);
}

/// An unknown user, and the password that an access key gives, are counted like any other.
#[test]
fn every_kind_of_login_is_counted() {
    let region = Region::start("[limits]\nlogin_failures = 3\ntrusted_proxies = [\"127.0.0.1\"]");
    let statuses = |login: &dyn Fn() -> Answer| -> Vec<u16> { (0..5).map(|_| login().status).collect() };
    let expected = [401, 401, 401, 429, 429];
    assert_eq!(statuses(&|| login(&region, "192.0.2.1", "nobody/at-all", "x")), expected);
    assert_eq!(statuses(&|| login(&region, "192.0.2.1", &format!("cn-north-4@{ACCESS_KEY}"), "x")), expected);
    assert_eq!(statuses(&|| login(&region, "192.0.2.1", "cn-north-4@NOSUCHKEY", "x")), expected);
    assert_eq!(statuses(&|| iam_login(&region, "192.0.2.1", "nobody", "x")), expected);
    let form = || {
        let body = "grant_type=password&service=dockyard&client_id=test&username=demo/form&password=x";
        let headers = [("Content-Type", "application/x-www-form-urlencoded"), ("X-Forwarded-For", "192.0.2.1")];
        region.send(&Request { method: "POST", target: TOKEN, headers: &headers, body })
    };
    assert_eq!(statuses(&form), expected);
    let signed = |access_key: &str, secret_key: &str| {
        let request = Request { target: "/v2/manage/namespaces", ..Request::default() };
        let signature = request.signed(region.address, access_key, secret_key);
        let mut headers = vec![("X-Forwarded-For", "192.0.2.9")];
        headers.extend(signature.iter().map(|(name, value)| (*name, value.as_str())));
        region.send(&Request { headers: &headers, ..request })
    };
    assert_eq!(statuses(&|| signed("NOSUCHKEY", SECRET_KEY)), expected);
    assert_eq!(statuses(&|| signed(ACCESS_KEY, "wrong")), expected);
    let refused = signed(ACCESS_KEY, SECRET_KEY);
    assert_eq!((refused.status, wait_seconds(&refused)), (429, 1));
    assert_eq!(refused.json()["error_code"], "SVCSTG.SWR.4090023");
    // A key that is guessed at under one address works from another.
    let elsewhere = Request { target: "/v2/manage/namespaces", ..Request::default() };
    let signature = elsewhere.signed(region.address, ACCESS_KEY, SECRET_KEY);
    let headers: Vec<_> = signature.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(region.send(&Request { headers: &headers, ..elsewhere }).status, 200);
}

/// Nobody is believed about an address who is not configured as a proxy.
#[test]
fn a_client_cannot_name_another_address() {
    let region = Region::start("[limits]\nlogin_failures = 3");
    let statuses: Vec<u16> =
        (0..5).map(|number| login(&region, &format!("192.0.2.{number}"), "demo/admin", "x").status).collect();
    assert_eq!(statuses, [401, 401, 401, 429, 429]);
}

/// Row 73.
#[test]
fn a_user_has_so_many_upload_sessions_and_no_more() {
    let region = Region::start("[limits]\nupload_sessions_per_user = 3");
    let bearer = region.push_token("team", "app");
    let send = |method: &str, target: &str| {
        region.send(&Request { method, target, headers: &[("Authorization", &bearer)], body: "" })
    };
    let start = || send("POST", "/v2/team/app/blobs/uploads/");
    let sessions: Vec<String> = (0..3)
        .map(|_| {
            let started = start();
            assert_eq!(started.status, 202);
            started.header("location").to_owned()
        })
        .collect();
    for _ in 0..2 {
        let refused = start();
        assert_eq!(refused.status, 429);
        assert_eq!(refused.json()["errors"][0]["code"], "TOOMANYREQUESTS");
        assert!(wait_seconds(&refused) > 0);
    }
    assert_eq!(send("DELETE", &sessions[0]).status, 204);
    assert_eq!(start().status, 202);
    assert_eq!(start().status, 429);
}

/// Nobody knows the session of a `POST ?digest=`, so it ends with the request, however that ends.
#[test]
fn a_blob_in_one_post_that_breaks_off_leaves_nothing() {
    let region = Region::start("[limits]\nupload_sessions_per_user = 1");
    let bearer = region.push_token("team", "app");
    let target = format!("/v2/team/app/blobs/uploads/?digest=sha256:{}", "0".repeat(64));
    let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\nContent-Length: 1000\r\n\r\n");
    let mut closing = region.connect();
    closing.write_all(head.as_bytes()).unwrap();
    closing.write_all(&[0; 500]).unwrap();
    wait_for_blobs(&region, 1);
    drop(closing);
    wait_for_blobs(&region, 0);

    let headers = [POST, &literal(4, &target), &literal(23, &bearer)].concat();
    let mut resetting = http2(&region);
    resetting.write_all(&frame(HEADERS, END_HEADERS, 1, &headers)).unwrap();
    resetting.write_all(&frame(DATA, 0, 1, &[0; 500])).unwrap();
    wait_for_blobs(&region, 1);
    resetting.write_all(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())).unwrap();
    wait_for_blobs(&region, 0);

    let start = Request {
        method: "POST",
        target: "/v2/team/app/blobs/uploads/",
        headers: &[("Authorization", &bearer)],
        ..Request::default()
    };
    assert_eq!(region.send(&start).status, 202);
}

/// Waits until so many files hold bytes of blobs and uploads.
fn wait_for_blobs(region: &Region, count: usize) {
    let deadline = Instant::now() + common::PATIENCE;
    loop {
        let folders = std::fs::read_dir(region.directory.path().join("data/blobs")).unwrap();
        let folders = folders.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
        let files: usize = folders.map(|folder| std::fs::read_dir(folder).unwrap().count()).sum();
        if files == count {
            return;
        }
        assert!(Instant::now() < deadline, "{files} files instead of {count}");
        pause();
    }
}

// --- HTTP/2, frame by frame: no client library would send these ---

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `GET / ` from `a`, by the static table of HPACK.
const GET: &[u8] = b"\x82\x86\x84\x41\x01a";
/// `POST` to `a`, without its path.
const POST: &[u8] = b"\x83\x86\x41\x01a";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header field whose name is in the static table of HPACK; names from 15 on take a second byte, long values too.
fn literal(name: u8, value: &str) -> Vec<u8> {
    let mut field = if name < 15 { vec![name] } else { vec![15, name - 15] };
    let mut length = value.len();
    if length < 127 {
        field.push(u8::try_from(length).unwrap());
    } else {
        field.push(127);
        length -= 127;
        while length >= 128 {
            field.push(u8::try_from(length % 128).unwrap() + 128);
            length /= 128;
        }
        field.push(u8::try_from(length).unwrap());
    }
    [field, value.as_bytes().to_vec()].concat()
}

fn http2(region: &Region) -> TcpStream {
    let mut stream = region.connect();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, b"")).unwrap();
    stream
}

fn next_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload).ok()?;
    Some((head[3], payload))
}

/// Sends the same again and again until the server says GOAWAY or closes; `false` when it never does.
fn is_sent_away(region: &Region, frames: impl Fn(u32) -> Vec<u8>) -> bool {
    let mut stream = http2(region);
    let mut reader = stream.try_clone().unwrap();
    let watch = std::thread::spawn(move || {
        while let Some((kind, _)) = next_frame(&mut reader) {
            if kind == GOAWAY {
                return true;
            }
        }
        false
    });
    let mut closed = false;
    for number in 0..20_000 {
        if stream.write_all(&frames(number)).is_err() {
            closed = true;
            break;
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    watch.join().unwrap() || closed
}

#[test]
fn http2_says_its_limits() {
    let region = Region::start("");
    let mut stream = http2(&region);
    let settings = loop {
        let (kind, payload) = next_frame(&mut stream).unwrap();
        if kind == SETTINGS && !payload.is_empty() {
            break payload;
        }
    };
    let setting = |id: u8| {
        let found = settings.chunks(6).find(|entry| entry[..2] == [0, id]);
        found.map(|entry| u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]))
    };
    assert_eq!(setting(3), Some(100), "streams at once");
    assert_eq!(setting(4), Some(1024 * 1024), "window of a stream");
    assert_eq!(setting(6), Some(32 * 1024), "size of all headers");
}

/// Row 107: rapid reset, and headers that never end.
#[test]
fn floods_of_http2_end_their_connection_and_nothing_else() {
    let region = Region::start("");
    let reset = |number: u32| {
        let stream = number * 2 + 1;
        let headers = frame(HEADERS, END_STREAM | END_HEADERS, stream, GET);
        [headers, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    assert!(is_sent_away(&region, reset), "rapid reset");
    assert_eq!(region.get("/readyz").status, 200);
    let endless = |number: u32| match number {
        0 => frame(HEADERS, END_STREAM, 1, GET),
        _ => frame(CONTINUATION, 0, 1, &b"\x00\x01x\x7ey".repeat(10)),
    };
    assert!(is_sent_away(&region, endless), "endless headers");
    let empty = |number: u32| match number {
        0 => frame(HEADERS, END_STREAM, 1, GET),
        _ => frame(CONTINUATION, 0, 1, b""),
    };
    assert!(is_sent_away(&region, empty), "empty continuations");
    assert_eq!(region.get("/readyz").status, 200);
}
