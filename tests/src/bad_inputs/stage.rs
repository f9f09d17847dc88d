//! One region with something in it, the people who ask, and a look at what its catalog holds.

use std::collections::{BTreeMap, HashMap};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::Mutex;

use super::forge::Forge;
use crate::image::{self, Image};
use crate::manage::User;
use crate::random::Random;
use crate::region::{ACCOUNT, Region, RegionSettings};
use crate::registry::{self, Registry};
use crate::{clients, environment, http};

/// Ten bytes, so that ranges and offsets are easy to read.
pub const BLOB: &[u8] = b"0123456789";
/// The account of a user who has nothing to do with the others.
const FOREIGN_ACCOUNT: &str = "foreign";
/// How long a token is reused. Registry tokens live five minutes, so it is renewed long before.
const TOKEN_LIFE: Duration = Duration::from_mins(2);
/// What the administrator's token is for.
const ADMIN_SCOPE: &str = "repository:t/app:pull,push,delete repository:t/other:pull,push,delete \
    repository:t/public:pull,push,delete repository:t/many:pull,push,delete repository:t/con:pull,push,delete";

/// Who sends a request.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Actor {
    /// The administrator of the account, with a token for everything in `t`.
    #[default]
    Admin,
    /// Nobody: no `Authorization` at all.
    Nobody,
    /// The holder of a token that was given without a login.
    Anonymous,
    /// Another user, who may read and write in `t`, with a token for it.
    Writer,
    /// The administrator of the other account, with a token for `u/secret`.
    Stranger,
    /// The administrator with a token to pull from `t/app` only.
    Pull,
    /// The administrator with a token to pull from and push to `t/app` only.
    PullPush,
    /// The same, and to push to `t/other`, not to pull from it.
    PushOther,
    /// The administrator's login itself, as the token endpoint takes it.
    BasicAdmin,
    /// The administrator's name and another password.
    BasicWrong,
    /// The administrator with an IAM token, as the management API takes it.
    Iam,
}

/// A region with content and people.
#[derive(Debug)]
pub struct Stage {
    /// The region.
    pub region: Region,
    /// Makes tokens by hand.
    pub forge: Forge,
    admin: User,
    writer: User,
    stranger: User,
    values: BTreeMap<&'static str, String>,
    /// A listener to which no request may send the region.
    trap: TcpListener,
    tokens: Mutex<HashMap<Actor, (String, Instant)>>,
    facts: Mutex<Facts>,
}

#[derive(Debug)]
struct Facts {
    _process: Child,
    ask: ChildStdin,
    answers: tokio::io::Lines<BufReader<ChildStdout>>,
}

impl Stage {
    /// Starts the region and fills it.
    pub async fn start() -> Self {
        let [admin, writer, stranger] = ["admin", "writer", "stranger"].map(User::named);
        let mut region = Region::prepare(RegionSettings::named("cn-north-4"), &admin).await;
        // The first start makes the account. More users are added on the command line, while the region is stopped.
        region.start().await;
        region.terminate().await;
        region.admin(&["account", "create", "--name", FOREIGN_ACCOUNT]).await;
        region.add_user(ACCOUNT, &writer).await;
        region.add_user(FOREIGN_ACCOUNT, &stranger).await;
        region.start().await;

        let manage = region.manage(&admin);
        manage.create_namespace("t").await;
        let writer_id = region.user_id(&writer).await;
        manage.grant_namespace("t", &[(&writer_id, &writer.name, 3)]).await;
        let public = json!({"repository": "public", "is_public": true, "category": "other", "description": ""});
        manage.call("POST", "/v2/manage/namespaces/t/repos", Some(public)).await.expect(200);
        region.manage(&stranger).create_namespace("u").await;

        let image = Image::random(&mut Random::seeded(1), 1, 100);
        let (ours, theirs) = (region.registry(&admin), region.registry(&stranger));
        let app = ours.open("t/app", "pull,push").await;
        app.push("v1", &image).await;
        app.push_blob(BLOB).await;
        ours.push("t/public", "v1", &image).await;
        ours.push("t/other", "v1", &Image::of(vec![b"other".to_vec()])).await;
        theirs.push("u/secret", "v1", &Image::of(vec![b"secret".to_vec()])).await;

        let token = token(&ours, "repository:t/app:pull").await;
        let forge = Forge::of(&region, &token).await;
        let facts = Mutex::new(Facts::start(&region));
        let trap = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        trap.set_nonblocking(true).expect("a socket takes the option");
        let mut values = values(&region, &image);
        values.insert("trap", trap.local_addr().expect("a socket has an address").to_string());
        let tokens = Mutex::default();
        Self { region, forge, admin, writer, stranger, values, trap, tokens, facts }
    }

    /// The administrator.
    pub fn admin(&self) -> &User {
        &self.admin
    }

    /// A value that rows may name.
    pub fn value(&self, name: &str) -> &str {
        self.values.get(name).unwrap_or_else(|| panic!("the stage has no value <<{name}>>"))
    }

    /// The header line that identifies the actor.
    pub async fn authorization(&self, actor: Actor) -> Option<String> {
        if actor == Actor::Nobody {
            return None;
        }
        let mut tokens = self.tokens.lock().await;
        if let Some((line, at)) = tokens.get(&actor)
            && at.elapsed() < TOKEN_LIFE
        {
            return Some(line.clone());
        }
        let line = self.make_authorization(actor).await;
        tokens.insert(actor, (line.clone(), Instant::now()));
        Some(line)
    }

    async fn make_authorization(&self, actor: Actor) -> String {
        let admin = || self.region.registry(&self.admin);
        let (registry, scope) = match actor {
            Actor::Nobody => return String::new(),
            Actor::BasicAdmin | Actor::BasicWrong => {
                let (user, password) = registry::login_of(self.region.id(), &self.admin);
                let password = if actor == Actor::BasicWrong { "wrong".to_owned() } else { password };
                return format!("Authorization: Basic {}", STANDARD.encode(format!("{user}:{password}")));
            }
            Actor::Iam => return format!("X-Auth-Token: {}", self.region.iam_token(&self.admin).await.1),
            Actor::Admin => (admin(), ADMIN_SCOPE),
            Actor::Anonymous => (self.region.anonymous(), "repository:t/app:pull repository:t/public:pull,push"),
            Actor::Writer => (self.region.registry(&self.writer), "repository:t/app:pull,push"),
            Actor::Stranger => {
                (self.region.registry(&self.stranger), "repository:u/secret:pull,push repository:t/app:pull")
            }
            Actor::Pull => (admin(), "repository:t/app:pull"),
            Actor::PullPush => (admin(), "repository:t/app:pull,push"),
            Actor::PushOther => (admin(), "repository:t/app:pull,push repository:t/other:push"),
        };
        format!("Authorization: Bearer {}", token(&registry, scope).await)
    }

    /// The path of a new upload session in `t/app` that holds these bytes.
    pub async fn session(&self, bytes: &[u8]) -> String {
        let app = self.region.registry(&self.admin).open("t/app", "pull,push").await;
        let start = app.request(Method::POST, "blobs/uploads/").header("Content-Length", "0");
        let location = http::send(start).await.expect(202).header("location").expect("a session").to_owned();
        if !bytes.is_empty() {
            let below = location.strip_prefix("/v2/t/app/").expect("a location of the repository");
            http::send(app.request(Method::PATCH, below).body(bytes.to_vec())).await.expect(202);
        }
        location
    }

    /// Whether the region has connected to the listener, as a request wanted.
    pub fn trap_was_used(&self) -> bool {
        self.trap.accept().is_ok()
    }

    /// What the catalog holds now: for each table the number of rows and a hash of them.
    pub async fn facts(&self) -> BTreeMap<String, String> {
        let mut facts = self.facts.lock().await;
        facts.ask.write_all(b"\n").await.expect("the look at the catalog works");
        let line = facts.answers.next_line().await.expect("the look at the catalog works");
        let line = line.expect("the look at the catalog answers");
        serde_json::from_str(&line).expect("facts are an object of texts")
    }
}

impl Facts {
    fn start(region: &Region) -> Self {
        let script = environment::tool("catalog-facts.py");
        let catalog = region.data_dir().join("catalog.db");
        assert!(catalog.exists(), "the catalog is not at {}", catalog.display());
        let mut command = clients::command("python3", &[]);
        command.arg(script).arg(catalog).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().expect("python3 starts");
        let ask = process.stdin.take().expect("it was piped");
        let answers = BufReader::new(process.stdout.take().expect("it was piped")).lines();
        Self { _process: process, ask, answers }
    }
}

async fn token(registry: &Registry, scope: &str) -> String {
    let answer = registry.ask_token(scope).await.expect(200).json();
    answer["token"].as_str().unwrap_or_else(|| panic!("no token in {answer}")).to_owned()
}

fn values(region: &Region, image: &Image) -> BTreeMap<&'static str, String> {
    let manifest: Value = serde_json::from_slice(&image.raw).expect("images are JSON");
    let text = |value: &Value| value.to_string();
    let layer = |bytes: &[u8]| {
        let digest = image::digest(bytes);
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{digest}","size":{}}}"#,
            bytes.len()
        )
    };
    BTreeMap::from([
        // In t/app: a blob of ten bytes, and an image with the tag v1.
        ("blob", image::digest(BLOB)),
        ("image", String::from_utf8(image.raw.clone()).expect("images are text")),
        ("manifest", image.digest()),
        ("manifest-size", image.raw.len().to_string()),
        ("config", text(&manifest["config"])),
        ("layer", text(&manifest["layers"][0])),
        // In t/other and in u/secret, which belongs to another account; and nowhere.
        ("other", image::digest(b"other")),
        ("secret", image::digest(b"secret")),
        ("secret-layer", layer(b"secret")),
        ("unknown", image::digest(b"absent")),
        ("unknown-layer", layer(b"absent")),
        ("image-head", format!(r#""schemaVersion":2,"mediaType":"{}""#, image::IMAGE)),
        ("index-head", format!(r#""schemaVersion":2,"mediaType":"{}""#, image::INDEX)),
        ("host", region.host()),
        ("url", region.url()),
    ])
}
