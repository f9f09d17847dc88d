//! A docker engine of the test's own: it logs in, pushes, pulls from the target what `sync_images` brought there, and
//! runs it. `scripts/with-docker.sh` starts the engine.

use transship_tests::clients::{self, Client};
use transship_tests::environment;
use transship_tests::manage::Sync;
use transship_tests::pair::{GROUP, Pair, PairSettings, SDSAD};
use transship_tests::registry::login_of;

/// The docker client, speaking to the test's engine.
struct Docker {
    client: Client,
    engine: String,
}

impl Docker {
    fn new() -> Self {
        let engine = environment::required("TRANSSHIP_TEST_DOCKER", "scripts/with-docker.sh cargo test …");
        Self { client: Client::new("docker"), engine }
    }

    async fn must(&self, arguments: &[&str]) -> String {
        self.client.must(&[&["--host", &self.engine], arguments].concat()).await
    }

    async fn refused(&self, arguments: &[&str]) -> bool {
        !self.client.run(&[&["--host", &self.engine], arguments].concat()).await.ok
    }

    async fn login(&self, host: &str, user: &str, password: &str) {
        self.must(&["login", "--username", user, "--password", password, host]).await;
    }

    /// Loads an image of our static program, which prints `message`, under a name.
    async fn load(&self, name: &str, message: &str) {
        let home = self.client.home();
        let (program, archive) = (home.join("hello"), home.join("image.tar"));
        if !program.exists() {
            let mut compile =
                clients::command("rustc", &["-O", "--edition", "2024", "-C", "target-feature=+crt-static"]);
            compile.arg("-o").arg(&program).arg(environment::root().join("demo/hello.rs"));
            clients::must(compile).await;
        }
        let mut write = clients::command("python3", &[]);
        write.arg(environment::root().join("demo/images.py")).arg(&archive).arg(name).arg(&program).arg(message);
        clients::must(write).await;
        self.must(&["load", "--input", &archive.display().to_string()]).await;
    }

    /// The digest that the engine knows an image by in one repository.
    async fn digest(&self, name: &str) -> String {
        let digests = self.must(&["inspect", "--format", "{{join .RepoDigests \"\\n\"}}", name]).await;
        let repository = name.rsplit_once(':').expect("a name has a tag").0;
        let own = digests.lines().find_map(|line| line.strip_prefix(&format!("{repository}@")));
        own.unwrap_or_else(|| panic!("no digest for {name} in {digests}")).to_owned()
    }
}

#[tokio::test]
async fn an_image_pushed_here_runs_from_there() {
    let pair = Pair::start(PairSettings::default()).await;
    let docker = Docker::new();
    for region in [&pair.source, &pair.target] {
        let (user, password) = login_of(region.id(), &pair.admin);
        let wrong = ["login", "--username", &user, "--password", "wrong", &region.host()];
        assert!(docker.refused(&wrong).await, "a wrong password was accepted");
        docker.login(&region.host(), &user, &password).await;
    }
    let here = format!("{}/{GROUP}/hello:V1", pair.source.host());
    let again = format!("{}/{GROUP}/hello:V2", pair.source.host());
    docker.load(&here, "the first\n").await;
    docker.must(&["push", "--quiet", &here]).await;
    // The second shares the program's layer: docker finds it there.
    docker.load(&again, "the second\n").await;
    docker.must(&["push", "--quiet", &again]).await;
    let digests = [docker.digest(&here).await, docker.digest(&again).await];

    assert_eq!(pair.manage().sync(GROUP, "hello", &Sync::of(&["V1", "V2"])).await, [""; 0]);
    docker.must(&["rmi", "--force", &here, &again]).await;

    let there = format!("{}/{SDSAD}/hello", pair.target.host());
    for (tag, digest, says) in [("V1", &digests[0], "the first"), ("V2", &digests[1], "the second")] {
        let name = format!("{there}:{tag}");
        docker.must(&["pull", "--quiet", &name]).await;
        assert_eq!(docker.digest(&name).await, *digest);
        assert_eq!(docker.must(&["run", "--rm", "--network", "host", &name]).await, says);
    }
    docker.must(&["logout", &pair.target.host()]).await;
    assert!(docker.refused(&["pull", &format!("{there}:V1")]).await, "a private image was pulled without a login");
}

#[tokio::test]
async fn docker_mounts_layers_between_repositories() {
    let pair = Pair::start(PairSettings::default()).await;
    let docker = Docker::new();
    // User and password are a login too.
    docker.login(&pair.source.host(), &pair.admin.name, &pair.admin.password).await;
    let (one, two) =
        (format!("{}/{GROUP}/one:v1", pair.source.host()), format!("{}/{GROUP}/two:v1", pair.source.host()));
    docker.load(&one, "hello\n").await;
    docker.must(&["push", &one]).await;
    docker.must(&["tag", &one, &two]).await;
    let said = docker.must(&["push", &two]).await;
    assert!(said.contains("Mounted from group/one"), "no layer was mounted: {said}");
    assert_eq!(docker.digest(&one).await, docker.digest(&two).await);
}
