//! A registry token: only what our key has signed is ever believed, and of that only what holds now and is meant for us.

#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::{Algorithm, DecodingKey};
use libfuzzer_sys::{Corpus, fuzz_target};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Sha256, Sha512};

#[path = "../../crates/registry/src/identity/tokens/verify.rs"]
#[expect(dead_code, reason = "some of it is for the rest of the registry")]
mod verify;

const KEY: &[u8] = b"the key of this region";
const ISSUER: &str = "region-a";
const AUDIENCE: &str = "dockyard";

/// The claims of a registry token, as far as they are checked.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    iat: u64,
    exp: u64,
}

impl verify::Claims for Claims {
    fn issued_at_seconds(&self) -> u64 {
        self.iat
    }
}

// The first byte says what the rest is: `r`, a whole token; otherwise head and claims with a line break between them,
// to be signed with our key (`s`), with another (`o`), with ours and another hash (`h`), or not at all (`n`).
fuzz_target!(|data: &str| -> Corpus {
    let mut chars = data.chars();
    let (Some(how), rest) = (chars.next(), chars.as_str()) else { return Corpus::Reject };
    if how == 'r' {
        believed(rest);
        return Corpus::Keep;
    }
    let Some((head, claims)) = rest.split_once('\n') else { return Corpus::Reject };
    let message = format!("{}.{}", BASE64.encode(head), BASE64.encode(claims));
    let signature = match how {
        's' => hmac_sha256(KEY, &message),
        'o' => hmac_sha256(b"another key", &message),
        'h' => {
            let mut mac = Hmac::<Sha512>::new_from_slice(KEY).expect("any length");
            mac.update(message.as_bytes());
            mac.finalize().into_bytes().to_vec()
        }
        'n' => Vec::new(),
        _ => return Corpus::Reject,
    };
    let is_believed = believed(&format!("{message}.{}", BASE64.encode(signature)));
    assert!(how == 's' || !is_believed, "not signed by us: {data:?}");
    Corpus::Keep
});

/// Whether a token is believed; checks again, with nothing of the library, that it may be.
fn believed(token: &str) -> bool {
    let expected = verify::Expected { algorithm: Algorithm::HS256, issuer: ISSUER, audience: AUDIENCE };
    let Ok(claims) = verify::verify::<Claims>(token, &DecodingKey::from_secret(KEY), expected) else {
        return false;
    };
    let parts: Vec<&str> = token.split('.').collect();
    let [head, payload, signature] = parts[..] else { panic!("{token:?} has not three parts") };
    let decode = |part: &str| BASE64.decode(part).expect("a believed token is base64");
    assert_eq!(decode(signature), hmac_sha256(KEY, &format!("{head}.{payload}")));
    let head: Value = serde_json::from_slice(&decode(head)).expect("a believed token has a JSON head");
    assert!(head["alg"] == "HS256" && head["crit"].is_null(), "{head}");
    let now = verify::now_seconds();
    assert!((claims.iss.as_str(), claims.aud.as_str()) == (ISSUER, AUDIENCE));
    assert!(claims.exp.saturating_add(verify::LEEWAY_SECONDS + 1) >= now && claims.iat <= now + verify::LEEWAY_SECONDS);
    let payload: Value = serde_json::from_slice(&decode(payload)).expect("a believed token has JSON claims");
    let not_before = payload["nbf"].as_f64().unwrap_or(0.0);
    assert!(payload["nbf"].is_null() || payload["nbf"].is_number());
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^52")]
    let latest = (now + verify::LEEWAY_SECONDS + 1) as f64;
    assert!(not_before <= latest);
    assert_eq!(verify::unverified_issuer(token).as_deref(), Some(ISSUER));
    true
}

fn hmac_sha256(key: &[u8], message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}
