//! The process from outside: exit codes, probes, ids, limits, and how it ends.

mod common;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use common::{Answer, PASSWORD, Region, Request, pause, transship};

#[test]
fn the_configuration_decides_the_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    let write = |text: &str| std::fs::write(directory.path().join("c.toml"), text).unwrap();
    let run = |arguments: &[&str]| {
        let output = transship(arguments, directory.path());
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code().unwrap(), text)
    };
    write("[region]\nid = \"a\"\n");
    assert_eq!(run(&["check-config", "--config", "c.toml"]).0, 0);
    write("[region]\nid = \"a\"\nlisten_on = \"x\"\n[replication]\nsync_wait_seconds = 111\n");
    for command in ["check-config", "serve", "region-key"] {
        let (code, text) = run(&[command, "--config", "c.toml"]);
        assert_eq!(code, 2, "{command}: {text}");
        assert!(text.contains("c.toml: region.listen_on is not a known key; expected one of id, listen"), "{text}");
        assert!(text.contains("c.toml: replication.sync_wait_seconds is 111; expected a whole number from 0 to 110"));
    }
    write("[region]\nid = \"a\"\n[bootstrap]\naccount = \"a\"\nuser = \"u\"\npassword = { file = \"gone\" }\n");
    let (code, text) = run(&["check-config", "--config", "c.toml"]);
    assert!(code == 2 && text.contains("bootstrap.password names ") && text.contains("gone"), "{text}");
    assert_eq!(run(&["check-config", "--config", "absent.toml"]).0, 2);
    assert_eq!(run(&["check-config"]).0, 1);
    assert_eq!(run(&["nonsense"]).0, 2);
    // Nothing was made on the way.
    assert!(!directory.path().join("transship-data").exists());
}

#[test]
fn the_region_key_is_made_once() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("c.toml"), "[region]\nid = \"a\"\ndata_dir = \"data\"\n").unwrap();
    let key = || {
        let output = transship(&["region-key", "--config", "c.toml"], directory.path());
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let first = key();
    assert_eq!(first.trim().len(), 44, "{first}");
    assert_eq!(first, key());
    let mode = std::fs::metadata(directory.path().join("data")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn one_data_directory_has_one_serving_process() {
    let region = Region::start("");
    let output = transship(&["serve", "--config", region.config().to_str().unwrap()], region.directory.path());
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("already") && text.contains("one SQLite catalog has one owner"), "{text}");
}

#[test]
fn probes_answer_and_every_answer_has_a_request_id() {
    let mut region = Region::start("");
    for probe in ["/livez", "/readyz"] {
        let answer = region.get(probe);
        assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some("ok")));
        assert_eq!(answer.header("x-request-id").len(), 32);
        let head = region.send(&Request { method: "HEAD", target: probe, ..Request::default() });
        assert_eq!(head.status, 200);
        assert_eq!(region.send(&Request { method: "POST", target: probe, ..Request::default() }).status, 405);
    }
    let given = [("X-Request-Id", "trace-1.a_B")];
    let answer =
        region.send(&Request { target: "/v3/projects?name=secret-query", headers: &given, ..Request::default() });
    assert_eq!(answer.header("x-request-id"), "trace-1.a_B");
    let line = region.wait_for_log(|line| line["request_id"] == "trace-1.a_B");
    assert_eq!((&line["path"], &line["status"], &line["method"]), (&"/v3/projects".into(), &401.into(), &"GET".into()));
    assert!(line["duration_ms"].as_f64().unwrap() > 0.0);
    assert!(!line.to_string().contains("secret-query"));
    let forged = [("X-Request-Id", "a\" b")];
    let answer = region.send(&Request { target: "/livez", headers: &forged, ..Request::default() });
    assert_eq!(answer.header("x-request-id").len(), 32);
}

#[test]
fn heads_that_are_not_to_be_trusted_are_refused() {
    let region = Region::start("");
    let status = |head: &str| region.send_raw(format!("{head}\r\n\r\n").as_bytes()).status;
    let close = "Host: h\r\nConnection: close";
    assert_eq!(status(&format!("GET /livez HTTP/1.1\r\n{close}")), 200);
    assert_eq!(status("GET /livez HTTP/1.1\r\nConnection: close"), 400);
    assert_eq!(status(&format!("GET /livez HTTP/1.1\r\n{close}\r\nHost: h")), 400);
    assert_eq!(status(&format!("GET /{} HTTP/1.1\r\n{close}", "a".repeat(20_000))), 414);
    let wide = format!("X-A: {}", "a".repeat(70_000));
    assert_eq!(status(&format!("GET /livez HTTP/1.1\r\n{close}\r\n{wide}")), 431);
    let many = format!("X-A: {}\r\n", "a".repeat(1000)).repeat(40);
    assert_eq!(status(&format!("GET /livez HTTP/1.1\r\n{many}{close}")), 431);
    for coding in ["xchunked", "chunked, identity", "identity", " chunked", "\tchunked", "gzip, chunked"] {
        assert_eq!(status(&format!("POST /livez HTTP/1.1\r\n{close}\r\nTransfer-Encoding: {coding}")), 400, "{coding}");
    }
    for bad in ["X-A : b", "X\u{0}: b", "X-A: b\u{0}", "X-A: b\r\n folded", "X-A: b\nX-B: c"] {
        assert_eq!(status(&format!("GET /livez HTTP/1.1\r\n{close}\r\n{bad}")), 400, "{bad:?}");
    }
    assert_eq!(region.send_raw(b"GET /livez HTTP/1.1\nHost: h\n\n").status, 400);
    let endless = format!("GET /livez HTTP/1.1\r\n{close}\r\nX-A: {}", "a".repeat(2 << 20));
    assert_eq!(region.send_raw(endless.as_bytes()).status, 431);
    assert_eq!(region.get("/livez").status, 200);
}

/// What the library would have answered with an empty body and no word in the log.
#[test]
fn a_refused_head_has_the_shape_of_its_api_and_a_line_in_the_log() {
    let mut region = Region::start("");
    for (path, code) in [
        ("/v2/a/tags/list", "/errors/0/code"),
        ("/v2/manage/namespaces", "/error_code"),
        ("/v3/projects", "/error/code"),
    ] {
        let answer = region.send_raw(format!("GET {path}?secret=1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").as_bytes());
        assert_eq!(answer.status, 400);
        assert!(answer.json().pointer(code).is_some(), "{answer:?}");
        assert_eq!((answer.header("connection"), answer.header("content-type")), ("close", "application/json"));
        let id = answer.header("x-request-id").to_owned();
        let line = region.wait_for_log(|line| line["request_id"] == id.as_str());
        assert_eq!((&line["path"], &line["method"], &line["status"]), (&path.into(), &"GET".into(), &400.into()));
        assert!(!line.to_string().contains("secret"), "{line}");
    }
}

#[test]
fn a_body_with_two_lengths_never_leaves_a_second_request_behind() {
    let region = Region::start("");
    let smuggled = "0\r\n\r\nGET /livez HTTP/1.1\r\nHost: h\r\n\r\n";
    let head = "POST /v3/auth/tokens HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n";
    for bytes in [
        format!("{head}Content-Length: {}\r\n\r\n{smuggled}", smuggled.len()),
        format!(
            "{}Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n{smuggled}",
            &head[..head.len() - 28],
            smuggled.len()
        ),
    ] {
        let mut stream = region.connect();
        stream.write_all(bytes.as_bytes()).unwrap();
        assert_eq!(Answer::read(&mut stream).status, 400);
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut rest);
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }
}

#[test]
fn a_signal_lets_the_request_in_flight_finish() {
    let mut region = Region::start("");
    let body = format!(
        r#"{{"auth":{{"identity":{{"methods":["password"],"password":{{"user":{{"domain":{{"name":"demo"}},"name":"admin","password":"{PASSWORD}"}}}}}}}}}}"#
    );
    let mut slow = region.connect();
    let head = format!("POST /v3/auth/tokens HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
    slow.write_all(head.as_bytes()).unwrap();
    slow.write_all(&body.as_bytes()[..10]).unwrap();
    // An idle connection must not hold the process up.
    let _idle = region.connect();
    pause();
    assert_eq!(region.get("/readyz").status, 200);

    region.terminate();
    region.wait_for_log(|line| line["message"] == "draining");
    let mut answer = region.get("/readyz");
    for _ in 0..100 {
        if answer.status == 503 {
            break;
        }
        pause();
        answer = region.get("/readyz");
    }
    assert_eq!((answer.status, answer.json()["reason"].as_str()), (503, Some("draining")));
    assert_eq!(region.get("/livez").status, 200);

    slow.write_all(&body.as_bytes()[10..]).unwrap();
    let answer = Answer::read(&mut slow);
    assert_eq!((answer.status, answer.header("connection")), (201, "close"));
    let started = std::time::Instant::now();
    assert_eq!(region.wait(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_signal_ends_an_idle_process_at_once() {
    let mut region = Region::start("");
    let _idle = region.connect();
    let started = std::time::Instant::now();
    region.terminate();
    assert_eq!(region.wait(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}
