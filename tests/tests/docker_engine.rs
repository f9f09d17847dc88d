//! A docker engine of the test's own: it logs in, pushes, pulls from the target what `sync_images` brought there, and
//! runs it. `scripts/with-docker.sh` starts the engine.

use transship_tests::clients::{self, Client};
use transship_tests::environment;
use transship_tests::manage::Sync;
use transship_tests::pair::{GROUP, Pair, PairSettings, SDSAD};
use transship_tests::registry::login_of;
use transship_tests::solo::Solo;

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

    /// Runs it; it must fail. Gives back what a person sees.
    async fn refused(&self, arguments: &[&str]) -> String {
        self.client.refused(&[&["--host", &self.engine], arguments].concat()).await
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
    docker.refused(&["pull", &format!("{there}:V1")]).await;
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

/// What a person reads who did something wrong: which thing it was, and what to do.
#[tokio::test]
async fn docker_says_what_was_refused_and_what_to_do() {
    let solo = Solo::start().await;
    let docker = Docker::new();
    let host = solo.region.host();
    let (user, password) = solo.login();
    // A stranger learns nothing from the difference between a wrong password and an unknown user: there is none.
    for user in [user.as_str(), "nobody"] {
        let said = docker.refused(&["login", "--username", user, "--password", "wrong", &host]).await;
        assert!(said.contains("denied: Authenticate Error: wrong user or password"), "{said}");
        assert!(said.contains("cn-north-4@ACCESS-KEY"), "how a user is written is not said: {said}");
    }
    docker.login(&host, &user, &password).await;
    let name = solo.name("hello:v1");
    docker.load(&name, "hello\n").await;
    docker.must(&["push", "--quiet", &name]).await;
    let elsewhere = format!("{host}/none/hello:v1");
    docker.must(&["tag", &name, &elsewhere]).await;
    let said = docker.refused(&["push", &elsewhere]).await;
    assert!(said.contains("denied: Image organization does not exist: none; a push never makes one"), "{said}");
    let absent = solo.name("hello:none");
    let said = docker.refused(&["pull", &absent]).await;
    assert!(said.contains(&format!("manifest for {absent} not found: manifest unknown")), "{said}");
    let said = docker.refused(&["pull", &solo.name("none:v1")]).await;
    assert!(said.contains("repository group/none not found"), "{said}");
    docker.must(&["logout", &host]).await;
    let said = docker.refused(&["push", &name]).await;
    assert!(said.contains("denied: requested access to the resource is denied"), "{said}");
    // The same for a tag that is there and one that is not.
    for name in [&name, &absent] {
        let said = docker.refused(&["pull", name]).await;
        assert!(said.contains("may require 'docker login'"), "{said}");
    }

    let (user, password) = solo.reader_login();
    docker.login(&host, &user, &password).await;
    docker.must(&["pull", "--quiet", &name]).await;
    let said = docker.refused(&["push", &name]).await;
    assert!(
        said.contains("the token does not allow repository:group/hello:pull,push; log in as a user who may"),
        "{said}"
    );
}

#[tokio::test]
async fn docker_pushes_an_index_and_pulls_its_platform_without_a_login() {
    let solo = Solo::start().await;
    let docker = Docker::new();
    let host = solo.region.host();
    let (user, password) = solo.login();
    docker.login(&host, &user, &password).await;
    let (one, two, index) = (solo.name("multi:amd64"), solo.name("multi:other"), solo.name("multi:v1"));
    docker.load(&one, "this platform\n").await;
    docker.load(&two, "another platform\n").await;
    docker.must(&["push", "--quiet", &one]).await;
    docker.must(&["push", "--quiet", &two]).await;
    docker.must(&["manifest", "create", "--insecure", &index, &one, &two]).await;
    docker.must(&["manifest", "annotate", "--arch", "arm64", &index, &two]).await;
    let digest = docker.must(&["manifest", "push", "--insecure", &index]).await;
    assert_eq!(solo.registry().pull("group/multi", "v1").await.digest, digest);
    let id = docker.must(&["inspect", "--format", "{{.Id}}", &one]).await;
    docker.must(&["rmi", "--force", &one, &two]).await;

    docker.must(&["logout", &host]).await;
    docker.refused(&["pull", "--quiet", &index]).await;
    solo.publish("multi").await;
    docker.must(&["pull", "--quiet", &index]).await;
    assert_eq!(docker.digest(&index).await, digest);
    // The id is the digest of the config, which names the content of every layer: the same bytes.
    assert_eq!(docker.must(&["inspect", "--format", "{{.Id}}", &index]).await, id);
    assert_eq!(docker.must(&["run", "--rm", "--network", "host", &index]).await, "this platform");
}
