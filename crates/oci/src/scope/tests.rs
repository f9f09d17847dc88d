use proptest::collection::{btree_set, vec};
use proptest::prelude::{Just, Strategy, prop_oneof, proptest};
use proptest::sample::select;

use super::{Action, MAX_SCOPES, Scope, parse_scopes};
use crate::testing::{nearly, repository_name, whole};

fn scope() -> impl Strategy<Value = Scope> + Clone {
    let kind = prop_oneof![Just("repository".to_owned()), Just("registry".to_owned()), "[a-z0-9]{1,8}"];
    let name = prop_oneof![repository_name().prop_map(String::from), "[a-z]{1,5}:[0-9]{1,4}/[a-z]{1,5}", "[!-~]{1,12}"];
    let actions = btree_set(select(Action::EVERY.to_vec()), 0..4);
    (kind, name, actions).prop_map(|(kind, name, actions)| Scope { kind, name, actions }).boxed()
}

proptest! {
    #[test]
    fn scopes_keep_their_text(scope in scope()) {
        assert_eq!(scope.to_string().parse(), Ok(scope));
    }

    #[test]
    fn scopes_follow_the_grammar(text in nearly(scope().prop_map(|scope| scope.to_string()), "az09:(),* pul/")) {
        let pattern = whole(r"(?<kind>[a-z0-9]+)(?:\([a-z0-9]+\))?:(?<name>[!-~]+):(?<actions>[!-9;-~]*)");
        let found = pattern.captures(&text).filter(|_| text.len() <= 512);
        let parsed = text.parse::<Scope>();
        assert_eq!(parsed.is_ok(), found.is_some(), "{text:?} gives {parsed:?}");
        let (Ok(scope), Some(found)) = (parsed, found) else { return Ok(()) };
        assert_eq!((scope.kind.as_str(), scope.name.as_str()), (&found["kind"], &found["name"]));
        for action in Action::EVERY {
            let asked = found["actions"].split(',').any(|word| word == action.as_str());
            assert_eq!(scope.actions.contains(&action), asked, "{text:?}");
        }
    }

    #[test]
    fn parameters_are_split_on_spaces_and_capped(scopes in vec(scope(), 0..80), in_one in proptest::bool::ANY) {
        let texts: Vec<String> = scopes.iter().map(ToString::to_string).collect();
        let joined = texts.join(" ");
        let parameters: Vec<&str> = if in_one { vec![&joined] } else { texts.iter().map(String::as_str).collect() };
        let expected: Vec<Scope> = scopes.into_iter().take(MAX_SCOPES).collect();
        assert_eq!(parse_scopes(&parameters), expected);
    }

    #[test]
    fn a_repository_scope_gives_its_name_back(name in repository_name()) {
        let scope = Scope::repository(&name, &[Action::Push, Action::Pull]);
        assert_eq!(scope.to_string(), format!("repository:{name}:pull,push"));
        assert_eq!(scope.repository_name(), Some(name));
    }
}

#[test]
fn odd_scopes_never_name_a_repository() {
    for text in [
        "repository:a:b:c:pull",
        "repository:UPPER/x:pull",
        "registry:catalog:*",
        "repository:localhost:5000/a/b:pull",
        "repository:a:pull",
    ] {
        assert_eq!(text.parse::<Scope>().unwrap().repository_name(), None, "{text}");
    }
    assert_eq!(
        parse_scopes(&["", "  ", "repository::pull", "repository", "a:b", "(x):a:pull", "repository(:a:pull"]),
        []
    );
    assert_eq!(parse_scopes(&[&format!("repository:{}:pull", "a".repeat(600))]), []);
}

#[test]
fn a_class_is_ignored_and_unknown_actions_are_left_out() {
    let scope: Scope = "repository(plugin):team/app:pull,fly,push,".parse().unwrap();
    assert_eq!(scope.to_string(), "repository:team/app:pull,push");
    assert!(scope.allows(Action::Push) && !scope.allows(Action::Delete));
    let all: Scope = "repository:team/app:*".parse().unwrap();
    assert!(all.allows(Action::Delete));
}

#[test]
fn a_scope_is_an_entry_of_the_access_claim() {
    let scope: Scope = "repository:team/app:pull,*".parse().unwrap();
    let json = serde_json::to_string(&scope).unwrap();
    assert_eq!(json, r#"{"type":"repository","name":"team/app","actions":["pull","*"]}"#);
    assert_eq!(serde_json::from_str::<Scope>(&json).unwrap(), scope);
}
