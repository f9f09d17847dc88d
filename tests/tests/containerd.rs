//! containerd, as docker and Kubernetes use it, through its client `ctr`: import, push, pull of one and of every platform,
//! and what is refused. `scripts/with-containerd.sh` starts a containerd of the test's own.

use std::collections::BTreeMap;

use transship_tests::clients::{Client, Layout, assert_same, closure_from, command, must, run};
use transship_tests::environment;
use transship_tests::solo::Solo;

/// `ctr` with a namespace of containerd's own for each test, so that one does not see what the other has pulled.
struct Ctr {
    client: Client,
    socket: String,
    namespace: String,
}

impl Ctr {
    fn new() -> Self {
        let socket = environment::required("TRANSSHIP_TEST_CONTAINERD", "scripts/with-containerd.sh cargo test …");
        Self { client: Client::new("ctr"), socket, namespace: format!("test-{}", uuid::Uuid::new_v4().simple()) }
    }

    fn all<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [&["--address", &self.socket, "--namespace", &self.namespace], arguments].concat()
    }

    async fn must(&self, arguments: &[&str]) -> String {
        self.client.must(&self.all(arguments)).await
    }

    async fn refused(&self, arguments: &[&str]) -> String {
        self.client.refused(&self.all(arguments)).await
    }

    /// Imports every platform of a layout under a name.
    async fn import(&self, layout: &Layout, name: &str) {
        let archive = self.client.home().join("layout.tar").display().to_string();
        must(command("tar", &["-C", &layout.path().display().to_string(), "-cf", &archive, "."])).await;
        // The layout's tag is `latest`; what stands before the colon is the base name.
        let base = name.rsplit_once(':').expect("a name has a tag").0;
        self.must(&["images", "import", "--all-platforms", "--no-unpack", "--base-name", base, &archive]).await;
        self.must(&["images", "tag", &format!("{base}:latest"), name]).await;
    }

    /// Takes every image and all content away. Content of one namespace serves pulls in others too.
    async fn forget_everything(&self) {
        let listed = self.must(&["images", "ls", "--quiet"]).await;
        let names: Vec<&str> = listed.lines().collect();
        self.must(&[&["images", "rm", "--sync"], &names[..]].concat()).await;
        assert_eq!(self.must(&["content", "ls", "--quiet"]).await, "", "content of forgotten images stays");
    }

    /// Every byte of what a digest names, from containerd's own store.
    fn closure(&self, digest: &str) -> BTreeMap<String, Vec<u8>> {
        closure_from(digest, &|digest| {
            let arguments = self.all(&["content", "get", digest]);
            let output = std::process::Command::new("ctr").args(arguments).output().expect("ctr starts");
            assert!(output.status.success(), "{digest} is not in containerd's store");
            output.stdout
        })
    }
}

#[tokio::test]
async fn containerd_pushes_and_pulls_every_platform() {
    let solo = Solo::start().await;
    let ctr = Ctr::new();
    let layout = Layout::make("multi", &["--platforms", "3", "--layer-mib", "1"]).await;
    let (user, password) = solo.login();
    let login = format!("{user}:{password}");
    let name = solo.name("app:v1");
    ctr.import(&layout, &name).await;
    ctr.must(&["images", "push", "--plain-http", "--user", &login, &name]).await;
    assert_eq!(solo.registry().pull("group/app", "v1").await.digest, layout.digest("latest"));
    ctr.forget_everything().await;
    let pull = ["images", "pull", "--plain-http", "--snapshotter", "native"];
    ctr.must(&[&pull[..], &["--all-platforms", "--user", &login, &name]].concat()).await;
    assert_same(&layout.closure("latest"), &ctr.closure(&layout.digest("latest")));

    ctr.forget_everything().await;

    // One platform, without a login, once the repository is public.
    let nobody = Ctr::new();
    let anonymous = [&pull[..], &["--platform", "linux/amd64", &name]].concat();
    let said = nobody.refused(&anonymous).await;
    assert!(said.contains("authorization failed"), "{said}");
    solo.publish("app").await;
    nobody.must(&anonymous).await;
    let listed = nobody.must(&["images", "ls", "--quiet"]).await;
    assert_eq!(listed, name);
    let check = nobody.must(&["images", "check"]).await;
    assert!(check.contains("complete"), "{check}");
}

#[tokio::test]
async fn containerd_says_what_was_refused() {
    let solo = Solo::start().await;
    let layout = Layout::make("many", &["--tags", "1", "--shared", "1", "--shared-mib", "1"]).await;
    let ctr = Ctr::new();
    let name = solo.name("app:v1");
    let archive = ctr.client.home().join("layout.tar").display().to_string();
    must(command("tar", &["-C", &layout.path().display().to_string(), "-cf", &archive, "."])).await;
    ctr.must(&["images", "import", "--no-unpack", "--base-name", &solo.name("app"), &archive]).await;
    ctr.must(&["images", "tag", &solo.name("app:v0"), &name]).await;
    let (user, password) = solo.reader_login();
    let push = |login: String| {
        let all: Vec<String> =
            ctr.all(&["images", "push", "--plain-http", "--user"]).into_iter().map(str::to_owned).collect();
        let words: Vec<&str> = all.iter().map(String::as_str).chain([login.as_str(), name.as_str()]).collect();
        run(ctr.client.command(&words))
    };
    let wrong = push(format!("{user}:wrong")).await;
    assert!(!wrong.ok && wrong.err.contains("failed to authorize"), "{wrong:?}");
    let forbidden = push(format!("{user}:{password}")).await;
    assert!(!forbidden.ok && forbidden.err.contains("insufficient_scope"), "{forbidden:?}");
    assert_eq!(solo.registry().tag_digest("group/app", "v1").await, None, "a reader pushed");
    let login = format!("{user}:{password}");
    let said = ctr.refused(&["images", "pull", "--plain-http", "--user", &login, &solo.name("app:none")]).await;
    assert!(said.contains("not found"), "{said}");
}
