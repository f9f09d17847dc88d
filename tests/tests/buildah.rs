//! buildah, which builds and shares its transport with podman: an image of its own from one region to the other, and what
//! was built comes back byte for byte, with a login and, when it is public, without.

use transship_tests::clients::{self, Client, Said};
use transship_tests::manage::Sync;
use transship_tests::pair::{GROUP, Pair, PairSettings};
use transship_tests::random::Random;
use transship_tests::registry::login_of;
use transship_tests::solo::Solo;
use transship_tests::{environment, image};

#[tokio::test]
async fn buildah_builds_pushes_and_pulls_from_the_target() {
    let pair = Pair::start(PairSettings::default()).await;
    let buildah = Buildah::new();
    for region in [&pair.source, &pair.target] {
        let (user, password) = login_of(region.id(), &pair.admin);
        buildah.must(&["login", "--tls-verify=false", "-u", &user, "-p", &password, &region.host()]).await;
    }
    std::fs::write(buildah.client.home().join("data"), vec![b'x'; 300_000]).unwrap();
    std::fs::write(buildah.client.home().join("Containerfile"), "FROM scratch\nCOPY data /data\n").unwrap();
    let name = format!("{}/group/built:v1", pair.source.host());
    buildah.must(&["build", "--quiet", "--tag", &name, "."]).await;
    buildah.must(&["push", "--quiet", "--tls-verify=false", "--digestfile", "digest", &name]).await;
    let digest = std::fs::read_to_string(buildah.client.home().join("digest")).unwrap();
    assert_eq!(pair.manage().sync(GROUP, "built", &Sync::of(&["v1"])).await, [""; 0]);
    let there = format!("{}/sdsad/built:v1", pair.target.host());
    buildah.must(&["pull", "--quiet", "--tls-verify=false", &there]).await;
    let pulled = buildah.must(&["inspect", "--type", "image", "--format", "{{.FromImageDigest}}", &there]).await;
    assert_eq!(pulled, digest.trim());
}

#[tokio::test]
async fn what_was_built_comes_back_byte_for_byte() {
    let solo = Solo::start().await;
    let (buildah, host) = (Buildah::new(), solo.region.host());
    let (user, password) = solo.login();
    let wrong = ["login", "--tls-verify=false", "-u", &user, "-p", "wrong", &host];
    let said = buildah.refused(&wrong).await;
    assert!(said.contains("invalid username/password"), "{said}");
    buildah.must(&["login", "--tls-verify=false", "-u", &user, "-p", &password, &host]).await;
    let data = Random::seeded(11).bytes(3_000_000);
    std::fs::write(buildah.client.home().join("data"), &data).unwrap();
    std::fs::write(buildah.client.home().join("Containerfile"), "FROM scratch\nCOPY data /data\n").unwrap();
    let name = solo.name("built:v1");
    buildah.must(&["build", "--quiet", "--tag", &name, "."]).await;
    buildah.must(&["push", "--quiet", "--tls-verify=false", &name]).await;

    let another = Buildah::new();
    let (user, password) = solo.reader_login();
    let creds = format!("{user}:{password}");
    assert_eq!(another.pull_and_hash(&["--creds", &creds], &name, "data").await, image::digest(&data));
    let said = another.refused(&["push", "--quiet", "--tls-verify=false", "--creds", &creds, &name]).await;
    assert!(said.contains("log in as a user who may"), "{said}");

    let nobody = Buildah::new();
    nobody.refused(&["pull", "--quiet", "--tls-verify=false", &name]).await;
    solo.publish("built").await;
    assert_eq!(nobody.pull_and_hash(&[], &name, "data").await, image::digest(&data));
    buildah.must(&["logout", &host]).await;
    buildah.refused(&["push", "--quiet", "--tls-verify=false", &name]).await;
}

/// buildah with its storage in a folder of its own. Without root it needs its own user namespace, which not every
/// machine allows, so it is given root's rights by sudo there.
struct Buildah {
    client: Client,
    sudo: bool,
}

impl Buildah {
    fn new() -> Self {
        let sudo = !environment::is_root();
        let client = Client::new(if sudo { "sudo" } else { "buildah" });
        // A login file that is named must be there.
        std::fs::write(client.home().join("auth.json"), "{}").expect("the folder is writable");
        Self { client, sudo }
    }

    async fn must(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments).await;
        assert!(said.ok, "buildah {arguments:?} failed:\n{}\n{}", said.out, said.err);
        said.out
    }

    async fn refused(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments).await;
        assert!(!said.ok, "buildah {arguments:?} was not refused: {}", said.out);
        said.err
    }

    async fn run(&self, arguments: &[&str]) -> Said {
        let home = self.client.home();
        let (root, run) = (home.join("root").display().to_string(), home.join("run").display().to_string());
        let auth = format!("REGISTRY_AUTH_FILE={}", home.join("auth.json").display());
        let mut all = if self.sudo { vec!["-n", "env", &auth, "buildah"] } else { vec![] };
        all.extend(["--root", &root, "--runroot", &run, "--storage-driver", "vfs"]);
        all.extend(arguments);
        self.client.run(&all).await
    }

    /// Pulls an image with these flags, and gives back what one of its files holds, as a digest.
    async fn pull_and_hash(&self, flags: &[&str], name: &str, file: &str) -> String {
        self.must(&[&["pull", "--quiet", "--tls-verify=false"], flags, &[name]].concat()).await;
        let container = self.must(&["from", "--pull-never", name]).await;
        let mounted = self.must(&["mount", &container]).await;
        let path = format!("{mounted}/{file}");
        let words = if self.sudo { vec!["sudo", "-n", "sha256sum", &path] } else { vec!["sha256sum", &path] };
        let sum = clients::must(clients::command(words[0], &words[1..])).await;
        self.must(&["rm", &container]).await;
        format!("sha256:{}", sum.split_whitespace().next().unwrap_or_default())
    }
}

impl Drop for Buildah {
    fn drop(&mut self) {
        if self.sudo {
            // What root made in the folder, only root can take away.
            let _ = std::process::Command::new("sudo").args(["-n", "rm", "-rf"]).arg(self.client.home()).status();
        }
    }
}
