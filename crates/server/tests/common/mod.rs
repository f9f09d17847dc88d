//! A real process of one region, and just enough HTTP/1.1 to say to it what no client library would.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(dead_code, reason = "each test file uses its own part")]

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tempfile::TempDir;
use transship_swr::signature::{SignedRequest, authorization_header};

/// Nothing here takes longer, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const ACCESS_KEY: &str = "EXAMPLEACCESSKEY0001";
pub(crate) const SECRET_KEY: &str = "examplesecretkeyexamplesecretkey00000001";
pub(crate) const PASSWORD: &str = "correct horse";

/// Runs the program to its end.
pub(crate) fn transship(arguments: &[&str], directory: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_transship")).args(arguments).current_dir(directory).output().unwrap()
}

/// A running region in a directory of its own.
pub(crate) struct Region {
    pub(crate) directory: TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) address_tls: Option<SocketAddr>,
    child: Child,
    log: Receiver<Value>,
}

impl Region {
    /// Starts a region `cn-north-4` with account `demo`, user `admin` and an access key; `more` is appended to its file.
    pub(crate) fn start(more: &str) -> Self {
        Self::start_in(configured(more), Command::new(env!("CARGO_BIN_EXE_transship")))
    }

    /// The same with at most so many open files.
    pub(crate) fn start_with_files(files: u32, more: &str) -> Self {
        let mut shell = Command::new("sh");
        let script = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_transship")]);
        Self::start_in(configured(more), shell)
    }

    fn start_in(directory: TempDir, mut command: Command) -> Self {
        let mut child = command
            .args(["serve", "--config"])
            .arg(directory.path().join("transship.toml"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, log) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        let mut region = Self { directory, address: ([127, 0, 0, 1], 0).into(), address_tls: None, child, log };
        loop {
            let line = region.wait_for_log(|line| line["message"] == "serving" || line["message"] == "TLS");
            if let Some(address) = line["listen_tls"].as_str() {
                region.address_tls = Some(address.parse().unwrap());
            }
            if let Some(address) = line["listen"].as_str() {
                region.address = address.parse().unwrap();
                return region;
            }
        }
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().join("transship.toml")
    }

    /// `transship admin …`; panics unless it succeeds, and returns what it printed as JSON.
    pub(crate) fn admin(&self, arguments: &[&str]) -> Value {
        let config = self.config();
        let mut all = vec!["admin", "--json", "--config", config.to_str().unwrap()];
        all.extend(arguments);
        let output = transship(&all, self.directory.path());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The first log line from now on that fits.
    pub(crate) fn wait_for_log(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            match self.log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if fits(&line) => return line,
                Ok(line) => seen.push(line.to_string()),
                Err(RecvTimeoutError::Timeout) => panic!("no such line in the log:\n{}", seen.join("\n")),
                Err(RecvTimeoutError::Disconnected) => panic!("the process ended:\n{}", seen.join("\n")),
            }
        }
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Resident memory, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the process does not end");
            pause();
        }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// One request on a connection of its own.
    pub(crate) fn send(&self, request: &Request<'_>) -> Answer {
        self.send_raw(&request.bytes(self.address))
    }

    /// Raw bytes on a connection of their own, and the answer to them.
    pub(crate) fn send_raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(bytes);
        Answer::read(&mut stream)
    }

    /// Makes an organization, and gives the `Authorization` of a token that may push and pull one of its repositories.
    pub(crate) fn push_token(&self, namespace: &str, repository: &str) -> String {
        let body = format!(r#"{{"namespace":"{namespace}"}}"#);
        let create = Request { method: "POST", target: "/v2/manage/namespaces", body: &body, ..Request::default() };
        let signature = create.signed(self.address, ACCESS_KEY, SECRET_KEY);
        let headers: Vec<_> = signature.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let made = self.send(&Request { headers: &headers, ..create });
        assert_eq!(made.status, 201, "{made:?}");
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("demo/admin:{PASSWORD}"));
        let target =
            format!("/swr/auth/v2/registry/auth/?service=dockyard&scope=repository:{namespace}/{repository}:pull,push");
        let headers = [("Authorization", &*format!("Basic {basic}"))];
        let token = self.send(&Request { target: &target, headers: &headers, ..Request::default() });
        format!("Bearer {}", token.json()["token"].as_str().unwrap())
    }

    /// Starts the same region again, after it has ended.
    pub(crate) fn restart(&mut self) {
        let directory = std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap());
        *self = Self::start_in(directory, Command::new(env!("CARGO_BIN_EXE_transship")));
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.send(&Request { target, ..Request::default() })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory with a configuration in it.
fn configured(more: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("password"), PASSWORD).unwrap();
    std::fs::write(directory.path().join("secret"), SECRET_KEY).unwrap();
    let config = format!(
        r#"
        [region]
        id = "cn-north-4"
        listen = "127.0.0.1:0"
        data_dir = "data"
        {more}
        [bootstrap]
        account = "demo"
        user = "admin"
        password = {{ file = "password" }}
        access_key = "{ACCESS_KEY}"
        secret_key = {{ file = "secret" }}
        "#
    );
    std::fs::write(directory.path().join("transship.toml"), config).unwrap();
    directory
}

/// Lets some time pass.
pub(crate) fn pause() {
    // A receiver that nobody sends to waits without blocking an async worker: there is none here.
    let (_sender, receiver) = channel::<()>();
    let _ = receiver.recv_timeout(Duration::from_millis(20));
}

/// A request to be written by hand.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a str,
}

impl Default for Request<'_> {
    fn default() -> Self {
        Self { method: "GET", target: "/", headers: &[], body: "" }
    }
}

impl Request<'_> {
    pub(crate) fn bytes(&self, host: SocketAddr) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n", self.method, self.target);
        for (name, value) in self.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let _ = write!(text, "Content-Length: {}\r\n\r\n{}", self.body.len(), self.body);
        text.into_bytes()
    }

    /// The Authorization header of this request, signed now, and its date.
    pub(crate) fn signed(&self, host: SocketAddr, access_key: &str, secret_key: &str) -> [(&'static str, String); 2] {
        let date = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let mut headers: HeaderMap = self
            .headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect();
        headers.insert("host", HeaderValue::from_str(&host.to_string()).unwrap());
        headers.insert("x-sdk-date", HeaderValue::from_str(&date).unwrap());
        let (path, query) =
            self.target.split_once('?').map_or((self.target, None), |(path, query)| (path, Some(query)));
        let request = SignedRequest { method: self.method, path, query, headers: &headers, authority: None };
        let names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        let text = authorization_header(request, &names, self.body.as_bytes(), access_key, secret_key).unwrap();
        [("X-Sdk-Date", date), ("Authorization", text)]
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Reads an answer, which must say its length or close the connection.
    pub(crate) fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        let mut piece = [0_u8; 4096];
        let head_end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "no answer: {:?}", String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(&piece[..read]);
        };
        let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
        let mut body = bytes.split_off(head_end + 4);
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: HeaderMap = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value.trim()).unwrap()))
            .collect();
        let length = headers.get("content-length").map(|value| value.to_str().unwrap().parse::<usize>().unwrap());
        while length.is_none_or(|length| body.len() < length) {
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => break,
                Ok(read) => body.extend_from_slice(&piece[..read]),
            }
        }
        Self { status, headers, body }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}")).to_str().unwrap()
    }
}
