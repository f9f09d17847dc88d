use super::*;

#[test]
fn the_derived_password_is_the_one_of_the_contract() {
    assert_eq!(
        derived_password("EXAMPLEACCESSKEY0001", "examplesecretkeyexamplesecretkey00000001"),
        "6879fe2394a4794f673e10696460f5770de0c13777aaa15589e18b63675ffbd2"
    );
}

#[test]
fn identity_names_cannot_be_mistaken_for_a_login_of_another_kind() {
    for bad in ["", "a/b", "a@b", "a:b", " a", "ä", &"a".repeat(65)] {
        assert!(check_identity_name("user", bad).is_err(), "{bad:?}");
    }
    for good in ["admin", "Robot-1", "a.b_c"] {
        assert!(check_identity_name("user", good).is_ok(), "{good:?}");
    }
}
