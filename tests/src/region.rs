//! One region: a `transship serve` process with a folder, ports and a configuration file of its own.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::fault::Faults;
use crate::manage::{Manage, User};
use crate::port::Port;
use crate::registry::{self, Registry};
use crate::tls::{self, Certificate};
use crate::{clients, environment, http, wait};

/// A start with a new catalog takes a second or two; a busy machine some more.
const START_LIMIT: Duration = Duration::from_mins(1);
/// The drain of requests in flight may take 30 s; nothing else may take long.
const STOP_LIMIT: Duration = Duration::from_secs(40);

/// The account of every test.
pub const ACCOUNT: &str = "demo";

/// What a test wants of a region beyond the defaults.
#[derive(Clone, Debug)]
pub struct RegionSettings {
    /// Region id.
    pub id: String,
    /// `replication.sync_wait_seconds`.
    pub sync_wait_seconds: u32,
    /// `replication.sync_images_response`.
    pub sync_images_response: &'static str,
    /// `replication.sync_max_tags`.
    pub sync_max_tags: u32,
    /// `catalog.url`; SQLite when `None`.
    pub catalog_url: Option<String>,
    /// Also listen with TLS.
    pub tls: bool,
    /// `region.public_url` is the address with TLS.
    pub public_tls: bool,
    /// More lines of `[replication]`.
    pub replication: Vec<String>,
    /// More sections of the file, each with its heading.
    pub sections: Vec<String>,
    /// More lines of each `[[peer]]`.
    pub peer_lines: Vec<String>,
    /// The data folder: on a volume of the test, or that of another region with the same catalog and the same bytes. A
    /// folder of its own if `None`.
    pub data_dir: Option<PathBuf>,
}

impl RegionSettings {
    /// A region with SQLite, plain HTTP, and the defaults of replication.
    pub fn named(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            sync_wait_seconds: 60,
            sync_images_response: "failed",
            sync_max_tags: 1000,
            catalog_url: None,
            tls: false,
            public_tls: false,
            replication: Vec::new(),
            sections: Vec::new(),
            // Most tests have no other user than the administrator.
            peer_lines: vec!["administrators = true".to_owned()],
            data_dir: None,
        }
    }
}

/// Another region as this one knows it.
#[derive(Clone, Debug)]
struct Peer {
    id: String,
    url: String,
    public_keys: Vec<String>,
}

/// One region.
#[derive(Debug)]
pub struct Region {
    settings: RegionSettings,
    admin: User,
    folder: TempDir,
    port: Port,
    tls_port: Port,
    certificate: Option<Certificate>,
    peers: Vec<Peer>,
    /// Variables of its environment.
    environment: Vec<(&'static str, OsString)>,
    process: Option<Child>,
}

impl Region {
    /// A region that is configured, with `admin` as the administrator of its account, and not started.
    pub async fn prepare(settings: RegionSettings, admin: &User) -> Self {
        let folder =
            tempfile::Builder::new().prefix("transship-test-").tempdir().expect("a temporary folder can be made");
        let certificate = if settings.tls { Some(tls::certificate(folder.path()).await) } else { None };
        let (port, tls_port) = (Port::reserve(), Port::reserve());
        let admin = admin.clone();
        let region = Self {
            settings,
            admin,
            folder,
            port,
            tls_port,
            certificate,
            peers: Vec::new(),
            environment: Vec::new(),
            process: None,
        };
        region.write_configuration();
        region
    }

    /// Region id.
    pub fn id(&self) -> &str {
        &self.settings.id
    }

    /// `127.0.0.1:<port>`.
    pub fn host(&self) -> String {
        self.port.address()
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.host())
    }

    /// `https://127.0.0.1:<port>` and the file that clients must trust.
    pub fn tls(&self) -> (String, &Path) {
        let certificate = self.certificate.as_ref().expect("the region was prepared with TLS");
        (format!("https://{}", self.tls_port.address()), &certificate.authority)
    }

    /// The data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.settings.data_dir.clone().unwrap_or_else(|| self.folder.path().join("data"))
    }

    /// Puts these faults on the region from its next start on.
    pub fn meet(&mut self, faults: &Faults) {
        self.environment = faults.environment(&self.data_dir()).into();
    }

    fn configuration_file(&self) -> PathBuf {
        self.folder.path().join("transship.toml")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn secret(&self, name: &str, value: &str) -> String {
        let file = self.folder.path().join(name);
        std::fs::write(&file, value).expect("the folder is writable");
        format!("{{ file = \"{}\" }}", file.display())
    }

    fn write_configuration(&self) {
        let RegionSettings { id, sync_wait_seconds, sync_images_response, sync_max_tags, .. } = &self.settings;
        let (host, data_dir) = (self.host(), self.data_dir());
        let public_url =
            if self.settings.public_tls { format!("https://{}", self.tls_port.address()) } else { self.url() };
        let mut lines = vec![
            "[region]".to_owned(),
            format!("id = \"{id}\""),
            format!("listen = \"{host}\""),
            format!("public_url = \"{public_url}\""),
            format!("data_dir = \"{}\"", data_dir.display()),
        ];
        if let Some(Certificate { certificate, private_key, .. }) = &self.certificate {
            lines.push(format!("listen_tls = \"{}\"", self.tls_port.address()));
            lines.push("[tls]".to_owned());
            lines.push(format!("certificate = \"{}\"", certificate.display()));
            lines.push(format!("private_key = \"{}\"", private_key.display()));
        }
        if let Some(url) = &self.settings.catalog_url {
            lines.push(format!("[catalog]\nurl = \"{url}\""));
        }
        let User { name, access_key, secret_key, password } = &self.admin;
        lines.extend([
            "[replication]".to_owned(),
            format!("sync_wait_seconds = {sync_wait_seconds}"),
            format!("sync_images_response = \"{sync_images_response}\""),
            format!("sync_max_tags = {sync_max_tags}"),
        ]);
        lines.extend_from_slice(&self.settings.replication);
        lines.extend_from_slice(&self.settings.sections);
        lines.extend([
            "[bootstrap]".to_owned(),
            format!("account = \"{ACCOUNT}\""),
            format!("user = \"{name}\""),
            format!("password = {}", self.secret("password", password)),
            format!("access_key = \"{access_key}\""),
            format!("secret_key = {}", self.secret("secret-key", secret_key)),
        ]);
        for Peer { id, url, public_keys } in &self.peers {
            lines.push("[[peer]]\nkind = \"transship\"".to_owned());
            let public_key = match public_keys.as_slice() {
                [one] => format!("\"{one}\""),
                more => format!("{more:?}"),
            };
            lines.push(format!("id = \"{id}\"\nurl = \"{url}\"\npublic_key = {public_key}"));
            lines.extend_from_slice(&self.settings.peer_lines);
        }
        std::fs::write(self.configuration_file(), lines.join("\n")).expect("the folder is writable");
    }

    /// A command of the binary with this region's configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = clients::command(environment::transship(), arguments);
        command.arg("--config").arg(self.configuration_file()).current_dir(self.folder.path());
        command
    }

    /// What `transship region-key` prints.
    pub async fn public_key(&self) -> String {
        clients::must(self.command(&["region-key"])).await
    }

    /// Adds another region to the configuration, found at `url`.
    pub async fn trust(&mut self, other: &Self, url: &str) {
        let peer = Peer { id: other.id().to_owned(), url: url.to_owned(), public_keys: vec![other.public_key().await] };
        self.peers.push(peer);
        self.write_configuration();
    }

    /// Pins these keys for a region that is trusted already; the next start or [`Region::hang_up`] reads them.
    pub fn pin(&mut self, id: &str, public_keys: &[String]) {
        let peer = self.peers.iter_mut().find(|peer| peer.id == id).expect("the region is a peer");
        peer.public_keys = public_keys.to_vec();
        self.write_configuration();
    }

    /// Gives each `[[peer]]` these lines; the next start or [`Region::hang_up`] reads them.
    pub fn set_peer_lines(&mut self, lines: &[&str]) {
        self.settings.peer_lines = lines.iter().map(|&line| line.to_owned()).collect();
        self.write_configuration();
    }

    /// Starts the process and waits until it is ready.
    pub async fn start(&mut self) {
        if let Err(status) = self.try_start().await {
            panic!("region {} ended at its start with {status}", self.id());
        }
    }

    /// Starts the process and waits until it is ready.
    ///
    /// # Errors
    /// How the process ended, if it did not become ready.
    pub async fn try_start(&mut self) -> Result<(), ExitStatus> {
        assert!(self.process.is_none(), "region {} is running already", self.id());
        let log = OpenOptions::new().create(true).append(true).open(self.log_file()).expect("the log can be opened");
        let mut command = self.command(&["serve"]);
        command.envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log handle")).stderr(log).kill_on_drop(true);
        self.process = Some(command.spawn().expect("the binary starts"));
        let (http, url) = (http::client(), format!("{}/readyz", self.url()));
        let start = std::time::Instant::now();
        loop {
            if http::try_send(http.get(&url)).await.is_ok_and(|reply| reply.status == 200) {
                return Ok(());
            }
            let process = self.process.as_mut().expect("it was just started");
            if let Some(status) = process.try_wait().expect("a child can be asked") {
                self.process = None;
                return Err(status);
            }
            assert!(start.elapsed() < START_LIMIT, "region {} is not ready after {START_LIMIT:?}", self.id());
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// The id of the process.
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().and_then(Child::id).expect("the region is running")
    }

    /// Whether the process has ended by itself; then the region can be started again.
    pub fn has_died(&mut self) -> bool {
        let process = self.process.as_mut().expect("the region was started");
        let died = process.try_wait().expect("a child can be asked").is_some();
        if died {
            self.process = None;
        }
        died
    }

    /// SIGKILL: nothing is flushed, nothing is logged.
    pub async fn kill9(&mut self) {
        let mut process = self.process.take().expect("the region is running");
        process.kill().await.expect("a child can be killed");
    }

    /// SIGSTOP: no thread goes on until [`Region::thaw`].
    pub async fn freeze(&self) {
        let id = self.process_id();
        clients::must(clients::command("kill", &["-STOP", &id.to_string()])).await;
        let is_stopped = || async {
            // The state is the first letter after the name, which is in brackets.
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            stat.rsplit_once(") ")?.1.starts_with('T').then_some(())
        };
        wait::until("the region to stand still", Duration::from_secs(10), is_stopped).await;
    }

    /// SIGCONT.
    pub async fn thaw(&self) {
        clients::must(clients::command("kill", &["-CONT", &self.process_id().to_string()])).await;
    }

    /// SIGHUP, and the line that says that the configuration was read again.
    pub async fn hang_up(&self) {
        let count = || self.log().matches("the configuration was read again").count();
        let before = count();
        clients::must(clients::command("kill", &["-HUP", &self.process_id().to_string()])).await;
        let read = || async { (count() > before).then_some(()) };
        wait::until("the configuration to be read again", Duration::from_secs(10), read).await;
    }

    /// SIGTERM, then waits for the drain. The process must end by itself, with exit code 0.
    pub async fn terminate(&mut self) {
        let mut process = self.process.take().expect("the region is running");
        let id = process.id().expect("the region is running").to_string();
        clients::must(clients::command("kill", &["-TERM", &id])).await;
        let status = tokio::time::timeout(STOP_LIMIT, process.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("region {} does not end on SIGTERM", self.settings.id));
        assert!(status.expect("a child can be waited for").success(), "region {} ended badly", self.settings.id);
    }

    /// `transship admin …`; the region must be stopped, because one process owns an embedded catalog.
    pub async fn admin(&self, arguments: &[&str]) -> String {
        let mut all = vec!["admin"];
        all.extend(arguments);
        clients::must(self.command(&all)).await
    }

    /// Makes an ordinary user of an account, with a password and an access key; the region must be stopped.
    pub async fn add_user(&self, account: &str, user: &User) {
        let password = self.folder.path().join("user-password");
        let secret = self.folder.path().join("user-secret");
        std::fs::write(&password, &user.password).expect("the folder is writable");
        std::fs::write(&secret, &user.secret_key).expect("the folder is writable");
        let (password, secret) = (password.display().to_string(), secret.display().to_string());
        self.admin(&["user", "create", "--account", account, "--name", &user.name, "--password-file", &password]).await;
        let key =
            ["access-key", "create", "--account", account, "--user", &user.name, "--access-key", &user.access_key];
        self.admin(&[&key[..], &["--secret-key-file", &secret]].concat()).await;
    }

    /// The management API for a user.
    pub fn manage(&self, user: &User) -> Manage {
        Manage::new(&self.host(), user)
    }

    /// The registry for a user, by the login that the access key gives.
    pub fn registry(&self, user: &User) -> Registry {
        Registry::new(&self.url(), Some(registry::login_of(self.id(), user)))
    }

    /// The registry without a login.
    pub fn anonymous(&self) -> Registry {
        Registry::new(&self.url(), None)
    }

    /// Gets an IAM token for a user's password. Returns what the answer says about it, and the token.
    pub async fn iam_token(&self, user: &User) -> (serde_json::Value, String) {
        let body = serde_json::json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {
            "domain": {"name": ACCOUNT}, "name": user.name, "password": user.password}}},
            "scope": {"project": {"name": self.id()}}}});
        let post = http::client().post(format!("{}/v3/auth/tokens", self.url())).body(body.to_string());
        let reply = http::send(post.header("Content-Type", "application/json")).await.expect(201);
        let token = reply.header("x-subject-token").expect("a token comes in a header").to_owned();
        (reply.json(), token)
    }

    /// The id of a user in this region.
    pub async fn user_id(&self, user: &User) -> String {
        let (told, _) = self.iam_token(user).await;
        told["token"]["user"]["id"].as_str().expect("a token names its user").to_owned()
    }

    /// Peak resident memory of the process so far, in KiB.
    pub fn peak_memory_kib(&self) -> u64 {
        self.memory_kib("VmHWM:")
    }

    /// Resident memory of the process now, in KiB.
    pub fn resident_memory_kib(&self) -> u64 {
        self.memory_kib("VmRSS:")
    }

    fn memory_kib(&self, line: &str) -> u64 {
        let id = self.process.as_ref().and_then(Child::id).expect("the region is running");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("the process has a status");
        let line = status.lines().find(|each| each.starts_with(line)).expect("the status has this line");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("it is a number")
    }

    /// Files and connections that the process has open now.
    pub fn open_files(&self) -> usize {
        let id = self.process.as_ref().and_then(Child::id).expect("the region is running");
        std::fs::read_dir(format!("/proc/{id}/fd")).expect("the process has a table of them").count()
    }

    /// Bytes that the process has asked the system for so far, from files and sockets.
    pub fn bytes_read(&self) -> u64 {
        let id = self.process.as_ref().and_then(Child::id).expect("the region is running");
        let account = std::fs::read_to_string(format!("/proc/{id}/io")).expect("the process has an account");
        let line = account.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("the account counts reads");
        line.parse().expect("a count is a number")
    }

    /// The files that hold blobs, whole or not.
    pub fn blob_files(&self) -> Vec<PathBuf> {
        let below = |folder: PathBuf| {
            let entries = std::fs::read_dir(folder).into_iter().flatten();
            entries.map(|entry| entry.expect("a folder can be read").path())
        };
        let shards = below(self.data_dir().join("blobs")).filter(|path| path.is_dir());
        shards.flat_map(below).collect()
    }

    /// Waits until the region's log holds a text. For tests of what is logged.
    pub async fn wait_for_log(&self, text: &str) {
        let seen = || async { std::fs::read_to_string(self.log_file()).ok().filter(|log| log.contains(text)) };
        wait::until(&format!("'{text}' in the log of {}", self.id()), Duration::from_secs(10), seen).await;
    }

    /// The whole log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }
}

impl Drop for Region {
    #[expect(clippy::print_stderr, reason = "a failed test shows what the region said")]
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // An error means that the process is gone already. kill_on_drop would kill it too, but only some time
            // later.
            let _ = process.start_kill();
        }
        if std::thread::panicking() && File::open(self.log_file()).is_ok() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            eprintln!("--- the end of the log of {} ---\n{}", self.settings.id, last.join("\n"));
        }
    }
}
