//! cdflow.yml, the account scheme, version constraints.

use std::path::Path;

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
            let _ = (manifest.deploy.limits(), manifest.with_terraform(None));
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

/// A constraint that is shown can be read again, and decides the same.
pub fn constraint(bytes: &[u8]) {
    let text = text(bytes);
    let (constraint, version) = halves(&text);
    let Ok(constraint) = constraint.parse::<Constraint>() else { return };
    assert_eq!(constraint.to_string().parse(), Ok(constraint.clone()));
    let series = constraint.as_series();
    if let Ok(version) = version.parse() {
        let allowed = constraint.allows(&version);
        assert!(!allowed || series.is_none_or(|series| series.allows(&version)));
    }
}
