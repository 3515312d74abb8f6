//! cdflow.yml, the account scheme, version constraints.

use std::path::Path;

use semver::Version;

use super::{check_error, halves, text};
use crate::config::{
    component::Manifest,
    names::{Component, Environment, Team},
    scheme::{AccountScheme, FrozenAccount},
    version_constraint::Constraint,
};

/// The error about a file names the file.
pub fn component(bytes: &[u8]) {
    match Manifest::parse("cdflow.yml", &text(bytes)) {
        Ok(manifest) => {
            assert!(!manifest.tfstate_filename.0.contains('/'));
            let _ = manifest.deploy.limits();
        }
        Err(error) => {
            check_error(&error);
            assert!(error.to_string().starts_with("cdflow.yml"), "{error}");
        }
    }
}

/// Every environment of an accepted scheme has an account, and a bundle freezes the same one.
pub fn scheme(bytes: &[u8]) {
    let text = text(bytes);
    let team: Team = "platform".parse().expect("a team");
    let component: Component = "app".parse().expect("a component");
    let folder = Some(Path::new("/work"));
    let scheme = match AccountScheme::parse("scheme.json", folder, &text, &team, &component) {
        Ok(scheme) => scheme,
        Err(error) => {
            check_error(&error);
            return assert!(error.to_string().starts_with("scheme.json"), "{error}");
        }
    };
    for name in scheme.environments().keys() {
        let Ok(environment) = name.parse::<Environment>() else { continue };
        let (account, _) = scheme.account_of(&environment).expect("an account");
        let frozen = FrozenAccount::find(&scheme.raw, &team, &environment).expect("an account");
        assert_eq!(
            (&frozen.alias, &frozen.id, &frozen.region),
            (&account.alias, &account.id, &account.region)
        );
    }
    let _ = (scheme.image_registry(), scheme.lambda_places(true), scheme.lambda_places(false));
}

/// A displayed constraint parses to an equal one. An error names a column.
pub fn constraint(bytes: &[u8]) {
    let text = text(bytes);
    let (written, version) = halves(&text);
    let of_code = Constraint::of_code(written);
    let constraint = match written.parse::<Constraint>() {
        Ok(constraint) => constraint,
        Err(error) => {
            assert_eq!(of_code, Err(error.clone()));
            return check_column(&error, written);
        }
    };
    assert_eq!(constraint.to_string().parse(), Ok(constraint.clone()));
    assert!(
        of_code.is_ok() || written.contains(['-', '~']) || written.contains(char::is_alphabetic)
    );
    if let Some(version) = constraint.exact() {
        let only = Constraint::only(&version);
        assert!(only.allows(&version) && only.to_string().parse() == Ok(only.clone()));
    }
    let Ok(version) = version.parse::<Version>() else { return };
    let allowed = constraint.allows(&version);
    let series = constraint.as_series();
    assert!(!allowed || series.is_none_or(|series| series.allows(&version)));
    if let Ok(of_code) = of_code {
        assert!(
            version
                .pre
                .is_empty()
                .then_some(allowed)
                .is_none_or(|it| it == of_code.allows(&version))
        );
    }
}

/// The column is in the text, or directly after it.
fn check_column(error: &str, text: &str) {
    let column = error.rsplit("column ").next().and_then(|rest| rest.split([' ', ',']).next());
    let column = column.and_then(|column| column.parse::<usize>().ok()).expect("a column");
    assert!((1..=text.chars().count() + 1).contains(&column), "{error}");
}
