//! skopeo with one region: inspect, list, sync into a folder, delete, over TLS with an authority of our own, without a
//! login, and what a person reads when something is refused.

use std::path::{Path, PathBuf};

use transship_tests::clients::{Client, assert_same, closure, closure_from, layout_digest};
use transship_tests::image;
use transship_tests::pair::SOURCE;
use transship_tests::region::RegionSettings;
use transship_tests::solo::Solo;

const PLAIN: &str = "--tls-verify=false";

async fn logged_in(solo: &Solo, login: (String, String)) -> Client {
    let skopeo = Client::new("skopeo");
    skopeo.must(&["login", PLAIN, "-u", &login.0, "-p", &login.1, &solo.region.host()]).await;
    skopeo
}

fn at(solo: &Solo, name: &str) -> String {
    format!("docker://{}", solo.name(name))
}

/// Copies everything into a layout and gives back the layout.
async fn pull(skopeo: &Client, from: &str, flags: &[&str]) -> PathBuf {
    let layout = skopeo.home().join("pulled");
    let to = format!("oci:{}:it", layout.display());
    skopeo.must(&[&["copy", "--quiet", "--all", "--preserve-digests"], flags, &[from, &to]].concat()).await;
    layout
}

/// Reads a part of an image in skopeo's folder form, where a file is named by the digest or, of a manifest, by its place.
fn read_dir_form(folder: &Path, digest: &str) -> Vec<u8> {
    let hex = digest.strip_prefix("sha256:").expect("the tests use sha256");
    let files = [hex.to_owned(), format!("{hex}.manifest.json"), "manifest.json".to_owned()];
    let mut found = files.iter().filter_map(|file| std::fs::read(folder.join(file)).ok());
    found.find(|bytes| image::digest(bytes) == digest).unwrap_or_else(|| panic!("no {digest} in the folder"))
}

#[tokio::test]
async fn skopeo_inspects_lists_syncs_and_deletes() {
    let solo = Solo::start().await;
    let layout = solo.push_index("app").await;
    let skopeo = logged_in(&solo, solo.login()).await;
    let name = at(&solo, "app:v1");
    let inspected = skopeo.must(&["inspect", PLAIN, "--override-arch", "amd64", &name]).await;
    let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected["RepoTags"], serde_json::json!(["v1"]));
    let raw = skopeo.must(&["inspect", "--raw", PLAIN, &name]).await;
    assert_eq!(image::digest(raw.as_bytes()), layout.digest("latest"));

    // Every tag of a repository into a folder, with all platforms.
    let folder = skopeo.home().join("synced");
    let from = solo.name("app");
    let folder_text = folder.display().to_string();
    let sync = ["sync", "--all", "--preserve-digests", "--src-tls-verify=false", "--src", "docker", "--dest", "dir"];
    skopeo.must(&[&sync[..], &[&from, &folder_text]].concat()).await;
    let synced = closure_from(&layout.digest("latest"), &|digest| read_dir_form(&folder.join("app:v1"), digest));
    assert_same(&layout.closure("latest"), &synced);

    skopeo.must(&["delete", PLAIN, &name]).await;
    let said = skopeo.refused(&["inspect", "--raw", PLAIN, &name]).await;
    assert!(said.contains("manifest unknown"), "{said}");
    // The digest is gone with the tag: skopeo deletes what the tag names.
    let by_digest = at(&solo, &format!("app@{}", layout.digest("latest")));
    let said = skopeo.refused(&["inspect", "--raw", PLAIN, &by_digest]).await;
    assert!(said.contains("manifest unknown"), "{said}");
}

#[tokio::test]
async fn skopeo_pulls_the_same_bytes_over_tls_and_without_a_login() {
    let mut settings = RegionSettings::named(SOURCE);
    (settings.tls, settings.public_tls) = (true, true);
    let solo = Solo::start_as(settings).await;
    let (url, authority) = solo.region.tls();
    let host = url.strip_prefix("https://").unwrap();
    let skopeo = Client::new("skopeo");
    let certificates = skopeo.home().join("certificates");
    std::fs::create_dir(&certificates).unwrap();
    std::fs::copy(authority, certificates.join("ca.crt")).unwrap();
    let certificates = certificates.display().to_string();
    let (user, password) = solo.login();
    let stranger = skopeo.refused(&["login", "-u", &user, "-p", &password, host]).await;
    assert!(stranger.contains("certificate"), "a certificate of an unknown authority was accepted: {stranger}");
    skopeo.must(&["login", "--cert-dir", &certificates, "-u", &user, "-p", &password, host]).await;

    let layout = transship_tests::clients::Layout::make("multi", &["--platforms", "2", "--layer-mib", "1"]).await;
    let there = format!("docker://{host}/group/app:v1");
    let push = ["copy", "--quiet", "--all", "--preserve-digests", "--dest-cert-dir", &certificates];
    skopeo.must(&[&push[..], &[&layout.skopeo("latest"), &there]].concat()).await;
    let pulled = pull(&skopeo, &there, &["--src-cert-dir", &certificates]).await;
    assert_same(&layout.closure("latest"), &closure(&pulled, &layout_digest(&pulled, "it")));

    let nobody = Client::new("skopeo");
    let inspect = ["inspect", "--raw", "--cert-dir", &certificates, &there];
    nobody.refused(&inspect).await;
    solo.publish("app").await;
    let pulled = pull(&nobody, &there, &["--src-cert-dir", &certificates]).await;
    assert_same(&layout.closure("latest"), &closure(&pulled, &layout_digest(&pulled, "it")));
}

#[tokio::test]
async fn skopeo_says_what_was_refused() {
    let solo = Solo::start().await;
    let layout = solo.push_index("app").await;
    let host = solo.region.host();
    let stranger = Client::new("skopeo");
    let said = stranger.refused(&["login", PLAIN, "-u", &solo.login().0, "-p", "wrong", &host]).await;
    assert!(said.contains("invalid username/password"), "{said}");
    let reader = logged_in(&solo, solo.reader_login()).await;
    let flags = ["copy", "--quiet", "--all", "--dest-tls-verify=false"];
    let said = reader.refused(&[&flags[..], &[&layout.skopeo("latest"), &at(&solo, "app:v2")]].concat()).await;
    assert!(said.contains("does not allow repository:group/app:pull,push; log in as a user who may"), "{said}");
    let said = reader.refused(&["inspect", PLAIN, &at(&solo, "app:none")]).await;
    assert!(said.contains("manifest unknown"), "{said}");
    let said = reader.refused(&["delete", PLAIN, &at(&solo, "app:v1")]).await;
    assert!(said.contains("does not allow repository:group/app:delete; log in as a user who may"), "{said}");
    assert_eq!(solo.registry().tag_digest("group/app", "v1").await, Some(layout.digest("latest")));
}
