//! Texts of the data file: placeholders between `<<` and `>>` are replaced, so that rows stay short and readable.
//!
//! | written | put in |
//! | --- | --- |
//! | `<<x:300:ab>>` | `ab`, 300 times |
//! | `<<hex:63>>` | 63 hexadecimal digits |
//! | `<<sha256:text>>`, `<<sha512:text>>` | the digest of the text |
//! | `<<session>>`, `<<session:text>>` | the path of an upload session of the administrator, which holds the text; the same for the whole row |
//! | `<<session-id>>` | the last part of that path |
//! | `<<fresh>>`, `<<fresh:text>>` | a session of its own |
//! | `<<auth>>` | the `Authorization` line of the request's sender |
//! | `<<blob>>` and others | a value of the stage, see `stage.rs` |

use sha2::Digest as _;

use super::stage::{Actor, Stage};
use crate::image;

/// What the requests of one row share.
#[derive(Debug, Default)]
pub struct Context {
    session: Option<String>,
    /// Whether a session was made since the last call of [`Context::take_made`].
    made: bool,
}

impl Context {
    /// Whether a session was made since the last time.
    pub fn take_made(&mut self) -> bool {
        std::mem::take(&mut self.made)
    }
}

/// Replaces all placeholders.
pub async fn expand(stage: &Stage, context: &mut Context, actor: Actor, text: &str) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<<") {
        let (name, after) = after.split_once(">>").unwrap_or_else(|| panic!("{text}: << without >>"));
        expanded.push_str(before);
        expanded.push_str(&value(stage, context, actor, name).await);
        rest = after;
    }
    expanded + rest
}

async fn value(stage: &Stage, context: &mut Context, actor: Actor, name: &str) -> String {
    let (kind, argument) = name.split_once(':').unwrap_or((name, ""));
    let number = |text: &str| text.parse::<usize>().unwrap_or_else(|_| panic!("<<{name}>>: {text} is no number"));
    match kind {
        "x" => {
            let (count, text) = argument.split_once(':').unwrap_or_else(|| panic!("<<{name}>>: <<x:count:text>>"));
            text.repeat(number(count))
        }
        "hex" => "0123456789abcdef".chars().cycle().take(number(argument)).collect(),
        "sha256" => image::digest(argument.as_bytes()),
        "sha512" => format!("sha512:{}", hex::encode(sha2::Sha512::digest(argument))),
        "fresh" => {
            context.made = true;
            stage.session(argument.as_bytes()).await
        }
        "session" | "session-id" => {
            if context.session.is_none() {
                context.made = true;
                context.session = Some(stage.session(argument.as_bytes()).await);
            }
            let path = context.session.clone().expect("it was just set");
            let id = path.rsplit('/').next().unwrap_or_default().to_owned();
            if kind == "session" { path } else { id }
        }
        "auth" => stage.authorization(actor).await.unwrap_or_default(),
        _ => stage.value(name).to_owned(),
    }
}

/// The bytes of a text in which each character stands for one byte.
pub fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|char| u8::try_from(u32::from(char)).unwrap_or_else(|_| panic!("{char:?} is no byte"))).collect()
}
