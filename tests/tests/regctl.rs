//! regctl with one region: a multi-platform image, tags, artifacts with a subject, single blobs and manifests, an index
//! made in the registry, deletes, over TLS, and without a login.

use transship_tests::clients::{Client, assert_same, closure};
use transship_tests::environment;
use transship_tests::pair::SOURCE;
use transship_tests::region::RegionSettings;
use transship_tests::solo::Solo;

async fn regctl(solo: &Solo, login: Option<(String, String)>) -> Client {
    let regctl = Client::new(environment::prepared("tools/bin/regctl", "go-clients"));
    let host = solo.region.host();
    regctl.must(&["registry", "set", &host, "--tls", "disabled", "--skip-check"]).await;
    if let Some((user, password)) = login {
        regctl.must(&["registry", "login", &host, "-u", &user, "-p", &password]).await;
    }
    regctl
}

fn local(client: &Client, name: &str) -> String {
    format!("ocidir://{}:it", client.home().join(name).display())
}

#[tokio::test]
async fn regctl_moves_images_and_their_tags() {
    let solo = Solo::start().await;
    let layout = solo.push_index("app").await;
    let digest = layout.digest("latest");
    let regctl = regctl(&solo, Some(solo.login())).await;
    let (here, copy) = (solo.name("app:v1"), solo.name("deep/er/copy:v1"));
    regctl.must(&["image", "copy", &here, &copy]).await;
    regctl.must(&["image", "copy", &copy, &solo.name("deep/er/copy:v2")]).await;
    assert_eq!(regctl.must(&["tag", "ls", &solo.name("deep/er/copy")]).await, "v1\nv2");
    assert_eq!(regctl.must(&["repo", "ls", &solo.region.host()]).await, "group/app\ngroup/deep/er/copy");
    assert_eq!(regctl.must(&["manifest", "head", &copy]).await, digest);
    regctl.must(&["image", "copy", &copy, &local(&regctl, "pulled")]).await;
    assert_same(&layout.closure("latest"), &closure(&regctl.home().join("pulled"), &digest));
    // And the other way: pushed by regctl, read by nobody's client but ours.
    regctl.must(&["image", "copy", &local(&regctl, "pulled"), &solo.name("pushed:v1")]).await;
    let pulled = solo.registry().pull("group/pushed", "v1").await;
    assert_eq!(pulled.digest, digest);
    assert_eq!(pulled.parts.len(), layout.closure("latest").len());

    // A tag goes alone, a manifest takes its tags along.
    regctl.must(&["tag", "delete", &solo.name("deep/er/copy:v2")]).await;
    assert_eq!(regctl.must(&["tag", "ls", &solo.name("deep/er/copy")]).await, "v1");
    assert_eq!(regctl.must(&["manifest", "head", &copy]).await, digest);
    regctl.must(&["manifest", "delete", &format!("{}@{digest}", solo.name("deep/er/copy"))]).await;
    regctl.refused(&["manifest", "head", &copy]).await;
    assert_eq!(regctl.must(&["tag", "ls", &solo.name("deep/er/copy")]).await, "");
}

#[tokio::test]
async fn regctl_keeps_artifacts_with_their_subject() {
    let solo = Solo::start().await;
    let digest = solo.push_index("app").await.digest("latest");
    let regctl = regctl(&solo, Some(solo.login())).await;
    let here = solo.name("app:v1");
    let kind = "application/vnd.example.report";
    let report = b"{\"found\": \"nothing\"}\n";
    let put = [
        "artifact",
        "put",
        "--artifact-type",
        kind,
        "--subject",
        &here,
        "--format",
        "{{.Manifest.GetDescriptor.Digest}}",
    ];
    let artifact = regctl.must_with(report, &put).await;
    let listed = regctl.must(&["artifact", "list", &here, "--format", "body"]).await;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let told: Vec<_> = listed["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (&entry["digest"], &entry["artifactType"]))
        .collect();
    assert!(told.iter().any(|(found, of)| **found == artifact.as_str() && **of == kind), "{listed}");
    let tree = regctl.must(&["artifact", "tree", &here]).await;
    assert!(tree.contains(&digest) && tree.contains(&artifact), "{tree}");
    let got = regctl.must(&["artifact", "get", "--subject", &here, "--filter-artifact-type", kind]).await;
    assert_eq!(got.as_bytes(), report.trim_ascii_end());
    // Copied with everything that refers to it, and the same seen there.
    let there = solo.name("copy:v1");
    regctl.must(&["image", "copy", "--referrers", &here, &there]).await;
    let tree = regctl.must(&["artifact", "tree", &there]).await;
    assert!(tree.contains(&artifact), "{tree}");
    // An artifact goes, and nothing names it any more.
    regctl.must(&["manifest", "delete", "--referrers", &format!("{}@{artifact}", solo.name("app"))]).await;
    let tree = regctl.must(&["artifact", "tree", &here]).await;
    assert!(!tree.contains(&artifact), "{tree}");
    assert!(regctl.must(&["artifact", "tree", &there]).await.contains(&artifact));
}

#[tokio::test]
async fn regctl_puts_blobs_and_makes_an_index_in_the_registry() {
    let solo = Solo::start().await;
    let layout = solo.push_index("app").await;
    let regctl = regctl(&solo, Some(solo.login())).await;
    // regctl sends a blob whose length it does not know in chunks, as all that come from a pipe.
    let content = transship_tests::random::Random::seeded(7).bytes(5_000_000);
    let repository = solo.name("blobs");
    let digest = regctl.must_with(&content, &["blob", "put", &repository]).await;
    assert_eq!(digest, transship_tests::image::digest(&content));
    regctl.must(&["blob", "head", &repository, &digest]).await;
    let file = regctl.home().join("got");
    let mut get = regctl.command(&["blob", "get", &repository, &digest]);
    let status = get.stdout(std::fs::File::create(&file).unwrap()).status().await.unwrap();
    assert!(status.success() && std::fs::read(&file).unwrap() == content, "a blob came back other than it was put");
    regctl.must(&["blob", "delete", &repository, &digest]).await;
    regctl.refused(&["blob", "head", &repository, &digest]).await;

    let index: serde_json::Value = serde_json::from_slice(&layout.closure("latest")[&layout.digest("latest")]).unwrap();
    let children: Vec<&str> =
        index["manifests"].as_array().unwrap().iter().map(|child| child["digest"].as_str().unwrap()).collect();
    let (one, two) = (format!("{}@{}", solo.name("app"), children[0]), format!("{}@{}", solo.name("app"), children[1]));
    let made = solo.name("made:v1");
    regctl.must(&["index", "create", &made, "--ref", &one, "--ref", &two]).await;
    let got: serde_json::Value =
        serde_json::from_str(&regctl.must(&["manifest", "get", &made, "--format", "body"]).await).unwrap();
    let named: Vec<&str> =
        got["manifests"].as_array().unwrap().iter().map(|child| child["digest"].as_str().unwrap()).collect();
    assert_eq!(named, children[..2]);
    regctl.must(&["image", "copy", &made, &local(&regctl, "made")]).await;
}

#[tokio::test]
async fn regctl_over_tls_and_without_a_login() {
    let mut settings = RegionSettings::named(SOURCE);
    (settings.tls, settings.public_tls) = (true, true);
    let solo = Solo::start_as(settings).await;
    let (url, authority) = solo.region.tls();
    let host = url.strip_prefix("https://").unwrap();
    let image = transship_tests::image::Image::random(&mut transship_tests::random::Random::seeded(3), 2, 100_000);
    let authority = std::fs::read_to_string(authority).unwrap();
    let nobody = Client::new(environment::prepared("tools/bin/regctl", "go-clients"));
    nobody.must(&["registry", "set", host, "--cacert", &authority]).await;
    let admin = Client::new(environment::prepared("tools/bin/regctl", "go-clients"));
    admin.must(&["registry", "set", host, "--cacert", &authority]).await;
    let (user, password) = solo.login();
    admin.must(&["registry", "login", host, "-u", &user, "-p", &password]).await;
    let name = format!("{host}/group/app:v1");
    let mut put = image.blobs.iter();
    for blob in &mut put {
        admin.must_with(blob, &["blob", "put", &format!("{host}/group/app")]).await;
    }
    admin.must_with(&image.raw, &["manifest", "put", "--content-type", image.media_type, &name]).await;
    let said = nobody.refused(&["manifest", "head", &name]).await;
    assert!(said.contains("unauthorized") || said.contains("401"), "{said}");
    solo.publish("app").await;
    assert_eq!(nobody.must(&["manifest", "head", &name]).await, image.digest());
    nobody.must(&["image", "copy", &name, &local(&nobody, "pulled")]).await;
    let pulled = closure(&nobody.home().join("pulled"), &image.digest());
    assert!(image.blobs.iter().all(|blob| pulled[&transship_tests::image::digest(blob)] == *blob));
}
