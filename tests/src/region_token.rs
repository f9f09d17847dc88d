//! Tokens as one region makes them for another, signed with the region's own key by openssl. The claims are written a
//! second time on purpose, so that the server's code is not used.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::clients;
use crate::region::{ACCOUNT, Region};

/// The bytes before the 32 bytes of an Ed25519 key in PKCS#8.
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The claims of a token by which `source` asks `target` for a repository in the name of a user.
pub fn claims(source: &Region, target: &Region, user: &str, repository: &str) -> Value {
    let now = jiff::Timestamp::now().as_second();
    let (namespace, repository) = repository.split_once('/').expect("an organization and a repository");
    json!({"iss": source.id(), "aud": target.id(), "iat": now, "exp": now + 300,
        "jti": uuid::Uuid::new_v4().simple().to_string(), "purpose": "replicate",
        "account": ACCOUNT, "user": user, "namespace": namespace, "repository": repository})
}

/// A token with these claims, signed with the key of `source`.
pub async fn signed(source: &Region, claims: &Value) -> String {
    let text = std::fs::read_to_string(source.data_dir().join("region.key")).expect("the region has its key");
    let pkcs8 = STANDARD.decode(text.trim()).expect("the key is base64");
    // Newer forms hold the public key as well, which openssl does not take.
    let key: Vec<u8> = PKCS8_HEAD.iter().chain(&pkcs8[PKCS8_HEAD.len()..PKCS8_HEAD.len() + 32]).copied().collect();
    let encode = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let message = format!("{}.{}", encode(&json!({"typ": "JWT", "alg": "EdDSA"})), encode(claims));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(file("key"), key).expect("the folder is writable");
    std::fs::write(file("message"), &message).expect("the folder is writable");
    let arguments = ["pkeyutl", "-sign", "-rawin", "-keyform", "DER", "-inkey"];
    let mut sign = clients::command("openssl", &arguments);
    sign.args([&file("key"), "-in", &file("message"), "-out", &file("signature")]);
    clients::must(sign).await;
    let signature = std::fs::read(file("signature")).expect("openssl has written it");
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}
