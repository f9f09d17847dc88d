//! crane and oras, the clients of the Go world: images and artifacts, pushed to the source and read from the target, and
//! what they do with one region: an index copied, lists, artifacts with a subject, deletes, TLS, and no login at all.

use transship_tests::clients::{self, Client, Layout, assert_same, closure};
use transship_tests::environment;
use transship_tests::manage::Sync;
use transship_tests::pair::{GROUP, Pair, PairSettings, SOURCE};
use transship_tests::region::RegionSettings;
use transship_tests::registry::login_of;
use transship_tests::solo::Solo;

fn client(name: &str) -> Client {
    Client::new(environment::prepared(&format!("tools/bin/{name}"), "go-clients"))
}

#[tokio::test]
async fn crane_pushes_copies_and_validates_in_the_target() {
    let pair = Pair::start(PairSettings::default()).await;
    let crane = client("crane");
    for region in [&pair.source, &pair.target] {
        let (user, password) = login_of(region.id(), &pair.admin);
        crane.must(&["auth", "login", "--insecure", "-u", &user, "-p", &password, &region.host()]).await;
    }
    let (tools, demo) =
        (environment::tool("").display().to_string(), environment::root().join("demo").display().to_string());
    let layout = Layout::make("tree", &["--from", &tools, "--from", &demo]).await;
    let here = format!("{}/group/app", pair.source.host());
    // With a single image in the layout crane pushes that image, not the layout's index.
    crane.must(&["push", "--insecure", &layout.path().display().to_string(), &format!("{here}:v0")]).await;
    assert_eq!(crane.must(&["digest", "--insecure", &format!("{here}:v0")]).await, layout.digest("latest"));
    // A second tag, and a second repository: crane mounts.
    crane.must(&["tag", "--insecure", &format!("{here}:v0"), "v1"]).await;
    let copy = format!("{}/group/copy:v0", pair.source.host());
    crane.must(&["copy", "--insecure", &format!("{here}:v0"), &copy]).await;
    assert_eq!(crane.must(&["ls", "--insecure", &here]).await, "v0\nv1");

    assert_eq!(pair.manage().sync(GROUP, "app", &Sync::of(&["v0", "v1"])).await, [""; 0]);
    let there = format!("{}/sdsad/app", pair.target.host());
    for tag in ["v0", "v1"] {
        let remote = format!("{there}:{tag}");
        crane.must(&["validate", "--insecure", "--remote", &remote]).await;
        assert_eq!(crane.must(&["digest", "--insecure", &remote]).await, layout.digest("latest"));
    }
}

#[tokio::test]
async fn oras_attaches_and_the_attachment_goes_along() {
    let pair = Pair::start(PairSettings::default()).await;
    let oras = client("oras");
    for region in [&pair.source, &pair.target] {
        let (user, password) = login_of(region.id(), &pair.admin);
        oras.must(&["login", "--plain-http", "-u", &user, "-p", &password, &region.host()]).await;
    }
    std::fs::write(oras.home().join("report.txt"), "a report\n").unwrap();
    std::fs::write(oras.home().join("sbom.json"), "{\"bom\": true}\n").unwrap();
    let here = format!("{}/group/artifact:v1", pair.source.host());
    let kind = "application/vnd.example.report";
    oras.must(&["push", "--plain-http", "--artifact-type", kind, &here, "report.txt:text/plain"]).await;
    oras.must(&["attach", "--plain-http", "--artifact-type", "application/vnd.example.sbom", &here, "sbom.json"]).await;

    assert_eq!(pair.manage().sync(GROUP, "artifact", &Sync::of(&["v1"])).await, [""; 0]);
    let there = format!("{}/sdsad/artifact:v1", pair.target.host());
    oras.must(&["pull", "--plain-http", "--output", "pulled", &there]).await;
    assert_eq!(std::fs::read_to_string(oras.home().join("pulled/report.txt")).unwrap(), "a report\n");
    let found = oras.must(&["discover", "--plain-http", "--format", "json", &there]).await;
    assert!(found.contains("application/vnd.example.sbom"), "{found}");
}

#[tokio::test]
async fn crane_copies_an_index_lists_and_deletes() {
    let solo = Solo::start().await;
    let layout = solo.push_index("app").await;
    let digest = layout.digest("latest");
    let (crane, host) = (client("crane"), solo.region.host());
    let (user, password) = solo.login();
    crane.must(&["auth", "login", "--insecure", "-u", &user, "-p", &password, &host]).await;
    let (here, copy) = (solo.name("app:v1"), solo.name("copy:v1"));
    crane.must(&["copy", "--insecure", &here, &copy]).await;
    assert_eq!(crane.must(&["digest", "--insecure", &copy]).await, digest);
    assert_eq!(crane.must(&["catalog", "--insecure", &host]).await, "group/app\ngroup/copy");
    crane.must(&["tag", "--insecure", &copy, "v2"]).await;
    assert_eq!(crane.must(&["ls", "--insecure", &solo.name("copy")]).await, "v1\nv2");
    let pulled = crane.home().join("pulled");
    crane.must(&["pull", "--insecure", "--format", "oci", &copy, &pulled.display().to_string()]).await;
    assert_same(&layout.closure("latest"), &closure(&pulled, &digest));

    // A tag goes alone, a digest takes its tags along.
    crane.must(&["delete", "--insecure", &solo.name("copy:v2")]).await;
    assert_eq!(crane.must(&["ls", "--insecure", &solo.name("copy")]).await, "v1");
    crane.must(&["delete", "--insecure", &format!("{}@{digest}", solo.name("copy"))]).await;
    let said = crane.refused(&["digest", "--insecure", &copy]).await;
    assert!(said.contains("404") || said.contains("MANIFEST_UNKNOWN"), "{said}");
    // The other repository has its own.
    assert_eq!(crane.must(&["digest", "--insecure", &here]).await, digest);
}

#[tokio::test]
async fn crane_pulls_over_tls_and_without_a_login_what_is_public() {
    let mut settings = RegionSettings::named(SOURCE);
    (settings.tls, settings.public_tls) = (true, true);
    let solo = Solo::start_as(settings).await;
    let layout = solo.push_index("app").await;
    let (url, authority) = solo.region.tls();
    let name = format!("{}/group/app:v1", url.strip_prefix("https://").unwrap());
    let crane = client("crane");
    let trusting = |arguments: &[&str]| {
        let mut command = crane.command(arguments);
        command.env("SSL_CERT_FILE", authority);
        command
    };
    let private = clients::run(trusting(&["digest", &name])).await;
    assert!(!private.ok && private.err.contains("log in as a user who may"), "{}", private.err);
    solo.publish("app").await;
    let stranger = clients::run(crane.command(&["digest", &name])).await;
    assert!(!stranger.ok && stranger.err.contains("certificate"), "an unknown authority was trusted: {}", stranger.err);
    let pulled = crane.home().join("pulled");
    clients::must(trusting(&["pull", "--format", "oci", &name, &pulled.display().to_string()])).await;
    assert_same(&layout.closure("latest"), &closure(&pulled, &layout.digest("latest")));
}

#[tokio::test]
async fn oras_discovers_copies_and_deletes_artifacts() {
    let solo = Solo::start().await;
    let oras = client("oras");
    let (user, password) = solo.login();
    oras.must(&["login", "--plain-http", "-u", &user, "-p", &password, &solo.region.host()]).await;
    let text = "a report\n".repeat(1000);
    std::fs::write(oras.home().join("report.txt"), &text).unwrap();
    std::fs::write(oras.home().join("sbom.json"), "{\"bom\": true}\n").unwrap();
    std::fs::write(oras.home().join("signature"), "signed\n").unwrap();
    let here = solo.name("artifact:v1");
    let digest = |said: &str| {
        let said: serde_json::Value = serde_json::from_str(said).unwrap();
        said["digest"].as_str().unwrap_or_else(|| panic!("no digest in {said}")).to_owned()
    };
    let json = ["--plain-http", "--format", "json", "--artifact-type"];
    let push = [&["push"], &json[..], &["application/vnd.example.report", &here, "report.txt:text/plain"]].concat();
    let report = digest(&oras.must(&push).await);
    let attach = [&["attach"], &json[..], &["application/vnd.example.sbom", &here, "sbom.json"]].concat();
    let sbom = digest(&oras.must(&attach).await);
    // Something that refers to what refers to it.
    let on_sbom = format!("{}@{sbom}", solo.name("artifact"));
    let attach = [&["attach"], &json[..], &["application/vnd.example.signature", &on_sbom, "signature"]].concat();
    let signature = digest(&oras.must(&attach).await);

    let tree = oras.must(&["discover", "--plain-http", "--no-tty", &here]).await;
    let places: Vec<_> = [&report, &sbom, &signature].map(|digest| tree.find(digest.as_str())).into();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{tree}");
    let filtered =
        ["discover", "--plain-http", "--artifact-type", "application/vnd.example.none", "--format", "json", &here];
    let filtered = oras.must(&filtered).await;
    assert!(!filtered.contains(&sbom), "{filtered}");

    // With everything that refers to it, into another repository and into a layout.
    let copy = solo.name("copy:v1");
    oras.must(&["cp", "-r", "--no-tty", "--from-plain-http", "--to-plain-http", &here, &copy]).await;
    let tree = oras.must(&["discover", "--plain-http", "--no-tty", &copy]).await;
    assert!(tree.contains(&sbom) && tree.contains(&signature), "{tree}");
    oras.must(&["cp", "-r", "--no-tty", "--from-plain-http", "--to-oci-layout", &copy, "layout:v1"]).await;
    let layout = closure(&oras.home().join("layout"), &signature);
    assert!(layout.values().any(|bytes| bytes == b"signed\n"));
    oras.must(&["pull", "--plain-http", "--no-tty", "--output", "pulled", &copy]).await;
    assert_eq!(std::fs::read_to_string(oras.home().join("pulled/report.txt")).unwrap(), text);

    oras.must(&["manifest", "delete", "--plain-http", "--force", &on_sbom]).await;
    let tree = oras.must(&["discover", "--plain-http", "--no-tty", &here]).await;
    assert!(!tree.contains(&sbom), "{tree}");
    oras.must(&["manifest", "delete", "--plain-http", "--force", &here]).await;
    let said = oras.refused(&["manifest", "fetch", "--plain-http", &here]).await;
    assert!(said.contains("not found"), "{said}");
    // What was deleted in one repository stays in the other.
    solo.publish("copy").await;
    let nobody = client("oras");
    nobody.must(&["pull", "--plain-http", "--no-tty", "--output", "pulled", &copy]).await;
    assert_eq!(std::fs::read_to_string(nobody.home().join("pulled/report.txt")).unwrap(), text);
}
