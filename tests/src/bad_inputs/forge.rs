//! Registry tokens made by hand: signed with the region's own key, with others, or not at all. The derivation of the
//! key and the encoding are written a second time on purpose.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::Sha256;

use crate::region::Region;

/// How a token differs from a good one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forged {
    /// Members of the head, as JSON; `null` removes a member.
    pub head: Option<String>,
    /// Members of the claims, as JSON; `null` removes a member, `"now+60"` is a time.
    pub claims: Option<String>,
    /// `ours` (the default), `public` (the region's public key as a secret), `other`, `none`.
    pub key: Option<String>,
    /// The signature to use as it is.
    pub signature: Option<String>,
}

/// The keys of one region.
#[derive(Clone, Debug)]
pub struct Forge {
    region: String,
    key: Vec<u8>,
    public_key: String,
    /// The claim that names the holder, and `sub`, from a token of the region's own.
    principal: Value,
    subject: Value,
    /// The claim with the numbers of the organizations.
    namespaces: Value,
}

impl Forge {
    /// The forge for a region, whose files it reads. `token` is a real token; forged ones name its holder.
    pub async fn of(region: &Region, token: &str) -> Self {
        let secret = std::fs::read_to_string(region.data_dir().join("secrets.key")).expect("the region has its key");
        let master = hex::decode(secret.trim()).expect("the key is hexadecimal");
        let claims = claims_of(token);
        Self {
            region: region.id().to_owned(),
            key: hmac(&master, b"registry tokens"),
            public_key: region.public_key().await,
            principal: claims["principal"].clone(),
            subject: claims["sub"].clone(),
            namespaces: claims["namespaces"].clone(),
        }
    }

    /// The `sub` of the administrator's token.
    pub fn subject(&self) -> &Value {
        &self.subject
    }

    /// A token for pull, push and delete on `t/app`, changed as asked.
    pub fn token(&self, forged: &Forged) -> String {
        let now = jiff::Timestamp::now().as_second();
        let head = json!({"typ": "JWT", "alg": "HS256"});
        let claims = json!({"iss": self.region, "aud": "dockyard", "sub": self.subject, "iat": now, "nbf": now, "exp": now + 60,
            "jti": "forged", "principal": self.principal, "namespaces": self.namespaces,
            "access": [{"type": "repository", "name": "t/app", "actions": ["pull", "push", "delete"]}]});
        let head = changed(head, forged.head.as_deref(), now);
        let claims = changed(claims, forged.claims.as_deref(), now);
        let message = format!("{}.{}", encode(head.as_bytes()), encode(claims.as_bytes()));
        let signature = forged.signature.clone().unwrap_or_else(|| match forged.key.as_deref() {
            None | Some("ours") => encode(&hmac(&self.key, message.as_bytes())),
            Some("public") => encode(&hmac(self.public_key.as_bytes(), message.as_bytes())),
            Some("other") => encode(&hmac(b"another key", message.as_bytes())),
            Some("none") => String::new(),
            Some(other) => panic!("no such key: {other}"),
        });
        format!("{message}.{signature}")
    }
}

/// The claims of a token, not verified.
pub fn claims_of(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a token has three parts");
    let json = URL_SAFE_NO_PAD.decode(payload).expect("a token is base64");
    serde_json::from_slice(&json).expect("claims are JSON")
}

fn changed(json: Value, change: Option<&str>, now: i64) -> String {
    let Some(change) = change else { return json.to_string() };
    // A value that is not an object replaces the whole.
    let Ok(change) = serde_json::from_str::<Map<String, Value>>(change) else { return change.to_owned() };
    let Value::Object(mut json) = json else { return change_text(change) };
    for (name, value) in change {
        let time = value.as_str().and_then(|text| text.strip_prefix("now")).and_then(|text| text.parse::<i64>().ok());
        match (value, time) {
            (Value::Null, _) => {
                json.remove(&name);
            }
            (_, Some(offset)) => {
                json.insert(name, json!(now + offset));
            }
            (value, None) => {
                json.insert(name, value);
            }
        }
    }
    change_text(json)
}

fn change_text(json: Map<String, Value>) -> String {
    Value::Object(json).to_string()
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length is taken");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}
