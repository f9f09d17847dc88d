//! skopeo logs in, pushes, lists, copies, and pulls from the target region what `sync_images` brought there. What skopeo
//! and the other clients do with one region are suites of their own, one a client.

use transship_tests::clients::{Client, Layout};
use transship_tests::http;
use transship_tests::image;
use transship_tests::manage::{Sync, repository_path};
use transship_tests::pair::{GROUP, Pair, PairSettings};
use transship_tests::region::{ACCOUNT, Region};
use transship_tests::registry::login_of;

/// The limit of issue 4: a region stays below it whatever it moves.
const MEMORY_LIMIT_KIB: u64 = 64 * 1024;

/// skopeo, logged in to these regions with the login of the access key.
async fn skopeo(pair: &Pair) -> Client {
    let skopeo = Client::new("skopeo");
    for region in [&pair.source, &pair.target] {
        let (user, password) = login_of(region.id(), &pair.admin);
        let login = ["login", "--tls-verify=false", "-u", &user, "-p", &password, &region.host()];
        skopeo.must(&login).await;
    }
    skopeo
}

/// `docker://<host>/<name>`.
fn at(region: &Region, name: &str) -> String {
    format!("docker://{}/{name}", region.host())
}

/// Copies everything as it is: skopeo would otherwise compress layers on the way.
async fn copy(skopeo: &Client, from: &str, to: &str) {
    let flags = ["--quiet", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"];
    skopeo.must(&[&["copy"], &flags[..], &[from, to]].concat()).await;
}

/// Pulls with skopeo into a layout; skopeo checks every digest on the way. Gives back the digest of the manifest.
async fn pull(skopeo: &Client, from: &str) -> String {
    let folder = skopeo.home().join(format!("pulled-{}", uuid::Uuid::new_v4().simple()));
    copy(skopeo, from, &format!("oci:{}:it", folder.display())).await;
    let index = std::fs::read(folder.join("index.json")).expect("a layout has an index");
    let index: serde_json::Value = serde_json::from_slice(&index).expect("the index is JSON");
    index["manifests"][0]["digest"].as_str().expect("the index has an entry").to_owned()
}

#[tokio::test]
async fn skopeo_pushes_and_pulls_from_the_target() {
    let pair = Pair::start(PairSettings::default()).await;
    let skopeo = skopeo(&pair).await;
    let layout = Layout::make("many", &["--tags", "3", "--shared", "2", "--shared-mib", "1"]).await;
    for tag in ["v0", "v1", "v2"] {
        copy(&skopeo, &layout.skopeo(tag), &at(&pair.source, &format!("group/app:{tag}"))).await;
    }
    let listed = skopeo.must(&["list-tags", "--tls-verify=false", &at(&pair.source, "group/app")]).await;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["Tags"], serde_json::json!(["v0", "v1", "v2"]));

    assert_eq!(pair.manage().sync(GROUP, "app", &Sync::of(&["v0", "v1", "v2"])).await, [""; 0]);
    for tag in ["v0", "v1", "v2"] {
        let digest = pull(&skopeo, &at(&pair.target, &format!("sdsad/app:{tag}"))).await;
        assert_eq!(digest, layout.digest(tag));
    }
    // From one repository to another of the same region: skopeo asks to mount the layers.
    copy(&skopeo, &at(&pair.source, "group/app:v1"), &at(&pair.source, "group/copy:v9")).await;
    assert_eq!(pull(&skopeo, &at(&pair.source, "group/copy:v9")).await, layout.digest("v1"));
}

#[tokio::test]
async fn skopeo_moves_a_multi_platform_index() {
    let pair = Pair::start(PairSettings::default()).await;
    let skopeo = skopeo(&pair).await;
    let layout = Layout::make("multi", &["--platforms", "3", "--layer-mib", "1"]).await;
    copy(&skopeo, &layout.skopeo("latest"), &at(&pair.source, "group/multi:latest")).await;
    assert_eq!(pair.manage().sync(GROUP, "multi", &Sync::of(&["latest"])).await, [""; 0]);
    let digest = pull(&skopeo, &at(&pair.target, "sdsad/multi:latest")).await;
    assert_eq!(digest, layout.digest("latest"));
}

#[tokio::test]
async fn a_big_image_in_flat_memory() {
    let pair = Pair::start(PairSettings::default()).await;
    let skopeo = skopeo(&pair).await;
    let layout = Layout::make("big", &["--layers", "3", "--layer-mib", "100"]).await;
    copy(&skopeo, &layout.skopeo("latest"), &at(&pair.source, "group/big:latest")).await;
    assert_eq!(pair.manage().sync(GROUP, "big", &Sync::of(&["latest"])).await, [""; 0]);
    assert_eq!(pull(&skopeo, &at(&pair.target, "sdsad/big:latest")).await, layout.digest("latest"));
    for region in [&pair.source, &pair.target] {
        let peak = region.peak_memory_kib();
        assert!(peak <= MEMORY_LIMIT_KIB, "{} took {peak} KiB at its peak for an image of 300 MiB", region.id());
    }
}

#[tokio::test]
async fn logins_good_and_bad() {
    let pair = Pair::start(PairSettings::default()).await;
    let skopeo = Client::new("skopeo");
    let host = pair.source.host();
    let (user, password) = login_of(pair.source.id(), &pair.admin);
    let bad = skopeo.run(&["login", "--tls-verify=false", "-u", &user, "-p", "wrong", &host]).await;
    assert!(!bad.ok, "a wrong password was accepted: {}", bad.out);
    let elsewhere = login_of("cn-elsewhere-1", &pair.admin).0;
    let bad = skopeo.run(&["login", "--tls-verify=false", "-u", &elsewhere, "-p", &password, &host]).await;
    assert!(!bad.ok, "a login of another region was accepted: {}", bad.out);
    skopeo.must(&["login", "--tls-verify=false", "-u", &user, "-p", &password, &host]).await;
    // User and password, alone and with the account in front.
    for name in [pair.admin.name.clone(), format!("{ACCOUNT}/{}", pair.admin.name)] {
        skopeo.must(&["login", "--tls-verify=false", "-u", &name, "-p", &pair.admin.password, &host]).await;
    }
    // A temporary login, as CreateSecret gives it.
    let secret = pair.manage().call("POST", "/v2/manage/utils/secret", None).await.expect(200);
    let command = secret.header("x-swr-dockerlogin").unwrap().to_owned();
    let words: Vec<&str> = command.split_whitespace().collect();
    assert_eq!(words[..2], ["docker", "login"], "{command}");
    let mut login = vec!["login", "--tls-verify=false"];
    login.extend(&words[2..]);
    skopeo.must(&login).await;
    assert_eq!(words.last().copied(), Some(host.as_str()), "{command}");
}

#[tokio::test]
async fn anybody_pulls_what_is_public_and_nothing_else() {
    let pair = Pair::start(PairSettings::default()).await;
    let skopeo = skopeo(&pair).await;
    let layout = Layout::make("many", &["--tags", "1", "--shared", "1", "--shared-mib", "1"]).await;
    let here = at(&pair.source, "group/app:v0");
    copy(&skopeo, &layout.skopeo("v0"), &here).await;
    let nobody = Client::new("skopeo");
    let inspect = ["inspect", "--raw", "--tls-verify=false", &here];
    assert!(!nobody.run(&inspect).await.ok, "a private repository was shown to nobody");
    let body = serde_json::json!({"is_public": true});
    pair.manage().call("PATCH", &repository_path(GROUP, "app"), Some(body)).await.expect(201);
    assert_eq!(pull(&nobody, &here).await, layout.digest("v0"));
    let push = ["copy", "--quiet", "--dest-tls-verify=false", &layout.skopeo("v0"), &at(&pair.source, "group/app:v1")];
    assert!(!nobody.run(&push).await.ok, "nobody pushed to a public repository");
    // The ping is a challenge all the same: clients choose their way from it.
    let ping = http::send(http::client().get(format!("{}/v2/", pair.source.url()))).await.expect(401);
    assert!(ping.header("www-authenticate").unwrap().starts_with("Bearer realm="));
}

#[test]
fn the_harness_computes_digests_like_everybody() {
    let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(image::digest(b""), empty);
}
