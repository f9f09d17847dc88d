//! What must hold for every answer, whatever was asked: no 5xx; an error has the API's own shape and a code of its
//! list, and shows nothing of the inside; the connection continues or ends in order; a refused request changes nothing;
//! the access log has one line; and memory does not grow.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::forge::claims_of;
use super::rows::Request;
use super::stage::Stage;
use super::text::{Context, expand, latin1};
use crate::http::CODES;
use crate::wait;
use crate::wire::{Answer, Read, Wire};

/// Texts that an error never has: words of the database, of the code, of a crash, and paths of the machine.
const INSIDE: [&str; 10] =
    ["SELECT ", "INSERT ", "sqlx", "sqlite", "postgres", "panicked", "backtrace", ".rs:", "/tmp/", "No such file"];
/// A request of these tests has at most 10 MiB, and answers are small; a body that is held in memory would show.
const MAX_GROWTH_KIB: u64 = 64 << 10;

/// The form of an error.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// `{"errors":[{"code","message"}]}` with a code of the specification.
    #[default]
    Oci,
    /// `{"error":"…"}`, as `OAuth2` has it.
    Oauth,
    /// The management API's.
    Manage,
    /// Only a status: a request that could not be read as HTTP belongs to no API.
    Bare,
}

/// Asks and judges.
#[derive(Debug)]
pub struct Judge<'a> {
    stage: &'a Stage,
    /// After each request, also checks that the connection continues and that the catalog is unchanged.
    thorough: bool,
    wire: Option<Wire>,
    facts: Option<BTreeMap<String, String>>,
    request_ids: Vec<String>,
    peak_kib: u64,
    problems: Vec<String>,
    asked: usize,
}

impl<'a> Judge<'a> {
    /// A judge that checks everything after each request.
    pub fn thorough(stage: &'a Stage) -> Self {
        Self {
            stage,
            thorough: true,
            wire: None,
            facts: None,
            request_ids: Vec::new(),
            peak_kib: stage.region.peak_memory_kib(),
            problems: Vec::new(),
            asked: 0,
        }
    }

    /// A judge for thousands of requests. It checks the catalog at the end, and the answer to the next request shows
    /// that the connection continued.
    pub fn quick(stage: &'a Stage) -> Self {
        Self { thorough: false, ..Self::thorough(stage) }
    }

    /// Notes that something does not hold.
    pub fn problem(&mut self, what: &str, problem: &str) {
        self.problems.push(format!("{what}: {problem}"));
    }

    /// Sends one request and judges its answer.
    pub async fn ask(&mut self, what: &str, request: &Request, context: &mut Context) -> Option<Answer> {
        let (bytes, method) = self.bytes(request, context).await;
        if context.take_made() {
            self.facts = None;
        }
        let watch = self.thorough && !request.changes;
        if self.facts.is_none() && !request.changes {
            self.facts = Some(self.stage.facts().await);
        }
        self.asked += 1;
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => Wire::connect(self.stage.value("host")).await,
        };
        let answer = match wire.exchange(&bytes, &method, request.ends).await {
            Read::Answer(answer) => answer,
            // A client that closes first need not be answered.
            Read::Closed { reset: false } if request.ends => Answer::default(),
            other => {
                self.problem(what, &format!("no answer: {other:?}"));
                return None;
            }
        };
        if answer.status != 0 {
            let mut has = Vec::new();
            for wanted in &request.has {
                has.push(expand(self.stage, context, request.actor, wanted).await);
            }
            self.judge(what, request, &method, &answer, &has);
            if let Some(second) = &request.second {
                self.judge_second(what, second, &mut wire).await;
            }
            self.go_on(what, request, answer.closes(), wire).await;
        }
        if watch {
            self.compare_facts(what).await;
        } else if request.changes {
            self.facts = None;
        }
        Some(answer)
    }

    async fn bytes(&self, request: &Request, context: &mut Context) -> (Vec<u8>, String) {
        let expanded = async |context: &mut Context, text: &str| expand(self.stage, context, request.actor, text).await;
        if let Some(raw) = &request.raw {
            let text = expanded(context, raw).await;
            let method = text.split(' ').next().unwrap_or_default().to_owned();
            return (latin1(&text), method);
        }
        let send = request.send.as_deref().expect("a request has `send` or `raw`");
        let line = expanded(context, send).await;
        let method = line.split(' ').next().unwrap_or_default().to_owned();
        let mut head = format!("{line} HTTP/1.1\r\n");
        let mut headers = vec![format!("Host: {}", self.stage.value("host"))];
        match &request.token {
            Some(forged) => {
                let mut forged = forged.clone();
                for part in [&mut forged.head, &mut forged.claims].into_iter().flatten() {
                    *part = expanded(context, part).await;
                }
                headers.push(format!("Authorization: Bearer {}", self.stage.forge.token(&forged)));
            }
            None => headers.extend(self.stage.authorization(request.actor).await),
        }
        match request.media_type.as_deref() {
            None => {}
            Some("image") => headers.push(format!("Content-Type: {}", crate::image::IMAGE)),
            Some("index") => headers.push(format!("Content-Type: {}", crate::image::INDEX)),
            Some(other) => headers.push(format!("Content-Type: {other}")),
        }
        for header in &request.headers {
            headers.push(expanded(context, header).await);
        }
        let mut body = match (&request.body, &request.bytes) {
            (Some(body), _) => Some(expanded(context, body).await.into_bytes()),
            (None, Some(bytes)) => Some(latin1(&expanded(context, bytes).await)),
            (None, None) => None,
        };
        if let (Some(body), Some(size)) = (&mut body, request.pad_to) {
            body.resize(size, b' ');
        }
        if let (Some(whole), Some(size)) = (&body, request.chunk) {
            body = Some(chunked(whole, size));
        }
        let says_length = headers.iter().any(|header| {
            let name = header.split(':').next().unwrap_or_default();
            name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding")
        });
        if !says_length && (body.is_some() || matches!(method.as_str(), "POST" | "PUT" | "PATCH")) {
            headers.push(format!("Content-Length: {}", body.as_ref().map_or(0, Vec::len)));
        }
        for header in headers {
            head.push_str(&header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = latin1(&head);
        bytes.extend(body.unwrap_or_default());
        (bytes, method)
    }

    fn judge(&mut self, what: &str, request: &Request, method: &str, answer: &Answer, has: &[String]) {
        let text = answer.text();
        let shown: String = text.chars().take(300).collect();
        let mut problems = Vec::new();
        if answer.status >= 500 || !request.status.contains(&answer.status) {
            problems.push(format!("status {}, expected {:?}: {shown}", answer.status, request.status));
        }
        match answer.header("x-request-id") {
            Some(id) => self.request_ids.push(id.to_owned()),
            None if request.shape == Shape::Bare => {}
            None => problems.push("no X-Request-Id".to_owned()),
        }
        if answer.status >= 400 && method != "HEAD" {
            problems.extend(error_problem(request, answer));
        }
        if method == "HEAD" && !answer.body.is_empty() {
            problems.push("an answer to HEAD with a body".to_owned());
        }
        for inside in INSIDE.iter().filter(|inside| answer.status >= 400 && text.contains(**inside)) {
            problems.push(format!("the answer says {inside:?}: {shown}"));
        }
        if answer.status == 401 && request.shape == Shape::Oci && !what.contains("token endpoint") {
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            if !challenge.starts_with("Bearer realm=\"http://127.0.0.1:") {
                problems.push(format!("401 with the challenge {challenge:?}"));
            }
        }
        problems.extend(has.iter().filter_map(|wanted| header_problem(answer, wanted)));
        if let Some(wanted) = &request.grants {
            problems.extend(self.grants_problem(answer, wanted));
        }
        for name in request.lacks.iter().filter(|name| answer.header(&name.to_ascii_lowercase()).is_some()) {
            problems.push(format!("there is a header {name}"));
        }
        let trap = self.stage.value("trap");
        let missing = request.says.iter().filter(|said| !text.contains(&said.replace("<<trap>>", trap)));
        problems.extend(missing.map(|said| format!("no {said:?}: {shown}")));
        problems.extend(request.hides.iter().filter(|said| text.contains(*said)).map(|s| format!("{s:?}: {shown}")));
        if request.at_most_bytes.is_some_and(|most| answer.body.len() > most) {
            problems.push(format!("a body of {} bytes", answer.body.len()));
        }
        for problem in problems {
            self.problem(what, &problem);
        }
    }

    /// Checks what a token of the token endpoint allows, and for whom.
    fn grants_problem(&self, answer: &Answer, wanted: &[String]) -> Option<String> {
        let json = answer.json().unwrap_or_default();
        let Some(token) = json["token"].as_str().filter(|_| answer.status == 200) else {
            return Some("no token".to_owned());
        };
        let claims = claims_of(token);
        let entry = |entry: &Value| {
            let actions = entry["actions"].as_array().map_or(&[][..], Vec::as_slice);
            let actions: Vec<&str> = actions.iter().filter_map(Value::as_str).collect();
            format!("{}:{}", entry["name"].as_str().unwrap_or_default(), actions.join(","))
        };
        let granted: Vec<String> =
            claims["access"].as_array().map_or(&[][..], Vec::as_slice).iter().map(entry).collect();
        if claims["sub"] != "" && claims["sub"] != *self.stage.forge.subject() {
            return Some(format!("a token for {}", claims["sub"]));
        }
        (granted != wanted).then(|| format!("a token for {granted:?}, expected {wanted:?}"))
    }

    async fn judge_second(&mut self, what: &str, statuses: &[u16], wire: &mut Wire) {
        match wire.read("GET").await {
            Read::Answer(answer) if statuses.contains(&answer.status) => {
                self.request_ids.extend(answer.header("x-request-id").map(str::to_owned));
            }
            other => self.problem(what, &format!("the second answer is {other:?}, expected {statuses:?}")),
        }
    }

    /// Checks that the connection continues after an answer, or ends in order and only if the answer said so.
    async fn go_on(&mut self, what: &str, request: &Request, said_close: bool, mut wire: Wire) {
        if said_close || request.closes || request.ends {
            match wire.read("GET").await {
                Read::Closed { reset: false } => {}
                // The kernel resets the connection if bytes arrive that nobody reads any more.
                Read::Closed { reset: true } if said_close => {}
                other => self.problem(what, &format!("the connection does not end: {other:?}")),
            }
        } else if self.thorough {
            let probe = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", self.stage.value("host"));
            let sent = wire.send(probe.as_bytes()).await;
            match wire.read("GET").await {
                Read::Answer(answer) if answer.status == 200 => self.wire = Some(wire),
                other => self.problem(what, &format!("the connection does not go on: {other:?}, {sent:?}")),
            }
        } else {
            self.wire = Some(wire);
        }
    }

    async fn compare_facts(&mut self, what: &str) {
        let now = self.stage.facts().await;
        let before = self.facts.replace(now.clone()).unwrap_or_default();
        for (table, rows) in &now {
            if before.get(table) != Some(rows) {
                self.problem(what, &format!("changed {table}: {:?} to {rows}", before.get(table)));
            }
        }
    }

    /// Checks the log, the memory and the catalog at the end, and panics if there were problems.
    pub async fn finish(mut self) {
        if !self.thorough && self.facts.is_some() {
            self.compare_facts("all of these").await;
        }
        let ids = std::mem::take(&mut self.request_ids);
        let region = &self.stage.region;
        let wanted = ids.len();
        let lines = wait::until("an access-log line for each request", Duration::from_mins(1), || async {
            let lines = access_lines(&region.log());
            ids.iter().all(|id| lines.contains_key(id)).then_some(lines)
        });
        for (id, count) in lines.await.iter().filter(|(id, count)| **count != 1 && ids.contains(id)) {
            self.problem(id, &format!("{count} lines in the access log"));
        }
        if self.stage.trap_was_used() {
            self.problem("all of these", "the region went where a request wanted to send it");
        }
        let grown = region.peak_memory_kib().saturating_sub(self.peak_kib);
        if grown > MAX_GROWTH_KIB {
            self.problem("all of these", &format!("memory grew by {grown} KiB"));
        }
        let (asked, problems) = (self.asked, self.problems);
        assert!(problems.is_empty(), "{} problems in {asked} requests:\n{}", problems.len(), problems.join("\n"));
        assert!(wanted > 0, "nothing was asked");
    }
}

fn header_problem(answer: &Answer, wanted: &str) -> Option<String> {
    let (name, value) = wanted.split_once(": ").unwrap_or_else(|| panic!("{wanted} is no header"));
    let found = answer.header(&name.to_ascii_lowercase());
    let fits = |found: &str| match value.split_at_checked(1) {
        Some(("*", "")) => true,
        Some(("^", start)) => found.starts_with(start),
        Some(("~", part)) => found.contains(part),
        _ => found == value,
    };
    (!found.is_some_and(fits)).then(|| format!("{name} is {found:?}, expected {value:?}"))
}

/// The bytes with the framing of `Transfer-Encoding: chunked`.
fn chunked(whole: &[u8], size: usize) -> Vec<u8> {
    let mut framed = Vec::with_capacity(whole.len() + whole.len() / size * 8 + 8);
    for chunk in whole.chunks(size) {
        framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(b"0\r\n\r\n");
    framed
}

/// What is wrong with the body of an error.
fn error_problem(request: &Request, answer: &Answer) -> Option<String> {
    let text: String = answer.text().chars().take(300).collect();
    if request.shape == Shape::Bare {
        return None;
    }
    let media_type = answer.header("content-type").unwrap_or_default();
    if media_type.split(';').next() != Some("application/json") {
        return Some(format!("an error as {media_type:?}: {text}"));
    }
    let Some(json) = answer.json() else { return Some(format!("an error that is not JSON: {text}")) };
    let (code, message) = match request.shape {
        Shape::Oci | Shape::Bare => (&json["errors"][0]["code"], &json["errors"][0]["message"]),
        Shape::Oauth => (&json["error"], &json["error"]),
        Shape::Manage => (&json["error_code"], &json["error_msg"]),
    };
    let code = code.as_str().unwrap_or_default();
    let code = code.strip_prefix("SVCSTG.SWR.").unwrap_or(code);
    if message.as_str().is_none_or(str::is_empty) {
        return Some(format!("an error without a message: {text}"));
    }
    if request.shape == Shape::Oci && (!CODES.contains(&code) || !only_known_members(&json)) {
        return Some(format!("not an error of the specification: {text}"));
    }
    if !request.code.is_empty() && !request.code.iter().any(|wanted| wanted == code) {
        return Some(format!("code {code:?}, expected {:?}: {text}", request.code));
    }
    None
}

fn only_known_members(json: &Value) -> bool {
    let errors = json["errors"].as_array().map_or(&[][..], Vec::as_slice);
    let known = |error: &Value| {
        error.as_object().is_some_and(|e| e.keys().all(|k| matches!(k.as_str(), "code" | "message" | "detail")))
    };
    json.as_object().is_some_and(|body| body.len() == 1) && errors.iter().all(known)
}

/// Counts the lines of each request id in the access log.
fn access_lines(log: &str) -> HashMap<String, usize> {
    let mut lines = HashMap::new();
    for line in log.lines().filter(|line| line.contains("transship::access")) {
        let Ok(json) = serde_json::from_str::<Value>(line) else { continue };
        if let Some(id) = json["request_id"].as_str() {
            *lines.entry(id.to_owned()).or_insert(0) += 1;
        }
    }
    lines
}

/// An answer without what differs between any two: ids, dates, digests, and the repository that was asked about.
pub fn masked(answer: &Answer) -> String {
    let mut lines: Vec<String> = vec![answer.status.to_string()];
    let headers = answer.headers.iter().filter(|(name, _)| !matches!(name.as_str(), "date" | "x-request-id"));
    lines.extend(headers.map(|(name, value)| format!("{name}: {}", mask_hex(value))));
    lines.push(mask_hex(&answer.text()));
    let text = lines.join("\n");
    let mut pieces = text.split("repository:");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| {
        let (_, rest) = piece.split_once(':').unwrap_or(("", piece));
        format!("{text}repository:#:{rest}")
    })
}

/// Runs of 32 hexadecimal digits or more become one mark.
fn mask_hex(text: &str) -> String {
    let mut masked = String::new();
    let mut run = String::new();
    for char in text.chars().chain(['\n']) {
        if char.is_ascii_hexdigit() {
            run.push(char);
            continue;
        }
        masked.push_str(if run.len() >= 32 { "#" } else { &run });
        run.clear();
        masked.push(char);
    }
    masked
}
