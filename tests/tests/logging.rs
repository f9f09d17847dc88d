//! docs/logging.md lists every event that the process can log, as the sources have it. The test makes the table again and compares.
//! `UPDATE=1 cargo test -p transship-tests --test logging` writes it instead.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What the table begins with.
const HEAD: &str = "| level | crate | message | fields |\n| --- | --- | --- | --- |\n";

/// The most urgent first.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Events whose text still contains the text of an error, `{error}` for example. An event that is new or is changed gives the error in a
/// field instead, so this number only goes down.
const WITH_AN_ERROR_IN_THE_TEXT: usize = 30;

/// Fields that hold the reason of an event.
const REASONS: [&str; 4] = ["error", "reason", "cause", "other"];

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    level: usize,
    room: String,
    message: String,
    fields: Vec<String>,
}

#[test]
fn the_document_has_every_event() {
    let path = transship_tests::environment::root().join("docs/logging.md");
    let text = fs::read_to_string(&path).expect("docs/logging.md is there");
    let (before, table) = text.split_once(HEAD).expect("docs/logging.md has the table, at its end");
    let made: String = events().iter().map(row).collect();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{before}{HEAD}{made}")).expect("docs/logging.md can be written");
    } else {
        assert_eq!(table, made, "left: docs/logging.md; right: the sources; UPDATE=1 writes it");
    }
}

#[test]
fn no_more_events_hide_an_error_in_their_text() {
    let hides = |event: &&Event| REASONS.iter().any(|name| event.message.contains(&format!("{{{name}}}")));
    let events = events();
    let hiding: Vec<&Event> = events.iter().filter(hides).collect();
    assert!(hiding.len() <= WITH_AN_ERROR_IN_THE_TEXT, "{} of {}: {hiding:#?}", hiding.len(), events.len());
}

fn row(event: &Event) -> String {
    let fields: Vec<String> = event.fields.iter().map(|name| format!("`{name}`")).collect();
    let message = event.message.replace('|', "\\|");
    format!("| {} | {} | {message} | {} |\n", LEVELS[event.level], event.room, fields.join(", "))
}

/// Every call of a macro of `tracing` in the sources of the crates, without their tests.
fn events() -> BTreeSet<Event> {
    let crates = transship_tests::environment::root().join("crates");
    let mut events = BTreeSet::new();
    for room in fs::read_dir(&crates).expect("the crates are there") {
        let room = room.expect("a crate").path();
        let name = room.file_name().expect("a folder has a name").to_string_lossy().into_owned();
        for file in sources(&room.join("src")) {
            let text = fs::read_to_string(&file).expect("a source is text");
            for (at, _) in text.match_indices("tracing::") {
                let call = &text[at + "tracing::".len()..];
                let Some((level, after)) = LEVELS
                    .iter()
                    .enumerate()
                    .find_map(|(level, name)| Some((level, call.strip_prefix(name)?.strip_prefix("!(")?)))
                else {
                    continue;
                };
                let (message, fields) = parts(&arguments(after));
                events.insert(Event { level, room: name.clone(), message, fields });
            }
        }
    }
    assert!(events.len() > 50, "only {} events were found", events.len());
    events
}

/// The sources below a folder, without those of tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().expect("an entry has a name");
        if stem == "tests" {
            continue;
        }
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The arguments of a call, split at its commas; `text` begins behind its parenthesis.
fn arguments(text: &str) -> Vec<String> {
    let (mut found, mut depth, mut quoted, mut escaped) = (vec![String::new()], 0, false, false);
    for letter in text.chars() {
        let last = found.last_mut().expect("there is always one");
        if quoted {
            quoted = escaped || letter != '"';
            escaped = letter == '\\' && !escaped;
            last.push(letter);
            continue;
        }
        match letter {
            '"' => quoted = true,
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(String::new());
                continue;
            }
            _ => {}
        }
        last.push(letter);
    }
    found.iter().map(|argument| argument.trim().to_owned()).collect()
}

/// The message and the names of the fields, which stand before it.
fn parts(arguments: &[String]) -> (String, Vec<String>) {
    let at = arguments.iter().position(|argument| argument.starts_with('"')).expect("every event has a message");
    // A line that ends in a backslash goes on with the next one's text.
    let lines: Vec<&str> = arguments[at].trim_matches('"').split("\\\n").map(str::trim_start).collect();
    let name = |argument: &String| {
        let name = argument.split_once(" = ").map_or(argument.as_str(), |(name, _)| name);
        name.trim_start_matches(['%', '?']).to_owned()
    };
    (lines.concat(), arguments[..at].iter().map(name).collect())
}
