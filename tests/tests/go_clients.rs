//! crane and oras, the clients of the Go world: images and artifacts, pushed to the source and read from the target.

use transship_tests::clients::{Client, Layout};
use transship_tests::environment;
use transship_tests::manage::Sync;
use transship_tests::pair::{GROUP, Pair, PairSettings};
use transship_tests::registry::login_of;

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
