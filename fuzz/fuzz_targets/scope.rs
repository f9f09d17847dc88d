//! A scope never holds more than its text said: no action and no name that was not asked for.

#![no_main]

use libfuzzer_sys::fuzz_target;
use transship_oci::scope::{MAX_SCOPE_CHARS, MAX_SCOPES};
use transship_oci::{Action, Scope, parse_scopes};

fuzz_target!(|text: &str| {
    if let Ok(scope) = text.parse::<Scope>() {
        check(text, &scope);
    }
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    let scopes = parse_scopes(&[text]);
    assert!(scopes.len() <= MAX_SCOPES.min(words.len()));
    let one_by_one: Vec<Scope> = words.iter().take(MAX_SCOPES).filter_map(|word| word.parse().ok()).collect();
    assert_eq!(scopes, one_by_one);
    assert_eq!(parse_scopes(&words), scopes, "one parameter or many");
});

fn check(text: &str, scope: &Scope) {
    assert!(text.len() <= MAX_SCOPE_CHARS);
    assert_eq!(scope.to_string().parse().as_ref(), Ok(scope), "{text:?}");
    let (head, actions) = text.rsplit_once(':').expect("a scope has colons");
    assert!(head.starts_with(&scope.kind) && head.ends_with(&format!(":{}", scope.name)));
    for action in [Action::Pull, Action::Push, Action::Delete, Action::All] {
        let asked = actions.split(',').any(|word| word == action.as_str());
        assert_eq!(scope.actions.contains(&action), asked, "{text:?}");
    }
    if let Some(name) = scope.repository_name() {
        assert!(scope.kind == "repository" && scope.name == name.as_str());
        assert_eq!(Scope::repository(&name, &scope.actions.iter().copied().collect::<Vec<_>>()), *scope);
    }
}
